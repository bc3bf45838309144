/** Whose certificates are believed, and which of them no longer are. */
// @peculiar/x509 needs it in place first
import "reflect-metadata";
import type { X509Certificate } from "node:crypto";
import { X509Certificate as IssuerCertificate, PemConverter, X509Crl } from "@peculiar/x509";
import { CertificateError } from "./fault.ts";
import { certificatesOf, pemBlocks, pemText } from "./pem.ts";

/** The certificates of authorities. */
export interface Authorities {
  readonly pem: string;
  readonly certificates: readonly X509Certificate[];
}

/** Lists of revoked certificates. */
export interface Revocations {
  readonly pem: string;
  readonly lists: readonly X509Crl[];
  /** the first time at which one of them is out of date; null: never */
  readonly nextUpdate: Date | null;
}

/** @throws {CertificateError} */
export function readAuthorities(payload: Uint8Array): Authorities {
  const certificates = certificatesOf(pemBlocks(pemText(payload, "It")));
  if (certificates.length === 0) throw new CertificateError("It holds no PEM certificate of an authority");
  return { certificates, pem: certificates.map((each) => each.toString()).join("") };
}

/** @throws {CertificateError} */
export function readRevocations(payload: Uint8Array): Revocations {
  const blocks = pemBlocks(pemText(payload, "It")).filter(({ label }) => label === "X509 CRL");
  if (blocks.length === 0) throw new CertificateError("It holds no PEM list of revoked certificates (X509 CRL)");
  const lists = blocks.map(({ text }) => {
    try {
      return new X509Crl(text);
    } catch {
      throw new CertificateError("It holds a list of revoked certificates that can't be read");
    }
  });
  const times = lists.flatMap(({ nextUpdate }) => nextUpdate?.getTime() ?? []);
  return {
    lists,
    pem: lists.map(({ rawData }) => `${PemConverter.encode(rawData, "X509 CRL")}\n`).join(""),
    nextUpdate: times.length === 0 ? null : new Date(Math.min(...times)),
  };
}

/** @throws {CertificateError} when a list is not signed by one of the authorities */
export async function checkIssuers({ lists }: Revocations, { certificates }: Authorities): Promise<void> {
  for (const list of lists) {
    const signed = await Promise.all(certificates.map((each) => isSignedBy(list, each)));
    if (!signed.includes(true)) {
      throw new CertificateError("The list of revoked certificates is not signed by the authority");
    }
  }
}

/** @throws {CertificateError} when a list is out of date: OpenSSL then believes no certificate at all */
export function checkUpToDate({ nextUpdate }: Revocations, now: Date): void {
  if (nextUpdate === null || now <= nextUpdate) return;
  throw new CertificateError(`The list of revoked certificates expired on ${nextUpdate.toISOString()}`);
}

async function isSignedBy(list: X509Crl, certificate: X509Certificate): Promise<boolean> {
  try {
    return await list.verify({ publicKey: new IssuerCertificate(new Uint8Array(certificate.raw)) });
  } catch {
    return false;
  }
}
