/** From what is stored to what HAProxy is given: a certificate with its chain, and its key. */
import type { KeyObject, X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";
import { CertificateError } from "./fault.ts";

/** PEM texts. */
export interface Certificate {
  /** the certificate, then those that lead to its authority */
  readonly certificate: string;
  /** PKCS #8, without a password */
  readonly private_key: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

const KEY_TYPES: readonly (string | undefined)[] = ["rsa", "rsa-pss", "ec", "ed25519", "ed448"];

/**
 * Puts a certificate together. What does not lead from it to its authority is kept, behind what does.
 * @param given in any order @throws {CertificateError}
 */
export function assemble(given: readonly X509Certificate[], key: KeyObject | null): Certificate {
  if (given.length === 0) throw new CertificateError("It holds no certificate");
  if (key === null) throw new CertificateError("It holds no private key");
  if (!KEY_TYPES.includes(key.asymmetricKeyType)) {
    throw new CertificateError(`A ${key.asymmetricKeyType} key can't be used for TLS: take RSA or elliptic curves`);
  }
  const leaf = given.find((each) => each.checkPrivateKey(key));
  if (leaf === undefined) throw new CertificateError("The private key belongs to another certificate");
  const chain = chainFrom(leaf, given);
  for (const each of chain) checkSignature(each);
  const certificate = chain.map((each) => each.toString()).join("");
  const private_key = key.export({ type: "pkcs8", format: "pem" }).toString();
  try {
    createSecureContext({ cert: certificate, key: private_key });
  } catch (error) {
    const reason = error instanceof Error && "reason" in error ? `: ${error.reason}` : "";
    throw new CertificateError(`OpenSSL refuses the certificate${reason}`);
  }
  return { certificate, private_key, notBefore: leaf.validFromDate, notAfter: leaf.validToDate };
}

/** @throws {CertificateError} when it is not valid at that time */
export function checkValidity({ notBefore, notAfter }: Pick<Certificate, "notBefore" | "notAfter">, now: Date): void {
  if (now > notAfter) throw new CertificateError(`The certificate expired on ${notAfter.toISOString()}`);
  if (now < notBefore) throw new CertificateError(`The certificate is not valid before ${notBefore.toISOString()}`);
}

/** Debian's OpenSSL (security level 2) loads no certificate that was signed so, unless it signed itself; Node's does. */
function checkSignature(certificate: X509Certificate): void {
  const { signatureAlgorithm: algorithm = "" } = certificate;
  if (!/md[245]|sha-?1(?!\d)/i.test(algorithm) || issued(certificate, certificate)) return;
  throw new CertificateError(`OpenSSL refuses the certificate: signed with ${algorithm}, which is too weak`);
}

function chainFrom(leaf: X509Certificate, given: readonly X509Certificate[]): X509Certificate[] {
  const rest = new Map(given.map((each) => [each.fingerprint256, each]));
  const chain: X509Certificate[] = [];
  for (let next: X509Certificate | undefined = leaf; next !== undefined; ) {
    const last: X509Certificate = next;
    chain.push(last);
    rest.delete(last.fingerprint256);
    next = [...rest.values()].find((each) => issued(each, last));
  }
  return [...chain, ...rest.values()];
}

function issued(issuer: X509Certificate, certificate: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
  } catch {
    return false;
  }
}
