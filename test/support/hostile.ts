/** Specs in which one string, at any place where a spec holds one, was typed by somebody who means harm. */
import fc from "fast-check";
import { parseSpec } from "../../templates/spec.ts";
import { CERTIFICATE, CLIENT_CA, CLIENT_CRL } from "./arbitrary.ts";
import { idOf, listener, member, monitor, pool, specInput } from "./specs.ts";

/** What means something to HAProxy, a shell, a template, a terminal or a parser. */
const HARMFUL = [
  "\n",
  "\r\n",
  "\n    server evil 192.0.2.66:80\n",
  "\nbackend evil\n",
  "'",
  '"',
  "'\\''",
  "\\",
  "\\n",
  "\\x0a",
  "#",
  "%[src]",
  "%{+Q}o",
  "%n",
  "$HOME",
  "$" + "{HOME}",
  "$(id)",
  "`id`",
  " ",
  "\t",
  ";",
  "{{name}}",
  "{{{name}}}",
  "]",
  ":1",
  "\u0000",
  "\u007f",
  "\u0085",
  "\u2028",
  "\uFF07",
  "é",
  "💣",
  "\ud800",
  "__proto__",
];

const RULES = [
  { type: "HOST_NAME", compare_type: "EQUAL_TO", value: "www.example.com" },
  { type: "PATH", compare_type: "STARTS_WITH", value: "/api" },
  { type: "FILE_TYPE", compare_type: "EQUAL_TO", value: "jpg" },
  { type: "HEADER", key: "X-Tenant", compare_type: "CONTAINS", value: "a" },
  { type: "COOKIE", key: "who", compare_type: "ENDS_WITH", value: "b" },
  { type: "SSL_DN_FIELD", key: "CN", compare_type: "EQUAL_TO", value: "alice" },
  { type: "SSL_VERIFY_RESULT", compare_type: "EQUAL_TO", value: "18" },
] as const;

const policy = (number: number, fields: object) => ({
  id: idOf("policy", number),
  rules: RULES.map((rule, i) => ({ id: idOf("rule", number * 10 + i), ...rule })),
  action: "REJECT" as const,
  ...fields,
});

/** Holds every string field that there is; all hostile specs are made from it. */
export const HARMLESS = parseSpec(
  specInput({
    interfaces: [
      {
        name: "eth1",
        mac: "fa:16:3e:00:00:01",
        addresses: ["10.77.0.10/24"],
        routes: [{ destination: "0.0.0.0/0", via: "10.77.0.1" }],
      },
    ],
    certificates: [CERTIFICATE],
    listeners: [
      listener(1, {
        allowed_cidrs: ["10.0.0.0/8", "2001:db8::/32"],
        l7policies: [
          policy(1, { action: "REDIRECT_TO_POOL", redirect_pool_id: idOf("pool", 2) }),
          policy(2, { action: "REDIRECT_TO_URL", redirect_url: "https://example.com/a?b=c" }),
          policy(3, { action: "REDIRECT_PREFIX", redirect_prefix: "https://example.org" }),
          policy(4, {}),
        ],
      }),
      listener(2, { default_pool_id: idOf("pool", 2) }),
      listener(3, {
        protocol: "TERMINATED_HTTPS",
        insert_headers: ["X-Forwarded-For", "X-SSL-Client-Verify", "X-SSL-Client-CN"],
        tls: {
          certificate_ids: [CERTIFICATE.id],
          client_authentication: "OPTIONAL",
          client_ca: CLIENT_CA,
          client_crl: CLIENT_CRL,
          hsts_max_age: 5,
          ciphers: "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256",
          versions: ["TLSv1.2", "TLSv1.3"],
          alpn_protocols: ["h2", "http/1.1"],
        },
        l7policies: [policy(5, {})],
      }),
      listener(4, { redirect_listener_id: idOf("listener", 3) }),
    ],
    pools: [
      pool(1, [member(1, { monitor_address: "10.77.0.99" }), member(2, { address: "fd77::22" })], {
        health_monitor: monitor({ domain_name: "www.example.com", expected_codes: "200-204" }),
        session_persistence: { type: "APP_COOKIE", cookie_name: "JSESSIONID" },
        tls: {
          certificate_id: CERTIFICATE.id,
          ca: CLIENT_CA,
          crl: CLIENT_CRL,
          ciphers: "ECDHE-RSA-AES128-GCM-SHA256:HIGH",
        },
      }),
      pool(2, [member(3, { monitor_address: "fd77::99" })], {
        health_monitor: monitor({ id: idOf("monitor", 2), http_version: 1.1 }),
        session_persistence: { type: "SOURCE_IP", persistence_granularity: "255.255.255.0" },
      }),
    ],
  }),
);

export interface HostileSpec {
  /** where the string stands, such as pools.0.health_monitor.url_path */
  readonly path: string;
  readonly text: string;
  /** the document with the string in it: a valid spec or not */
  readonly document: unknown;
}

/** Each string field, and all kinds of strings in it. */
export const hostileSpec: fc.Arbitrary<HostileSpec> = fc
  .tuple(
    fc.constantFrom(...stringsIn(HARMLESS)),
    fc.oneof(
      fc.constantFrom(...HARMFUL),
      fc
        .array(fc.oneof(fc.constantFrom(...HARMFUL), fc.string({ minLength: 1, maxLength: 3 })), {
          minLength: 1,
          maxLength: 8,
        })
        .map((all) => all.join("")),
      fc.string({ unit: "binary", minLength: 1, maxLength: 50 }),
      fc.constant("a".repeat(65_536)),
    ),
    fc.constantFrom("instead", "before", "after", "within"),
  )
  .map(([[path, original], harm, place]) => {
    const half = Math.ceil(original.length / 2);
    const text = {
      instead: harm,
      before: harm + original,
      after: original + harm,
      within: original.slice(0, half) + harm + original.slice(half),
    }[place];
    return { path, text, document: withString(HARMLESS, path.split("."), text) };
  });

function stringsIn(value: unknown, path: readonly string[] = []): [path: string, text: string][] {
  if (typeof value === "string") return [[path.join("."), value]];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) => stringsIn(each, [...path, key]));
}

function withString(value: unknown, [key, ...rest]: readonly string[], text: string): unknown {
  if (key === undefined) return text;
  const changed = (each: unknown, name: string) => (name === key ? withString(each, rest, text) : each);
  if (Array.isArray(value)) return value.map((each, i) => changed(each, String(i)));
  return Object.fromEntries(Object.entries(Object(value)).map(([name, each]) => [name, changed(each, name)]));
}
