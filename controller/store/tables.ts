/** The tables, as the program sees their rows; columns follow from the resources' declarations. */
import type { ColumnType } from "kysely";
import type { amphora } from "../model/amphora.ts";
import type { healthMonitor } from "../model/health-monitor.ts";
import type { listener } from "../model/listener.ts";
import type { loadBalancer } from "../model/load-balancer.ts";
import type { member } from "../model/member.ts";
import type { pool } from "../model/pool.ts";
import type { Resource, Row } from "../model/resource.ts";

/** JSON goes in as text, and comes out as the value. */
type TableOf<R extends Resource> = {
  [K in keyof Row<R>]: K extends keyof R["attributes"]
    ? R["attributes"][K]["column"] extends "json"
      ? ColumnType<Row<R>[K], string, string>
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

export interface Tables {
  load_balancers: TableOf<typeof loadBalancer>;
  pools: TableOf<typeof pool>;
  listeners: TableOf<typeof listener>;
  members: TableOf<typeof member>;
  health_monitors: TableOf<typeof healthMonitor>;
  amphorae: TableOf<typeof amphora>;
  ports: PortRow;
  listener_statistics: StatisticsRow;
  deployment: { key: string; value: string };
  migrations: { name: string };
}
