/** What an amphora is told of TLS: the certificates that listeners and pools refer to, each once. */
import { randomUUID } from "node:crypto";
import t from "tap";
import { specOf, tlsUsesOf } from "../../controller/amphorae/spec.ts";
import type { TlsMaterial } from "../../controller/certificates/tls.ts";
import type { Tree } from "../../controller/store/tree.ts";
import { parseSpec } from "../../templates/spec.ts";
import { alone } from "../support/standing.ts";
import { aListener, aLoadBalancer, anAmphora, aPool } from "../support/tree.ts";

const block = (label: string, content: string) => `-----BEGIN ${label}-----\n${content}\n-----END ${label}-----\n`;
const certificateOf = (id: string, content: string) => ({
  id,
  certificate: block("CERTIFICATE", content),
  private_key: block("PRIVATE KEY", content),
  notBefore: new Date(0),
  notAfter: new Date(1),
});

const [one, two] = [randomUUID(), randomUUID()];
const url = `http://127.0.0.1:9876/key-manager/v1/secrets/${one}`;
const [ca, crl] = [`http://h/secrets/${randomUUID()}`, `http://h/secrets/${randomUUID()}`];
const tls: TlsMaterial = {
  certificates: new Map([
    [url, certificateOf(one, "AAAA")],
    [one, certificateOf(one, "AAAA")],
    [two, certificateOf(two, "BBBB")],
  ]),
  texts: new Map([
    [ca, block("CERTIFICATE", "CCCC")],
    [crl, block("X509 CRL", "DDDD")],
  ]),
  digest: "x",
  expiries: [],
};

const loadBalancer = aLoadBalancer();
const pool = aPool(loadBalancer, {
  tls_enabled: true,
  tls_container_ref: two,
  ca_tls_container_ref: ca,
  crl_container_ref: crl,
  tls_ciphers: "ECDHE-RSA-AES128-GCM-SHA256",
  tls_versions: ["TLSv1.3"],
  alpn_protocols: ["h2"],
});
const listener = aListener(loadBalancer, {
  protocol: "TERMINATED_HTTPS",
  default_tls_container_ref: url,
  sni_container_refs: [two, one],
  client_authentication: "OPTIONAL",
  client_ca_tls_container_ref: ca,
  client_crl_container_ref: crl,
  hsts_max_age: 5,
  hsts_include_subdomains: true,
  hsts_preload: true,
  tls_ciphers: "ECDHE-RSA-AES128-GCM-SHA256",
  tls_versions: ["TLSv1.2"],
  alpn_protocols: ["http/1.1"],
});
const tree: Tree = {
  loadBalancer,
  listeners: [{ listener, policies: [] }],
  pools: [{ pool, members: [], healthMonitor: null }],
};

t.test("a listener and a pool say all that they have to say of TLS", async (t) => {
  const spec = parseSpec(specOf(tree, alone(anAmphora(loadBalancer), { tls })));
  t.strictSame(
    spec.certificates,
    [certificateOf(one, "AAAA"), certificateOf(two, "BBBB")].map(({ notBefore: _, notAfter: __, ...rest }) => rest),
    "one by two references is one",
  );
  t.strictSame(spec.listeners[0]?.tls, {
    certificate_ids: [one, two],
    client_authentication: "OPTIONAL",
    client_ca: block("CERTIFICATE", "CCCC"),
    client_crl: block("X509 CRL", "DDDD"),
    hsts_max_age: 5,
    hsts_include_subdomains: true,
    hsts_preload: true,
    ciphers: "ECDHE-RSA-AES128-GCM-SHA256",
    versions: ["TLSv1.2"],
    alpn_protocols: ["http/1.1"],
  });
  t.strictSame(spec.pools[0]?.tls, {
    certificate_id: two,
    ca: block("CERTIFICATE", "CCCC"),
    crl: block("X509 CRL", "DDDD"),
    ciphers: "ECDHE-RSA-AES128-GCM-SHA256",
    versions: ["TLSv1.3"],
    alpn_protocols: ["h2"],
  });
});

t.test("without a default certificate, the first other one serves clients that name no host", async (t) => {
  const only = { ...listener, default_tls_container_ref: null };
  const spec = parseSpec(
    specOf({ ...tree, listeners: [{ listener: only, policies: [] }] }, alone(anAmphora(loadBalancer), { tls })),
  );
  t.strictSame(spec.listeners[0]?.tls?.certificate_ids, [two, one]);
});

t.test("only what is in use is asked for", async (t) => {
  const references = (given: Tree) => tlsUsesOf(given).map(({ attribute, reference }) => [attribute, reference]);
  t.strictSame(references(tree), [
    ["default_tls_container_ref", url],
    ["sni_container_refs", two],
    ["sni_container_refs", one],
    ["client_ca_tls_container_ref", ca],
    ["client_crl_container_ref", crl],
    ["tls_container_ref", two],
    ["ca_tls_container_ref", ca],
    ["crl_container_ref", crl],
  ]);
  const off = {
    ...tree,
    listeners: [],
    pools: [{ pool: { ...pool, tls_enabled: false }, members: [], healthMonitor: null }],
  };
  t.strictSame(references(off), []);
  t.equal(parseSpec(specOf(off, alone(anAmphora(loadBalancer), { tls }))).pools[0]?.tls, null);
});
