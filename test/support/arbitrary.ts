/** Specs by chance, for properties: valid ones that use every field. */
import fc from "fast-check";
import {
  ALPN_PROTOCOLS,
  CLIENT_AUTHENTICATIONS,
  COMPARE_TYPES,
  HTTP_METHODS,
  HTTP_VERSIONS,
  INSERT_HEADERS,
  LB_ALGORITHMS,
  MAX_TIME_MS,
  REDIRECT_HTTP_CODES,
} from "../../templates/fields.ts";
import { type AmphoraSpec, parseSpec } from "../../templates/spec.ts";
import { TestAuthority } from "./pki.ts";
import {
  idOf,
  type ListenerInput,
  listener,
  type MemberInput,
  type MonitorInput,
  member,
  monitor,
  type PoolInput,
  pool,
  specInput,
} from "./specs.ts";

/** Certificates that HAProxy takes; no spec by chance has others. */
const AUTHORITY = await TestAuthority.make("authority");
const { serial: _, ...PAIR } = await AUTHORITY.issue("CN=a.example", ["a.example"]);
export const CERTIFICATE = { id: idOf("certificate"), ...PAIR };
export const CLIENT_CA = AUTHORITY.certificate;
export const CLIENT_CRL = await AUTHORITY.revoke();

/** Which listeners may stand before a pool. */
const BEFORE = {
  HTTP: ["HTTP", "TERMINATED_HTTPS", "TCP"],
  PROXY: ["HTTP", "TERMINATED_HTTPS", "HTTPS", "TCP"],
  PROXYV2: ["HTTP", "TERMINATED_HTTPS", "HTTPS", "TCP"],
  HTTPS: ["HTTPS", "TCP"],
  TCP: ["HTTPS", "TCP"],
} as const;
const POOL_KINDS = ["HTTP", "HTTP", "PROXY", "PROXYV2", "HTTPS", "TCP"] as const;
const PLAIN_HEADERS = ["X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto"] as const;
const ALL_HEADERS = Object.keys(INSERT_HEADERS) as (keyof typeof INSERT_HEADERS)[];
const time = fc.oneof(fc.constantFrom(0, 1, 5000, 50_000, MAX_TIME_MS), fc.nat({ max: MAX_TIME_MS }));
const port = fc.integer({ min: 1, max: 65_535 });
const address = fc.oneof(
  fc.ipV4(),
  fc.ipV6().filter((text) => !text.includes(".")),
);
/** Every printable character that a path may hold. */
const urlPath = fc
  .string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)), maxLength: 254 })
  .map((text) => `/${text}`);

const cidr = fc.oneof(
  fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 })).map(([ip, length]) => `${ip}/${length}`),
  fc.tuple(address, fc.integer({ min: 0, max: 32 })).map(([ip, length]) => `${ip}/${length}`),
);
const token = fc.string({ unit: fc.constantFrom(..."abZ09!#$%&'*+.^_`|~-"), minLength: 1, maxLength: 20 });
/** Whatever a rule may compare with: no control characters, all else. */
const matchText = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 40 })
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are refused
  .filter((text) => text.length <= 100 && !/[\u0000-\u001f\u007f]/.test(text));
const url = fc
  .string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)), maxLength: 60 })
  .map((text) => `https://example.com/${text}`)
  .filter((text) => URL.canParse(text));

const memberFields: fc.Arbitrary<Partial<MemberInput>> = fc.record({
  admin_state_up: fc.boolean(),
  address,
  weight: fc.integer({ min: 0, max: 256 }),
  backup: fc.boolean(),
  monitor_address: fc.option(address),
  monitor_port: fc.option(port),
});

const monitorFields: fc.Arbitrary<Partial<MonitorInput>> = fc.record({
  admin_state_up: fc.boolean(),
  type: fc.constantFrom("HTTP", "TCP", "HTTPS", "TLS-HELLO", "PING"),
  delay: fc.integer({ min: 1, max: 2_147_483 }),
  timeout: fc.integer({ min: 1, max: 2_147_483 }),
  max_retries: fc.integer({ min: 1, max: 10 }),
  max_retries_down: fc.integer({ min: 1, max: 10 }),
  http_method: fc.constantFrom(...HTTP_METHODS),
  http_version: fc.constantFrom(...HTTP_VERSIONS),
  url_path: urlPath,
  expected_codes: fc.constantFrom("200", "200,202", "200-204", "100,301-303,599"),
  domain_name: fc.option(fc.domain()),
});

