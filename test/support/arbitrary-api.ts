/** Requests by chance, for properties: every value may stand where it stands, but not everything goes with everything. */
import fc from "fast-check";
import {
  ALPN_PROTOCOLS,
  CLIENT_AUTHENTICATIONS,
  COMPARE_TYPES,
  HEALTH_MONITOR_TYPES,
  HTTP_METHODS,
  HTTP_VERSIONS,
  INSERT_HEADERS,
  L7_ACTIONS,
  L7_RULE_TYPES,
  LB_ALGORITHMS,
  LISTENER_PROTOCOLS,
  MAX_TIME_MS,
  POOL_PROTOCOLS,
  REDIRECT_HTTP_CODES,
  SESSION_PERSISTENCE_TYPES,
  TLS_VERSIONS,
} from "../../templates/fields.ts";

/** Secrets that listeners and pools may refer to. */
export interface References {
  readonly certificates: readonly string[];
  readonly authority: string;
  readonly revocations: string;
}

const PARTS = ["listener", "pool", "member", "healthmonitor", "l7policy", "rule"] as const;
export type PartKind = (typeof PARTS)[number];

/** One request: a part made, or one that is there changed. */
export interface Step {
  readonly kind: PartKind;
  /** which of the parts of that kind is changed, counted round and round; null: a new one is made */
  readonly which: number | null;
  /** which listener, pool or policy it belongs to, or names; counted in the same way */
  readonly of: number;
  readonly other: number;
  readonly values: Readonly<Record<string, unknown>>;
}

