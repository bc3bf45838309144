/**
 * The value types that the spec and the REST API share, each rule in one place.
 * Messages complete the sentence "<field> ...".
 */
import { isIP, isIPv4, isIPv6 } from "node:net";
import { createSecureContext } from "node:tls";
import { z } from "zod";

/** HAProxy keeps every time in a signed 32 bit count of milliseconds (configuration manual, 2.5 "Time format"). */
export const MAX_TIME_MS = 2_147_483_647;

export const uuid = z
  .string()
  .regex(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/, "must be a UUID in lower case");

export const ipAddress = z
  .string()
  .refine((text) => isIP(text) !== 0 && !text.includes("%"), "must be an IPv4 or IPv6 address without a zone");

/** A prefix such as 192.0.2.0/24; host bits may be set (192.0.2.7/24 is an interface's address). */
export const prefix = z.string().refine((text) => {
  const [address = "", length = "", ...rest] = text.split("/");
  if (rest.length > 0 || address.includes("%") || !/^(0|[1-9]\d{0,2})$/.test(length)) return false;
  return (isIPv4(address) && Number(length) <= 32) || (isIPv6(address) && Number(length) <= 128);
}, "must be an address with a prefix length, such as 192.0.2.0/24 or 2001:db8::/64");

export const macAddress = z
  .string()
  .regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/, "must be a MAC address in lower case, such as fa:16:3e:00:00:01");

export const port = z.int().min(1).max(65_535);
export const weight = z.int().min(0).max(256);
export const milliseconds = z.int().min(0).max(MAX_TIME_MS);
/** -1 means no limit, and so does 0, as in HAProxy. */
export const connectionLimit = z.int().min(-1).max(MAX_TIME_MS);
export const checkSeconds = z
  .int()
  .min(1)
  .max(Math.floor(MAX_TIME_MS / 1000));
/** What keepalived and ipvsadm(8) take for IPVS's time-outs: 31 days at most. */
export const idleSeconds = z
  .int()
  .min(1)
  .max(31 * 86_400);
export const checkRetries = z.int().min(1).max(10);

export const LISTENER_PROTOCOLS = [
  "HTTP",
  "HTTPS",
  "TCP",
  "TERMINATED_HTTPS",
  "FORWARD_TCP",
  "UDP",
  "SCTP",
  "PROMETHEUS",
] as const;
export const POOL_PROTOCOLS = ["HTTP", "HTTPS", "TCP", "PROXY", "PROXYV2", "FORWARD_TCP", "UDP", "SCTP"] as const;
export const LB_ALGORITHMS = ["ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP", "SOURCE_IP_PORT"] as const;
export const SESSION_PERSISTENCE_TYPES = ["SOURCE_IP", "HTTP_COOKIE", "APP_COOKIE"] as const;
export const HEALTH_MONITOR_TYPES = ["HTTP", "HTTPS", "TCP", "TLS-HELLO", "PING", "UDP-CONNECT", "SCTP"] as const;
export const HTTP_METHODS = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"] as const;
export const HTTP_VERSIONS = [1.0, 1.1] as const;
export const L7_ACTIONS = ["REDIRECT_TO_POOL", "REDIRECT_TO_URL", "REDIRECT_PREFIX", "REJECT"] as const;
export const REDIRECT_HTTP_CODES = [301, 302, 303, 307, 308] as const;
export const L7_RULE_TYPES = [
  "HOST_NAME",
  "PATH",
  "FILE_TYPE",
  "HEADER",
  "COOKIE",
  "SSL_CONN_HAS_CERT",
  "SSL_VERIFY_RESULT",
  "SSL_DN_FIELD",
] as const;
export const COMPARE_TYPES = ["EQUAL_TO", "STARTS_WITH", "ENDS_WITH", "CONTAINS", "REGEX"] as const;
export const CLIENT_AUTHENTICATIONS = ["NONE", "OPTIONAL", "MANDATORY"] as const;
/** From the oldest to the newest. Debian's OpenSSL has no SSLv3: it is accepted beside others, and never spoken. */
export const TLS_VERSIONS = ["SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"] as const;
export type TlsVersion = (typeof TLS_VERSIONS)[number];
export const ALPN_PROTOCOLS = ["h2", "http/1.1", "http/1.0"] as const;
/** What a listener may add to requests, and whether only one that terminates TLS knows it. */
export const INSERT_HEADERS = {
  "X-Forwarded-For": { tls: false },
  "X-Forwarded-Port": { tls: false },
  "X-Forwarded-Proto": { tls: false },
  "X-SSL-Client-Verify": { tls: true },
  "X-SSL-Client-Has-Cert": { tls: true },
  "X-SSL-Client-DN": { tls: true },
  "X-SSL-Client-CN": { tls: true },
  "X-SSL-Issuer": { tls: true },
  "X-SSL-Client-SHA1": { tls: true },
  "X-SSL-Client-Not-Before": { tls: true },
  "X-SSL-Client-Not-After": { tls: true },
} as const;

