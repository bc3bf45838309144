/**
 * The value types that the spec and the REST API share, each rule in one place.
 * Messages complete the sentence "<field> ...".
 */
import { isIP, isIPv4, isIPv6 } from "node:net";
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
export const checkRetries = z.int().min(1).max(10);

export const LISTENER_PROTOCOLS = ["HTTP", "TCP"] as const;
export const POOL_PROTOCOLS = ["HTTP", "TCP"] as const;
export const LB_ALGORITHMS = ["ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP"] as const;
export const HEALTH_MONITOR_TYPES = ["HTTP", "TCP"] as const;
export const HTTP_METHODS = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"] as const;
export const HTTP_VERSIONS = [1.0, 1.1] as const;

export type ListenerProtocol = (typeof LISTENER_PROTOCOLS)[number];
export type PoolProtocol = (typeof POOL_PROTOCOLS)[number];

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