const address = fc.constantFrom("10.0.0.1", "10.0.0.2", "2001:db8:1::1", "2001:db8:1::2");
const port = fc.integer({ min: 1, max: 65_535 });
const flag = fc.boolean();
const time = fc.constantFrom(0, 1, 50_000, MAX_TIME_MS);
const ciphers = mostly(
  fc.constantFrom("HIGH:!aNULL", "ECDHE-RSA-AES256-GCM-SHA384:TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"),
  fc
    .array(
      fc.constantFrom(
        ...["HIGH", "DEFAULT", "ECDHE-ECDSA-AES128-GCM-SHA256", "AES128-SHA", "eNULL", "TLS_AES_128_CCM_8_SHA256"],
        ...["TLS_SHA256_SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "!aNULL", "!HIGH", "-HIGH", "+RSA", "!ALL"],
        ...["@STRENGTH", "@SECLEVEL=1", "@SECLEVEL=9", "@NOTHING"],
      ),
      { minLength: 1, maxLength: 4 },
    )
    .map((names) => names.join(":")),
);
const tls = {
  tls_ciphers: ciphers,
  tls_versions: mostly(
    fc.constantFrom(["TLSv1.2"], ["TLSv1.3"], ["SSLv3", "TLSv1", "TLSv1.1"], ["TLSv1.3", "TLSv1.1", "TLSv1.2"]),
    fc.uniqueArray(fc.constantFrom(...TLS_VERSIONS), { minLength: 1 }),
  ),
  alpn_protocols: fc.uniqueArray(fc.constantFrom(...ALPN_PROTOCOLS), { minLength: 1 }),
};

function mostly<T, U>(usual: fc.Arbitrary<T>, other: fc.Arbitrary<U>): fc.Arbitrary<T | U> {
  return fc.oneof({ weight: 5, arbitrary: usual }, { weight: 1, arbitrary: other });
}

/** Some of the attributes, each as likely as not. */
function some(attributes: Readonly<Record<string, fc.Arbitrary<unknown>>>) {
  return fc.record({ ...attributes }, { requiredKeys: [] });
}

function valuesOf({ certificates, authority, revocations }: References) {
  const certificate = fc.constantFrom(...certificates);
  const terminating = fc.record(
    {
      ...tls,
      default_tls_container_ref: certificate,
      sni_container_refs: fc.array(certificate, { maxLength: 2 }),
      client_authentication: fc.constantFrom(...CLIENT_AUTHENTICATIONS),
      client_ca_tls_container_ref: fc.constant(authority),
      client_crl_container_ref: fc.constant(revocations),
      hsts_max_age: fc.nat({ max: MAX_TIME_MS }),
      hsts_include_subdomains: flag,
      hsts_preload: flag,
    },
    { requiredKeys: ["default_tls_container_ref"] },
  );
  const listening = some({
    admin_state_up: flag,
    connection_limit: fc.constantFrom(-1, 1, MAX_TIME_MS),
    timeout_client_data: time,
    timeout_member_connect: time,
    timeout_member_data: time,
    timeout_tcp_inspect: time,
  });
  const headers = fc.dictionary(
    fc.constantFrom(...(Object.keys(INSERT_HEADERS) as (keyof typeof INSERT_HEADERS)[])),
    fc.constantFrom("true", "false"),
  );
  const listener = fc
    .record({
      protocol: fc.constantFrom(...LISTENER_PROTOCOLS, "TERMINATED_HTTPS", "TERMINATED_HTTPS"),
      protocol_port: port,
      listening,
      terminating,
      insert_headers: headers,
      allowed_cidrs: mostly(
        fc.constant(null),
        fc.uniqueArray(fc.constantFrom("0.0.0.0/0", "192.0.2.7/24", "::/0", "2001:db8::/32")),
      ),
      // what does not fit is refused: most of the time it fits
      stray: mostly(fc.constant({}), terminating),
    })
    .map(({ listening, terminating, insert_headers, stray, protocol, ...rest }) => ({
      protocol,
      ...rest,
      ...listening,
      ...(protocol === "HTTP" || protocol === "TERMINATED_HTTPS" ? { insert_headers } : {}),
      ...(protocol === "TERMINATED_HTTPS" ? terminating : stray),
    }));
  const persistence = mostly(
    fc.constantFrom(
      { type: "SOURCE_IP" },
      { type: "HTTP_COOKIE" },
      { type: "APP_COOKIE", cookie_name: "%$" },
      { type: "SOURCE_IP", persistence_timeout: 2_147_483, persistence_granularity: "64" },
    ),
    fc.record(
      {
        type: fc.constantFrom(...SESSION_PERSISTENCE_TYPES),
        cookie_name: fc.constantFrom("JSESSIONID", "a.b"),
        persistence_timeout: fc.constantFrom(1, 360),
        persistence_granularity: fc.constantFrom("255.255.255.0", "64"),
      },
      { requiredKeys: ["type"] },
    ),
  );
  const pool = fc
    .record({
      protocol: fc.constantFrom(...POOL_PROTOCOLS),
      lb_algorithm: fc.constantFrom(...LB_ALGORITHMS),
      more: some({ admin_state_up: flag }),
      session_persistence: mostly(fc.constant(null), persistence),
      secured: mostly(
        fc.constant({}),
        some({
          ...tls,
          tls_enabled: flag,
          tls_container_ref: certificate,
          ca_tls_container_ref: fc.constant(authority),
          crl_container_ref: fc.constant(revocations),
        }),
      ),
    })
    .map(({ more, secured, ...values }) => ({ ...values, ...more, ...secured }));
  const member = fc
    .record({
      address,
      protocol_port: port,
      more: some({
        admin_state_up: flag,
        weight: fc.integer({ min: 0, max: 256 }),
        backup: flag,
        monitor_address: address,
        monitor_port: port,
      }),
    })
    .map(({ more, ...values }) => ({ ...values, ...more }));
  const seconds = fc.constantFrom(1, 3, 5, 4294, 4295, 2_147_483);
  const healthmonitor = fc
    .record({
      type: fc.constantFrom(...HEALTH_MONITOR_TYPES, "HTTP", "HTTP"),
      delay: seconds,
      timeout: seconds,
      max_retries: fc.integer({ min: 1, max: 10 }),
      more: some({ admin_state_up: flag, max_retries_down: fc.integer({ min: 1, max: 10 }) }),
      http: some({
        http_method: fc.constantFrom(...HTTP_METHODS),
        url_path: fc.constantFrom("/", "/up?a=b&c=%20#'\"$;"),
        expected_codes: fc.constantFrom("200", "200,202", "200-204,301-599"),
        http_version: fc.constantFrom(...HTTP_VERSIONS),
        domain_name: fc.constantFrom("example.com", "a"),
      }),
    })
    .map(({ more, http, ...values }) => ({ ...values, ...more, ...(/^HTTP/.test(values.type) ? http : {}) }));
  const url = fc.constantFrom("https://example.com", "http://h/a?b=%[src]&c='\"#", "https://h/{};\\");
  const l7policy = fc
    .record({
      action: fc.constantFrom(...L7_ACTIONS),
      url,
      more: some({ admin_state_up: flag, position: fc.integer({ min: 1, max: 4 }) }),
      redirect_http_code: fc.option(fc.constantFrom(...REDIRECT_HTTP_CODES)),
    })
    .map(({ url, more, ...values }) => ({
      ...values,
      ...more,
      ...(values.action === "REDIRECT_TO_URL" ? { redirect_url: url } : {}),
      ...(values.action === "REDIRECT_PREFIX" ? { redirect_prefix: url } : {}),
    }));
  const rule = fc
    .record({
      type: fc.constantFrom(...L7_RULE_TYPES),
      compare_type: fc.constantFrom(...COMPARE_TYPES),
      key: fc.constantFrom("CN", "x-h", "a%b"),
      value: fc.constantFrom("True", "18", "^/a.*$", 'it\'s "é" #%[src]', "a(b"),
      more: some({ admin_state_up: flag, invert: flag }),
    })
    .map(({ key, more, ...values }) => ({
      ...values,
      ...more,
      ...(["HEADER", "COOKIE", "SSL_DN_FIELD"].includes(values.type) ? { key } : {}),
    }));
  return { listener, pool, member, healthmonitor, l7policy, rule };
}

/** What nobody may write once the part is there. */
const FIXED = ["protocol", "protocol_port", "address", "type"];

/** One of these VIPs, and what becomes of the load balancer. */
export function arbitraryHistory<Vips>(references: References, vips: readonly Vips[]) {
  const values = valuesOf(references);
  const step = (kind: PartKind) =>
    fc
      .record({
        which: fc.option(fc.nat({ max: 5 }), { freq: 2 }),
        of: fc.nat({ max: 5 }),
        other: fc.nat({ max: 5 }),
        values: values[kind],
        kept: fc.array(fc.nat({ max: 12 }), { minLength: 1, maxLength: 3 }),
      })
      .map(({ values, kept, which, ...rest }): Step => {
        const all: Readonly<Record<string, unknown>> = values;
        if (which === null) return { kind, which, values: all, ...rest };
        const names = Object.keys(all).filter((name) => kind === "rule" || !FIXED.includes(name));
        const chosen = kept.flatMap((i) => names[i % Math.max(1, names.length)] ?? []);
        return { kind, which, values: Object.fromEntries(chosen.map((name) => [name, all[name]])), ...rest };
      });
  const steps = fc.array(fc.oneof(...PARTS.map(step), step("listener"), step("pool"), step("member")), {
    minLength: 4,
    maxLength: 16,
  });
  return fc.record({ vips: fc.constantFrom(...vips), steps });
}
