/** Certificates and how they are used, towards clients and towards members. */
import { z } from "zod";
import { ALPN_PROTOCOLS, CLIENT_AUTHENTICATIONS, cipherList, tlsVersions, uuid } from "../fields.ts";

/** PEM blocks of one kind and nothing else (RFC 7468): HAProxy would read whatever stands between them. */
function pem(label: string) {
  const blocks = new RegExp(`^(?:-----BEGIN ${label}-----\\n[A-Za-z0-9+/=\\n]+-----END ${label}-----\\n?)+$`);
  return z.string().max(1_048_576).regex(blocks, `must hold PEM blocks "${label}" and nothing else`);
}

/** A certificate with its key: the one thing in a spec that is secret. */
export const certificate = z.strictObject({
  id: uuid,
  certificate: pem("CERTIFICATE").describe("the certificate, then those that lead to its authority"),
  private_key: pem("PRIVATE KEY").describe("PKCS #8, without a password"),
});

const common = {
  ciphers: cipherList
    .nullable()
    .default(null)
    .describe("up to TLSv1.2 and of TLSv1.3 in one list; null: the daemon's own"),
  versions: tlsVersions.nullable().default(null).describe("null: TLSv1.2 and TLSv1.3"),
};

const alpnProtocols = z.array(z.enum(ALPN_PROTOCOLS)).min(1).nullable().default(null);

/** Of a TERMINATED_HTTPS listener. */
export const listenerTls = z.strictObject({
  certificate_ids: z.array(uuid).min(1).describe("the first is for clients that name no host, or an unknown one"),
  client_authentication: z
    .enum(CLIENT_AUTHENTICATIONS)
    .default("NONE")
    .describe(
      "OPTIONAL: a client without a certificate is served, one with a wrong certificate only where its verification is looked at (an SSL_VERIFY_RESULT rule, or X-SSL-Client-Verify)",
    ),
  client_ca: pem("CERTIFICATE").nullable().default(null).describe("who signs clients' certificates"),
  client_crl: pem("X509 CRL").nullable().default(null),
  hsts_max_age: z
    .int()
    .min(0)
    .max(2_147_483_647)
    .nullable()
    .default(null)
    .describe("seconds (RFC 6797, 6.1.1); null: no Strict-Transport-Security"),
  hsts_include_subdomains: z.boolean().default(false),
  hsts_preload: z.boolean().default(false),
  alpn_protocols: alpnProtocols.describe("the preferred one first; null: h2, then http/1.1"),
  ...common,
});

/** Of a pool whose members are spoken to over TLS. */
export const poolTls = z.strictObject({
  certificate_id: uuid.nullable().default(null).describe("what members are shown"),
  ca: pem("CERTIFICATE")
    .nullable()
    .default(null)
    .describe("null: members' certificates are not verified; else they must name the host that the client's TLS named"),
  crl: pem("X509 CRL").nullable().default(null),
  alpn_protocols: alpnProtocols.describe("the preferred one first; null: http/1.1 without being asked"),
  ...common,
});
