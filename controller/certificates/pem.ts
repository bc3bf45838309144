/** PEM texts (RFC 7468): what is in them, whatever stands between their blocks. */
// @peculiar/x509 needs it in place first
import "reflect-metadata";
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { PemConverter, X509Certificates } from "@peculiar/x509";
import { CertificateError } from "./fault.ts";
import { iterationsOf, MOST_ITERATIONS } from "./iterations.ts";

export interface PemBlock {
  readonly label: string;
  readonly text: string;
}

const BEGIN = /-----BEGIN ([A-Z0-9 ]{1,40})-----/g;

/**
 * Every block of a text, in its order. OpenSSL writes remarks between them.
 * @throws {CertificateError} for a block without an end
 */
export function pemBlocks(text: string): PemBlock[] {
  const blocks: PemBlock[] = [];
  for (let at = 0; ; ) {
    BEGIN.lastIndex = at;
    const begin = BEGIN.exec(text);
    if (begin === null) return blocks;
    const [, label = ""] = begin;
    const end = `-----END ${label}-----`;
    const found = text.indexOf(end, BEGIN.lastIndex);
    if (found < 0) throw new CertificateError(`The PEM block "${label}" has no end`);
    at = found + end.length;
    blocks.push({ label, text: `${text.slice(begin.index, at)}\n` });
  }
}

/** @param what names the text in the fault */
export function pemText(bytes: Uint8Array, what: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new CertificateError(`${what} is no PEM text`);
  }
}

/** @throws {CertificateError} when the blocks hold something else @returns none when there is no such block */
export function certificatesOf(blocks: readonly PemBlock[]): X509Certificate[] {
  return blocks.flatMap(({ label, text }) => {
    if (label === "PKCS7" || label === "CMS") return fromPkcs7(text);
    if (label !== "CERTIFICATE" && label !== "X509 CERTIFICATE") return [];
    return [certificateFrom(text.replaceAll("X509 CERTIFICATE", "CERTIFICATE"))];
  });
}

/** @param encoded PEM or DER @throws {CertificateError} */
export function certificateFrom(encoded: string | Uint8Array): X509Certificate {
  try {
    return new X509Certificate(encoded);
  } catch {
    throw new CertificateError("It holds a certificate that can't be read");
  }
}

/** Certificates that come as a signed message without content (RFC 5652, 5.1). */
function fromPkcs7(text: string): X509Certificate[] {
  try {
    const [raw = new ArrayBuffer()] = PemConverter.decode(text);
    return [...new X509Certificates(raw)].map((each) => new X509Certificate(new Uint8Array(each.rawData)));
  } catch {
    throw new CertificateError("It holds a PKCS #7 block that can't be read");
  }
}

/** @returns null when there is no such block @throws {CertificateError} when there are several, or it can't be read */
export function privateKeyOf(blocks: readonly PemBlock[], passphrase: string | null = null): KeyObject | null {
  const [block, second] = blocks.filter(({ label }) => label.endsWith("PRIVATE KEY"));
  if (block === undefined) return null;
  if (second !== undefined) throw new CertificateError("It holds more than one private key");
  const isLocked = block.label.startsWith("ENCRYPTED") || block.text.includes("ENCRYPTED");
  if (isLocked && passphrase === null) {
    throw new CertificateError("The private key is protected by a password: store it without one");
  }
  if (isLocked) checkIterations(block.text);
  try {
    return createPrivateKey({ key: block.text, format: "pem", ...(isLocked && passphrase ? { passphrase } : {}) });
  } catch {
    const reason = isLocked ? "can't be opened with the private_key_passphrase" : "can't be read";
    throw new CertificateError(`The private key ${reason}`);
  }
}

/** OpenSSL opens it at one go, while nothing else is done. @throws {CertificateError} */
function checkIterations(text: string): void {
  let iterations: number;
  try {
    // the older form, with its cipher in headers, hashes once
    const isPkcs8 = text.includes("BEGIN ENCRYPTED");
    const [raw, another] = isPkcs8 ? PemConverter.decode(text) : [];
    if (isPkcs8 && (raw === undefined || another !== undefined || text.split("BEGIN ").length !== 2))
      throw new Error("it must be one block");
    iterations = raw === undefined ? 1 : iterationsOf(new Uint8Array(raw));
  } catch {
    throw new CertificateError("The private key can't be read");
  }
  if (iterations <= MOST_ITERATIONS) return;
  throw new CertificateError(
    `The private key hashes its password more than ${MOST_ITERATIONS} times: store it without one, or with fewer iterations`,
  );
}