const poolFields = fc.record({
  admin_state_up: fc.oneof({ weight: 4, arbitrary: fc.constant(true) }, fc.constant(false)),
  protocol: fc.constantFrom(...POOL_KINDS),
  lb_algorithm: fc.constantFrom(...LB_ALGORITHMS),
  members: fc.array(memberFields, { maxLength: 4 }),
  monitor: fc.option(monitorFields),
  persistence: fc.option(fc.oneof(fc.constantFrom("SOURCE_IP", "HTTP_COOKIE"), token)),
  tls: fc.option(
    fc.record({
      certificate_id: fc.option(fc.constant(CERTIFICATE.id)),
      ca: fc.option(fc.constant(CLIENT_CA)),
      alpn_protocols: fc.option(fc.uniqueArray(fc.constantFrom(...ALPN_PROTOCOLS), { minLength: 1 })),
      versions: fc.option(fc.constantFrom(["TLSv1.2"], ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"])) as fc.Arbitrary<
        NonNullable<PoolInput["tls"]>["versions"]
      >,
    }),
    { freq: 2 },
  ),
});

const ruleFields = fc.record({
  admin_state_up: fc.oneof({ weight: 4, arbitrary: fc.constant(true) }, fc.constant(false)),
  kind: fc.constantFrom(
    "HOST_NAME",
    "PATH",
    "FILE_TYPE",
    "HEADER",
    "COOKIE",
    "SSL_CONN_HAS_CERT",
    "SSL_VERIFY_RESULT",
    "SSL_DN_FIELD",
  ),
  compare_type: fc.constantFrom(...COMPARE_TYPES),
  key: token,
  value: matchText,
  invert: fc.boolean(),
});

const policyFields = fc.record({
  admin_state_up: fc.oneof({ weight: 4, arbitrary: fc.constant(true) }, fc.constant(false)),
  action: fc.constantFrom("REDIRECT_TO_POOL", "REDIRECT_TO_URL", "REDIRECT_PREFIX", "REJECT"),
  pool: fc.nat({ max: 3 }),
  url,
  redirect_http_code: fc.constantFrom(...REDIRECT_HTTP_CODES),
  rules: fc.array(ruleFields, { maxLength: 3 }),
});

const listenerFields = fc.record({
  admin_state_up: fc.boolean(),
  /** which of those that may stand before the pool */
  kind: fc.nat({ max: 3 }),
  /** which pool, counted from 0; one that is not there is none */
  pool: fc.nat({ max: 3 }),
  connection_limit: fc.oneof(fc.constantFrom(-1, 0, 1, MAX_TIME_MS), fc.nat({ max: MAX_TIME_MS })),
  timeout_client_data: time,
  // few values, so that listeners often agree and share a backend
  timeout_member_connect: fc.constantFrom(0, 5000),
  timeout_member_data: fc.constantFrom(50_000, MAX_TIME_MS),
  timeout_tcp_inspect: time,
  allowed_cidrs: fc.option(fc.array(cidr, { minLength: 1, maxLength: 60 })),
  headers: fc.uniqueArray(fc.constantFrom(...ALL_HEADERS)),
  policies: fc.array(policyFields, { maxLength: 3 }),
  tls: fc.record({
    client_authentication: fc.constantFrom(...CLIENT_AUTHENTICATIONS),
    hsts_max_age: fc.option(fc.nat()),
    alpn_protocols: fc.option(fc.uniqueArray(fc.constantFrom(...ALPN_PROTOCOLS), { minLength: 1 })),
  }),
});
type ListenerFields = typeof listenerFields extends fc.Arbitrary<infer T> ? T : never;
type PolicyFields = typeof policyFields extends fc.Arbitrary<infer T> ? T : never;
type RuleFields = typeof ruleFields extends fc.Arbitrary<infer T> ? T : never;

/** A spec with up to 3 pools of up to 4 members, and up to 4 listeners. */
export const arbitrarySpec: fc.Arbitrary<AmphoraSpec> = fc
  .record({
    admin_state_up: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, fc.constant(false)),
    vips: fc.uniqueArray(address, { minLength: 1, maxLength: 2 }),
    pools: fc.array(poolFields, { maxLength: 3 }),
    listeners: fc.array(listenerFields, { maxLength: 4 }),
  })
  .map(({ admin_state_up, vips, pools, listeners }) => {
    const made: PoolInput[] = pools.map(({ members, monitor: check, persistence, ...fields }, i) => {
      const numbered = members.map((each, j) => member(i * 10 + j, { ...each, protocol_port: 8000 + j }));
      const health_monitor = check === null ? null : monitor({ ...check, id: idOf("monitor", i) });
      const session_persistence = persistence === null ? null : persistenceOf(persistence, fields.protocol);
      return pool(i + 1, numbered, { ...fields, health_monitor, session_persistence });
    });
    const all = listeners.map((fields, i) => listenerOf(fields, i + 1, made));
    return parseSpec(specInput({ admin_state_up, vips, certificates: [CERTIFICATE], pools: made, listeners: all }));
  });

function persistenceOf(what: string, protocol: PoolInput["protocol"]): PoolInput["session_persistence"] {
  const passed = protocol === "TCP" || protocol === "HTTPS";
  if (what === "SOURCE_IP" || passed) return { type: "SOURCE_IP" };
  return what === "HTTP_COOKIE" ? { type: "HTTP_COOKIE" } : { type: "APP_COOKIE", cookie_name: what };
}

function listenerOf(
  { pool: index, kind, headers, policies, tls, ...fields }: ListenerFields,
  number: number,
  pools: readonly PoolInput[],
): ListenerInput {
  const behind = pools[index];
  const kinds = behind === undefined ? (["PROMETHEUS", "HTTP"] as const) : kindsBefore(behind);
  const protocol = kinds[kind % kinds.length] ?? "HTTP";
  const http = protocol === "HTTP" || protocol === "TERMINATED_HTTPS";
  const secured = protocol === "TERMINATED_HTTPS";
  return listener(number, {
    ...fields,
    protocol,
    default_pool_id: behind?.id ?? null,
    insert_headers: secured
      ? headers
      : http
        ? headers.filter((each) => PLAIN_HEADERS.some((name) => name === each))
        : [],
    tls: secured ? { ...tls, certificate_ids: [CERTIFICATE.id], client_ca: CLIENT_CA, client_crl: CLIENT_CRL } : null,
    l7policies: http ? policies.map((each, i) => policyOf(each, number * 10 + i, pools)) : [],
  });
}

function kindsBefore({ protocol }: PoolInput): readonly NonNullable<ListenerInput["protocol"]>[] {
  return protocol in BEFORE ? BEFORE[protocol as keyof typeof BEFORE] : [];
}

type PolicyInput = NonNullable<ListenerInput["l7policies"]>[number];

function policyOf(
  { pool: index, url, rules, action, ...fields }: PolicyFields,
  number: number,
  pools: readonly PoolInput[],
): PolicyInput {
  const target = pools.filter((each) => ["HTTP", "PROXY", "PROXYV2"].includes(each.protocol))[index];
  const possible = action === "REDIRECT_TO_POOL" && target === undefined ? "REJECT" : action;
  return {
    ...fields,
    id: idOf("policy", number),
    action: possible,
    redirect_pool_id: possible === "REDIRECT_TO_POOL" ? (target?.id ?? null) : null,
    redirect_url: possible === "REDIRECT_TO_URL" ? url : null,
    redirect_prefix: possible === "REDIRECT_PREFIX" ? url : null,
    rules: rules.map((rule, i) => ruleOf(rule, number * 10 + i)),
  };
}

function ruleOf({ kind, key, value, compare_type, ...fields }: RuleFields, number: number) {
  const rule = { ...fields, id: idOf("rule", number), type: kind, key: null, value, compare_type } as const;
  switch (kind) {
    case "SSL_CONN_HAS_CERT":
      return { ...rule, value: "True", compare_type: "EQUAL_TO" } as const;
    case "SSL_VERIFY_RESULT":
      return { ...rule, value: "18", compare_type: "EQUAL_TO" } as const;
    case "SSL_DN_FIELD":
      return { ...rule, key: "CN", ...compilable(rule) } as const;
    case "FILE_TYPE":
      return compare_type === "REGEX"
        ? { ...rule, ...compilable(rule) }
        : ({ ...rule, compare_type: "EQUAL_TO" } as const);
    case "HEADER":
    case "COOKIE":
      return { ...rule, key, ...compilable(rule) };
    default:
      return { ...rule, ...compilable(rule) };
  }
}

/** What a regular expression that HAProxy takes looks like: everything that means something in one is escaped. */
function compilable({ value, compare_type }: { value: string; compare_type: (typeof COMPARE_TYPES)[number] }) {
  const escaped = value.replace(/[^\p{L}\p{N} ]/gu, "\\$&");
  return { value: compare_type === "REGEX" ? escaped : value };
}

/** The same spec with other members: some gone, some new, some at another address, with other weights and states. */
export function withOtherMembers(spec: AmphoraSpec): fc.Arbitrary<AmphoraSpec> {
  const total = spec.pools.reduce((sum, each) => sum + each.members.length, 0);
  const change = fc.record(
    { weight: fc.integer({ min: 0, max: 256 }), admin_state_up: fc.boolean(), address },
    { requiredKeys: [] },
  );
  const perMember = fc.array(fc.option(change, { freq: 4 }), { minLength: total, maxLength: total });
  const perPool = fc.array(fc.array(memberFields, { maxLength: 2 }), {
    minLength: spec.pools.length,
    maxLength: spec.pools.length,
  });
  return fc.tuple(perMember, perPool).map(([changes, added]) => {
    let next = 0;
    const pools = spec.pools.map((each, i) => {
      const kept = each.members.flatMap((one) => {
        const changed = changes[next++];
        return changed ? [{ ...one, ...changed }] : [];
      });
      const fresh = (added[i] ?? []).map((fields, j) =>
        member(1000 + i * 10 + j, { ...fields, protocol_port: 9000 + j }),
      );
      return { ...each, members: [...kept, ...fresh] };
    });
    return parseSpec({ ...spec, revision: spec.revision + 1, pools });
  });
}
