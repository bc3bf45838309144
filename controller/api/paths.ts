/** Which resource stands under which path, below /v2.0/lbaas: for the router, and for the description of the API. */
import { l7policy } from "../model/l7policy.ts";
import { pool } from "../model/pool.ts";
import type { Resource } from "../model/resource.ts";
import type { CatalogueRules } from "./catalogue.ts";
import type { AnyRules } from "./nesting.ts";
import {
  availabilityZoneProfileRules,
  availabilityZoneRules,
  flavorProfileRules,
  flavorRules,
} from "./rules/catalogue.ts";
import { healthMonitorRules } from "./rules/health-monitor.ts";
import { l7policyRules } from "./rules/l7policy.ts";
import { l7ruleRules } from "./rules/l7rule.ts";
import { listenerRules } from "./rules/listener.ts";
import { memberRules } from "./rules/member.ts";
import { poolRules } from "./rules/pool.ts";

/** Parameters of a path that are columns of the resource, and what they name. */
export type Parents = Readonly<Record<string, Resource>>;

export interface PartPath {
  readonly rules: AnyRules;
  readonly path: string;
  readonly parents: Parents;
}

export const PART_PATHS: readonly PartPath[] = [
  { rules: listenerRules, path: "/listeners", parents: {} },
  { rules: poolRules, path: "/pools", parents: {} },
  { rules: memberRules, path: "/pools/:pool_id/members", parents: { pool_id: pool } },
  { rules: l7policyRules, path: "/l7policies", parents: {} },
  { rules: l7ruleRules, path: "/l7policies/:l7policy_id/rules", parents: { l7policy_id: l7policy } },
  { rules: healthMonitorRules, path: "/healthmonitors", parents: {} },
];

/** @param computeFlavors the sizes of amphorae that the deployment has */
export function cataloguePaths(computeFlavors: readonly string[]): readonly CatalogueRules[] {
  return [flavorProfileRules(computeFlavors), flavorRules, availabilityZoneProfileRules, availabilityZoneRules];
}

export const LOAD_BALANCERS = "/loadbalancers";
export const AMPHORAE = "/amphorae";
