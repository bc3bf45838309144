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
import type { AuthorityRow } from "./authorities.ts";
import type { ControllerRow } from "./controllers.ts";

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
  kind: "vip" | "shared" | "amphora" | "demo";
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

/** A secret of the key manager. */
export interface SecretRow {
  id: string;
  project_id: string;
  creator_id: string;
  name: string | null;
  secret_type: string;
  algorithm: string | null;
  bit_length: number | null;
  mode: string | null;
  /** UTC, as other times; from then on it is as if it were gone */
  expiration: string | null;
  /** null: there is no payload yet */
  content_type: string | null;
  /** encrypted */
  payload: string | null;
  /** another one for every payload */
  version: string | null;
  /** JSON; null: the default */
  acl: string | null;
  created_at: string;
  updated_at: string;
}

/** A container of the key manager: secrets that belong together. */
export interface ContainerRow {
  id: string;
  project_id: string;
  creator_id: string;
  name: string | null;
  type: string;
  acl: string | null;
  created_at: string;
  updated_at: string;
}

export interface ContainerSecretRow {
  container_id: string;
  secret_id: string;
  /** empty: it has none */
  name: string;
}

/** Who said that they use a secret or container; load balancers need not say so. */
export interface ConsumerRow {
  id: string;
  kind: "secret" | "container";
  /** the secret's, or the container's */
  used_id: string;
  project_id: string;
  service: string;
  /** of a secret's consumer, else empty */
  resource_type: string;
  /** of a secret's consumer; of a container's, its URL */
  resource: string;
  created_at: string;
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
  secrets: SecretRow;
  secret_containers: ContainerRow;
  container_secrets: ContainerSecretRow;
  secret_consumers: ConsumerRow;
  authorities: AuthorityRow;
  controllers: ControllerRow;
  deployment: { key: string; value: string };
  migrations: { name: string };
}
