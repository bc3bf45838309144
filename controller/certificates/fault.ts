/** What is wrong with a certificate, a key or a list of revoked ones: a sentence that holds nothing secret. */
export class CertificateError extends Error {
  override readonly name = "CertificateError";
}
