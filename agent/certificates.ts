/** Whether the certificates of a spec can be used, before a daemon has to find out. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { type AmphoraSpec, SpecError, type SpecProblem } from "../templates/spec.ts";

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** @throws {SpecError} naming each certificate or key that can't be read, and each pair that does not fit */
export function checkCertificates({ certificates, listeners, pools }: AmphoraSpec): void {
  const problems: SpecProblem[] = [];
  const attempt = (path: string, what: string, read: () => unknown) => {
    try {
      read();
      return true;
    } catch {
      problems.push({ path, message: `holds a block that is no ${what}` });
      return false;
    }
  };
  const isChain = (text: string, path: string) =>
    attempt(path, "certificate", () => (text.match(BLOCK) ?? []).map((block) => new X509Certificate(block)));

  certificates.forEach(({ certificate, private_key }, i) => {
    const path = `certificates[${i}]`;
    const chain = isChain(certificate, `${path}.certificate`);
    const key = attempt(`${path}.private_key`, "private key", () => createPrivateKey(private_key));
    // the first certificate is what the key belongs to
    if (chain && key && !new X509Certificate(certificate).checkPrivateKey(createPrivateKey(private_key))) {
      problems.push({ path: `${path}.private_key`, message: "is not the key of the certificate" });
    }
  });
  listeners.forEach(({ tls }, i) => {
    if (tls?.client_ca) isChain(tls.client_ca, `listeners[${i}].tls.client_ca`);
  });
  pools.forEach(({ tls }, i) => {
    if (tls?.ca) isChain(tls.ca, `pools[${i}].tls.ca`);
  });
  if (problems.length > 0) throw new SpecError(problems);
}
