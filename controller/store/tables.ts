/** The tables, as the program sees their rows; columns follow from the resources' declarations. */
import type { ColumnType } from "kysely";
import type { amphora } from "../model/amphora.ts";
import type { availabilityZone } from "../model/availability-zone.ts";
import type { availabilityZoneProfile } from "../model/availability-zone-profile.ts";
import type { flavor } from "../model/flavor.ts";
import type { flavorProfile } from "../model/flavor-profile.ts";
import type { healthMonitor } from "../model/health-monitor.ts";
import type { l7policy } from "../model/l7policy.ts";
import type { l7rule } from "../model/l7rule.ts";
import type { listener } from "../model/listener.ts";
import type { loadBalancer } from "../model/load-balancer.ts";
import type { member } from "../model/member.ts";
import type { pool } from "../model/pool.ts";
import type { QuotaName, Resource, Row } from "../model/resource.ts";

/** JSON goes in as text, and comes out as the value. */
type TableOf<R extends Resource> = {
  [K in keyof Row<R>]: K extends keyof R["attributes"]
    ? R["attributes"][K]["column"] extends "json"
      ? ColumnType<Row<R>[K], string | null, string | null>
      : Row<R>[K]
    : never;
};

/** An address that is taken on a subnet of the local network. */
export interface PortRow {
  id: string;
  subnet_id: string;
  address: string;
  mac: string;
  kind: "vip" | "amphora" | "demo";
  /** the load balancer, amphora or demo member that has it */
  owner_id: string;
}

export interface StatisticsRow {
  listener_id: string;
  amphora_id: string;
  active_connections: number;
  total_connections: number;
  bytes_in: number;
  bytes_out: number;
  request_errors: number;
}

/** A project's own limits; null: the deployment's default. */
export type QuotaTable = { project_id: string } & Record<QuotaName, number | null>;

export interface Tables {
  load_balancers: TableOf<typeof loadBalancer>;
  pools: TableOf<typeof pool>;
  listeners: TableOf<typeof listener>;
  l7policies: TableOf<typeof l7policy>;
  l7rules: TableOf<typeof l7rule>;
  members: TableOf<typeof member>;
  health_monitors: TableOf<typeof healthMonitor>;
  amphorae: TableOf<typeof amphora>;
  ports: PortRow;
  flavors: TableOf<typeof flavor>;
  flavor_profiles: TableOf<typeof flavorProfile>;
  availability_zones: TableOf<typeof availabilityZone>;
  availability_zone_profiles: TableOf<typeof availabilityZoneProfile>;
  listener_statistics: StatisticsRow;
  quotas: QuotaTable;
  deployment: { key: string; value: string };
  migrations: { name: string };
}
