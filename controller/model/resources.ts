/** Every resource there is. The order is that of references: a row refers only to tables before its own. */
import { amphora } from "./amphora.ts";
import { availabilityZone } from "./availability-zone.ts";
import { availabilityZoneProfile } from "./availability-zone-profile.ts";
import { flavor } from "./flavor.ts";
import { flavorProfile } from "./flavor-profile.ts";
import { healthMonitor } from "./health-monitor.ts";
import { l7policy } from "./l7policy.ts";
import { l7rule } from "./l7rule.ts";
import { listener } from "./listener.ts";
import { loadBalancer } from "./load-balancer.ts";
import { member } from "./member.ts";
import { pool } from "./pool.ts";
import type { Resource } from "./resource.ts";

/** What a load balancer consists of; amphorae are what serves it. */
export const PARTS = [pool, listener, l7policy, l7rule, member, healthMonitor] as const;
/** What belongs to the deployment. */
export const CATALOGUE = [flavorProfile, flavor, availabilityZoneProfile, availabilityZone] as const;
export const RESOURCES: readonly Resource[] = [...CATALOGUE, loadBalancer, ...PARTS, amphora];