export type ListenerProtocol = (typeof LISTENER_PROTOCOLS)[number];
export type PoolProtocol = (typeof POOL_PROTOCOLS)[number];
export type LbAlgorithm = (typeof LB_ALGORITHMS)[number];
export type HealthMonitorType = (typeof HEALTH_MONITOR_TYPES)[number];
export type SessionPersistenceType = (typeof SESSION_PERSISTENCE_TYPES)[number];

/** Which pools a listener's connections can go to (Octavia's table, and FORWARD_TCP). */
export const POOLS_OF_LISTENERS: Readonly<Record<ListenerProtocol, readonly PoolProtocol[]>> = {
  HTTP: ["HTTP", "PROXY", "PROXYV2"],
  HTTPS: ["HTTPS", "PROXY", "PROXYV2", "TCP"],
  TCP: ["HTTP", "HTTPS", "PROXY", "PROXYV2", "TCP"],
  TERMINATED_HTTPS: ["HTTP", "PROXY", "PROXYV2"],
  FORWARD_TCP: ["FORWARD_TCP"],
  UDP: ["UDP"],
  SCTP: ["SCTP"],
  PROMETHEUS: [],
};

/** Which checks a pool's members can be put to: what is sent must be what the members speak. */
export const MONITORS_OF_POOLS: Readonly<Record<PoolProtocol, readonly HealthMonitorType[]>> = {
  HTTP: ["HTTP", "HTTPS", "TCP", "TLS-HELLO", "PING"],
  HTTPS: ["HTTP", "HTTPS", "TCP", "TLS-HELLO", "PING"],
  TCP: ["HTTP", "HTTPS", "TCP", "TLS-HELLO", "PING"],
  PROXY: ["HTTP", "HTTPS", "TCP", "TLS-HELLO", "PING"],
  PROXYV2: ["HTTP", "HTTPS", "TCP", "TLS-HELLO", "PING"],
  FORWARD_TCP: ["HTTP", "HTTPS", "TCP", "PING"],
  UDP: ["UDP-CONNECT", "HTTP", "TCP", "PING"],
  SCTP: ["SCTP", "HTTP", "TCP", "PING"],
};

/** The transport protocol whose port a listener takes: a TCP and a UDP listener may share a number. */
export const TRANSPORTS = {
  HTTP: "TCP",
  HTTPS: "TCP",
  TCP: "TCP",
  TERMINATED_HTTPS: "TCP",
  FORWARD_TCP: "TCP",
  UDP: "UDP",
  SCTP: "SCTP",
  PROMETHEUS: "TCP",
} as const satisfies Record<ListenerProtocol, string>;
export type Transport = (typeof TRANSPORTS)[ListenerProtocol];

/** Listeners and pools that the kernel serves (IPVS), not HAProxy. */
export const IPVS_PROTOCOLS = ["FORWARD_TCP", "UDP", "SCTP"] as const satisfies readonly (ListenerProtocol &
  PoolProtocol)[];
export type IpvsProtocol = (typeof IPVS_PROTOCOLS)[number];

export function isIpvs(protocol: ListenerProtocol | PoolProtocol): protocol is IpvsProtocol {
  return IPVS_PROTOCOLS.some((each) => each === protocol);
}

/** Whether requests are understood, so that policies, headers and cookies mean something. */
export function isHttp(protocol: ListenerProtocol): boolean {
  return protocol === "HTTP" || protocol === "TERMINATED_HTTPS";
}

/** An origin-form request target (RFC 9112, 3.2.1): printable ASCII without spaces. */
export const urlPath = z
  .string()
  .max(255)
  .regex(/^\/[!-~]*$/, "must start with / and hold printable ASCII characters without spaces");

/** RFC 1123 host name. */
export const domainName = z
  .string()
  .max(255)
  .regex(
    /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*$/,
    "must be a host name of letters, digits, hyphens and dots",
  );

/** One status code, a range, or a comma separated list of both: 200, 200-204, 200,301-303. */
export const expectedCodes = z
  .string()
  .max(64)
  .regex(
    /^[1-5]\d\d(-[1-5]\d\d)?(,[1-5]\d\d(-[1-5]\d\d)?)*$/,
    "must be status codes such as 200, 200,202 or 200-204, from 100 to 599",
  )
  .refine(
    (text) => text.split(",").every((part) => Number(part.slice(0, 3)) <= Number(part.slice(-3))),
    "must give each range from its lower to its higher code",
  );

