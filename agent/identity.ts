/** Who the agent is: its certificate and key, and the authority whose controller it obeys. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import writeFileAtomic from "write-file-atomic";
import { fileFault, messageOf } from "./faults.ts";
import { agentName, type CertificateBundle, certificateBundle, certificatesIn } from "./protocol.ts";

/** A certificate bundle that can't serve this agent; the message says why. */
export class IdentityError extends Error {
  override readonly name = "IdentityError";
}

/**
 * The identity to start with. It may be out of date: then no controller speaks to this agent, yet the load balancer
 * comes back, and so it does while the clock is still wrong.
 * @throws {IdentityError}
 */
export async function readIdentity(file: string, amphoraId: string): Promise<CertificateBundle> {
  let document: unknown;
  try {
    document = JSON.parse(await readFile(file, "utf8"));
  } catch (error) {
    throw new IdentityError(`${file}: ${fileFault(error)}`);
  }
  return checkIdentity(document, amphoraId).bundle;
}

/** Replaces the identity on disk, whole or not at all. */
export async function writeIdentity(file: string, bundle: CertificateBundle): Promise<void> {
  await writeFileAtomic(file, JSON.stringify(bundle), { mode: 0o600 });
}

export function expiryOf({ certificate }: CertificateBundle): Date {
  return new X509Certificate(certificate).validToDate;
}

/**
 * Checks that a bundle would serve: the key fits, the authority signed it, it names this amphora, it is valid now.
 * @throws {IdentityError} naming the field at fault
 */
export function parseIdentity(document: unknown, amphoraId: string): CertificateBundle {
  const { bundle, certificate } = checkIdentity(document, amphoraId);
  const { validFromDate, validToDate } = certificate;
  if (validToDate.getTime() < Date.now()) {
    throw new IdentityError(`certificate: expired at ${validToDate.toISOString()}`);
  }
  if (validFromDate.getTime() > Date.now()) {
    throw new IdentityError(`certificate: is not valid before ${validFromDate.toISOString()}`);
  }
  return bundle;
}

/**
 * Checks that a bundle is this amphora's own, whatever the time is.
 * @throws {IdentityError} naming the field at fault
 */
export function checkIdentity(
  document: unknown,
  amphoraId: string,
): { bundle: CertificateBundle; certificate: X509Certificate } {
  const parsed = certificateBundle.safeParse(document);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new IdentityError(`${issue?.path.join(".") || "bundle"}: ${issue?.message}`);
  }
  const bundle = parsed.data;
  const certificate = read("certificate", () => new X509Certificate(bundle.certificate));
  const authorities = read("ca", () => certificatesIn(bundle.ca));
  const key = read("key", () => createPrivateKey(bundle.key));
  // what is inside a certificate is decoded only when it is used
  const isPair = read("certificate", () => certificate.checkPrivateKey(key));
  const isSigned = read("certificate", () => authorities.some(({ publicKey }) => certificate.verify(publicKey)));
  if (!isPair) throw new IdentityError("key: is not the key of the certificate");
  if (!isSigned) throw new IdentityError("certificate: is not signed by ca");
  if (!certificate.checkHost(agentName(amphoraId))) {
    throw new IdentityError(`certificate: does not name ${agentName(amphoraId)}`);
  }
  return { bundle, certificate };
}

function read<T>(field: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new IdentityError(`${field}: ${messageOf(error)}`);
  }
}
