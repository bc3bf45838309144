/** Every resource there is. The order is that of references: a row refers only to tables before its own. */
import { amphora } from "./amphora.ts";
import { healthMonitor } from "./health-monitor.ts";
import { listener } from "./listener.ts";
import { loadBalancer } from "./load-balancer.ts";
import { member } from "./member.ts";
import { pool } from "./pool.ts";
import type { Resource } from "./resource.ts";

export const RESOURCES: readonly Resource[] = [loadBalancer, pool, listener, member, healthMonitor, amphora];
/** What a load balancer consists of; amphorae are what serves it. */
export const PARTS = [listener, pool, member, healthMonitor] as const;