/** What an HTTP header or cookie may be called: a token (RFC 9110, 5.6.2). */
export const token = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, "must be a token: letters, digits and any of !#$%&'*+-.^_`|~");

/** Text that may stand in a request, and is compared with it: no control characters. */
export const matchText = z
  .string()
  .min(1)
  .max(255)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones to refuse
  .refine((text) => text.isWellFormed() && !/[\u0000-\u001f\u007f]/.test(text), "holds control characters");

/** Where a client is sent: an absolute URL of printable ASCII (RFC 3986, 2). */
export const redirectUrl = z
  .string()
  .max(255)
  .regex(
    /^https?:\/\/[!-~]+$/i,
    "must be a URL that begins with http:// or https://, of printable ASCII without spaces",
  )
  .refine((text) => URL.canParse(text), "must be a URL that can be parsed");

/** What takes away or sorts means nothing by itself. */
const MARKED = /^[!+@-]/;
/** The suites of TLSv1.3 (RFC 8446, appendix B.4): every OpenSSL of Debian's has these, and no others. */
const SUITES: readonly string[] = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "TLS_AES_128_CCM_SHA256",
  "TLS_AES_128_CCM_8_SHA256",
];

/** OpenSSL's cipher string (ciphers(1)): names joined by colons; the signs that add, remove and move are allowed. */
export const cipherList = z
  .string()
  .min(1)
  .max(2048)
  .regex(/^[A-Za-z0-9_.+!@=-]+(:[A-Za-z0-9_.+!@=-]+)*$/, "must be OpenSSL cipher names joined by colons")
  .refine(isKnownToOpenssl, "names a cipher that OpenSSL does not know")
  .refine((list) => list.split(":").some((name) => !MARKED.test(name)), "must name a cipher that may be used")
  .refine(leavesCiphers, "leaves no cipher, or holds what OpenSSL can't read");

/** What OpenSSL takes, of names alone and of whole lists. */
const known = new Map<string, boolean>();

/** OpenSSL passes over a name that it does not know; here each must mean something by itself. */
function isKnownToOpenssl(list: string): boolean {
  return list.split(":").every((name) => {
    if (MARKED.test(name)) return name.length > 1;
    return name.startsWith("TLS_") ? SUITES.includes(name) : isTaken(name);
  });
}

/** Names that mean something can take each other away, and what begins with @ is read by nothing but the whole list. */
function leavesCiphers(list: string): boolean {
  const { ciphers } = splitCiphers(list);
  return ciphers.length === 0 || isTaken(ciphers.join(":"));
}

function isTaken(ciphers: string): boolean {
  const found = known.get(ciphers) ?? tryCiphers(ciphers);
  if (known.size < 1000) known.set(ciphers, found);
  return found;
}

function tryCiphers(ciphers: string): boolean {
  try {
    createSecureContext({ ciphers });
    return true;
  } catch {
    return false;
  }
}

/** Which of the names in one list are suites of TLSv1.3, and which are ciphers of the versions before. */
export function splitCiphers(list: string): {
  readonly suites: readonly string[];
  readonly ciphers: readonly string[];
} {
  const names = list.split(":");
  const isSuite = (name: string) => name.startsWith("TLS_");
  return { suites: names.filter(isSuite), ciphers: names.filter((name) => !isSuite(name)) };
}

/** How much of a client's address counts for persistence: an IPv4 netmask, or an IPv6 prefix length (1-128). */
export const persistenceGranularity = z
  .string()
  .refine(
    (text) => isNetmask(text) || (/^[1-9]\d{0,2}$/.test(text) && Number(text) <= 128),
    "must be an IPv4 netmask such as 255.255.255.0, or an IPv6 prefix length from 1 to 128",
  );

function isNetmask(text: string): boolean {
  if (!isIPv4(text)) return false;
  const bits = text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0) >>> 0;
  return bits !== 0 && ((~bits + 1) & ~bits) >>> 0 === 0;
}

/** A range of versions: HAProxy can leave out none in the middle. */
export const tlsVersions = z
  .array(z.enum(TLS_VERSIONS))
  .min(1)
  .refine((given) => new Set(given).size === given.length, "holds a value twice")
  .refine(
    (given) => given.some((version) => version !== "SSLv3"),
    "must hold more than SSLv3, which no TLS library has",
  )
  .refine((given) => {
    const places = given.map((version) => TLS_VERSIONS.indexOf(version));
    return Math.max(...places) - Math.min(...places) < new Set(places).size;
  }, "must leave out no version between the oldest and the newest");
