/** TLS towards clients and members: the words that ask for it, and the files that it needs. */
import { splitCiphers, TLS_VERSIONS, type TlsVersion } from "../fields.ts";
import type { RenderedFile } from "../render.ts";
import type { AmphoraSpec, CertificateSpec, ListenerSpec, PoolSpec } from "../spec.ts";
import { activeListeners, activePolicies, activeRules, backendsOf } from "./names.ts";

type ListenerTls = NonNullable<ListenerSpec["tls"]>;
type PoolTls = NonNullable<PoolSpec["tls"]>;

/** Names of files in the folder of certificates, which `crt-base` and `ca-base` name. */
export const certificateFile = (id: string) => `${id}.pem`;
export const certificateList = (listener: ListenerSpec) => `${listener.id}.crt-list`;
const clientAuthority = (listener: ListenerSpec) => `${listener.id}.ca.pem`;
const clientRevocations = (listener: ListenerSpec) => `${listener.id}.crl.pem`;
const memberAuthority = (pool: PoolSpec) => `${pool.id}.ca.pem`;
const memberRevocations = (pool: PoolSpec) => `${pool.id}.crl.pem`;

/** HAProxy's names of the versions. */
const VERSIONS = { TLSv1: "TLSv1.0", "TLSv1.1": "TLSv1.1", "TLSv1.2": "TLSv1.2", "TLSv1.3": "TLSv1.3" } as const;
const MODERN: readonly TlsVersion[] = ["TLSv1.2", "TLSv1.3"];

/** What follows the list of certificates on a listener's bind lines. */
export function bindWords(listener: ListenerSpec, tls: ListenerTls): string[] {
  return [
    ...versionWords(tls),
    ...cipherWords(tls),
    "alpn",
    (tls.alpn_protocols ?? ["h2", "http/1.1"]).join(","),
    ...clientWords(listener, tls),
  ];
}

function clientWords(listener: ListenerSpec, tls: ListenerTls): string[] {
  if (tls.client_authentication === "NONE" || tls.client_ca === null) return [];
  const words = ["ca-file", clientAuthority(listener), "verify"];
  words.push(tls.client_authentication === "MANDATORY" ? "required" : "optional");
  if (tls.client_crl !== null) words.push("crl-file", clientRevocations(listener));
  if (showsVerification(listener)) words.push("ca-ignore-err", "all", "crt-ignore-err", "all");
  return words;
}

/**
 * Whether a client with a certificate that does not verify is let in, for the tenant to decide by the result. What such
 * a certificate says of its holder is then believed nowhere.
 */
export function showsVerification(listener: ListenerSpec): boolean {
  if (listener.tls?.client_authentication !== "OPTIONAL") return false;
  const rules = activePolicies(listener).flatMap(activeRules);
  return (
    rules.some(({ type }) => type === "SSL_VERIFY_RESULT") || listener.insert_headers.includes("X-SSL-Client-Verify")
  );
}

/** The words of a server line that have members spoken to over TLS. */
export function serverWords(pool: PoolSpec, tls: PoolTls): string[] {
  const words = ["ssl", ...versionWords(tls), ...cipherWords(tls)];
  if (tls.alpn_protocols !== null) words.push("alpn", tls.alpn_protocols.join(","));
  // the name that the client asked for; none when the client did not speak TLS
  words.push("sni", "ssl_fc_sni");
  if (tls.certificate_id !== null) words.push("crt", certificateFile(tls.certificate_id));
  if (tls.ca === null) return [...words, "verify", "none"];
  words.push("verify", "required", "ca-file", memberAuthority(pool));
  if (tls.crl !== null) words.push("crl-file", memberRevocations(pool));
  return words;
}

interface Protocols {
  readonly versions: readonly TlsVersion[] | null;
  readonly ciphers: string | null;
}

function versionWords({ versions, ciphers }: Protocols): string[] {
  const places = (versions ?? MODERN).map((version) => TLS_VERSIONS.indexOf(version));
  const onlySuites = ciphers !== null && splitCiphers(ciphers).ciphers.length === 0;
  const oldest = onlySuites ? "TLSv1.3" : (TLS_VERSIONS[Math.max(1, Math.min(...places))] ?? "TLSv1.2");
  const newest = TLS_VERSIONS[Math.max(...places)] ?? "TLSv1.3";
  return ["ssl-min-ver", haproxyName(oldest), "ssl-max-ver", haproxyName(newest)];
}

function haproxyName(version: TlsVersion): string {
  return version === "SSLv3" ? VERSIONS.TLSv1 : VERSIONS[version];
}

function cipherWords({ versions, ciphers }: Protocols): string[] {
  const { suites = [], ciphers: older = [] } = ciphers === null ? {} : splitCiphers(ciphers);
  const words = suites.length > 0 ? ["ciphersuites", suites.join(":")] : [];
  // OpenSSL's security level 1 and above shut out TLSv1.1 and older, whatever the versions say (SSL_CTX_set_security_level(3))
  const low = versions?.some((version) => version === "TLSv1" || version === "TLSv1.1") ?? false;
  if (low) return [...words, "ciphers", `${older.length > 0 ? older.join(":") : "DEFAULT"}:@SECLEVEL=0`];
  return older.length > 0 ? [...words, "ciphers", older.join(":")] : words;
}

/** The files that the TLS of a spec needs, by their names in the folder of certificates. */
export function tlsFiles(spec: AmphoraSpec): Map<string, RenderedFile> {
  const files = new Map<string, RenderedFile>();
  const certificates = new Map(spec.certificates.map((each) => [each.id, each]));
  const add = (name: string, content: string, secret = false) => files.set(name, { content, mode: 0o600, secret });
  const addCertificate = (id: string) => {
    const certificate = certificates.get(id);
    if (certificate !== undefined) add(certificateFile(id), pemOf(certificate), true);
  };
  for (const listener of activeListeners(spec)) {
    if (listener.tls === null) continue;
    const { certificate_ids, client_authentication, client_ca, client_crl } = listener.tls;
    for (const id of certificate_ids) addCertificate(id);
    const names = new Set(certificate_ids.map(certificateFile));
    add(certificateList(listener), [...names].map((name) => `${name}\n`).join(""));
    if (client_authentication === "NONE") continue;
    if (client_ca !== null) add(clientAuthority(listener), client_ca);
    if (client_crl !== null) add(clientRevocations(listener), client_crl);
  }
  for (const { pool } of backendsOf(spec).values()) {
    if (pool.tls === null) continue;
    if (pool.tls.certificate_id !== null) addCertificate(pool.tls.certificate_id);
    if (pool.tls.ca !== null) add(memberAuthority(pool), pool.tls.ca);
    if (pool.tls.crl !== null) add(memberRevocations(pool), pool.tls.crl);
  }
  return files;
}

/** The certificate, its chain and its key, without the empty lines that would end them for HAProxy's command line. */
function pemOf({ certificate, private_key }: CertificateSpec): string {
  return `${certificate}\n${private_key}\n`.replace(/\n{2,}/g, "\n");
}
