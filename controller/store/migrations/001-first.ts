/** Load balancers and their parts, the amphorae, addresses of the local network, counters, and secrets. */
import type { CreateTableBuilder, Kysely } from "kysely";
import type { Dialect } from "../database.ts";
import type { AnyTables } from "../rows.ts";

type Builder = CreateTableBuilder<string, string>;

export async function first(db: Kysely<AnyTables>, dialect: Dialect): Promise<void> {
  const json = dialect === "postgresql" ? "jsonb" : "text";
  const table = (name: string) => db.schema.createTable(name);

  const part = (builder: Builder) =>
    builder
      .addColumn("id", "text", (column) => column.primaryKey())
      .addColumn("project_id", "text", (column) => column.notNull())
      .addColumn("admin_state_up", "boolean", (column) => column.notNull())
      .addColumn("tags", json, (column) => column.notNull())
      .addColumn("provisioning_status", "text", (column) => column.notNull())
      .addColumn("operating_status", "text", (column) => column.notNull())
      .addColumn("created_at", "text", (column) => column.notNull())
      .addColumn("updated_at", "text")
      .addColumn("doomed", "boolean", (column) => column.notNull());
  const described = (builder: Builder) => part(builder).addColumn("name", "text", (column) => column.notNull());
  const partOf = (builder: Builder) =>
    builder.addColumn("loadbalancer_id", "text", (column) => column.notNull().references("load_balancers.id"));

  const profile = (name: string, data: string) =>
    table(name)
      .addColumn("id", "text", (column) => column.primaryKey())
      .addColumn("name", "text", (column) => column.notNull())
      .addColumn("provider_name", "text", (column) => column.notNull())
      .addColumn(data, "text", (column) => column.notNull())
      .execute();
  await profile("flavor_profiles", "flavor_data");
  await profile("availability_zone_profiles", "availability_zone_data");

  await table("flavors")
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("name", "text", (column) => column.notNull().unique())
    .addColumn("description", "text", (column) => column.notNull())
    .addColumn("enabled", "boolean", (column) => column.notNull())
    .addColumn("flavor_profile_id", "text", (column) => column.notNull().references("flavor_profiles.id"))
    .execute();

  await table("availability_zones")
    .addColumn("name", "text", (column) => column.primaryKey())
    .addColumn("description", "text", (column) => column.notNull())
    .addColumn("enabled", "boolean", (column) => column.notNull())
    .addColumn("availability_zone_profile_id", "text", (column) =>
      column.notNull().references("availability_zone_profiles.id"),
    )
    .execute();

  await described(table("load_balancers"))
    .addColumn("description", "text", (column) => column.notNull())
    .addColumn("vip_address", "text", (column) => column.notNull())
    .addColumn("vip_port_id", "text", (column) => column.notNull())
    .addColumn("vip_subnet_id", "text", (column) => column.notNull())
    .addColumn("vip_network_id", "text", (column) => column.notNull())
    .addColumn("additional_vips", json, (column) => column.notNull())
    .addColumn("provider", "text", (column) => column.notNull())
    .addColumn("flavor_id", "text", (column) => column.references("flavors.id"))
    .addColumn("vip_qos_policy_id", "text")
    .addColumn("availability_zone", "text", (column) => column.references("availability_zones.name"))
    .addColumn("lvs_tcp_timeout", "integer", (column) => column.notNull())
    .addColumn("lvs_tcpfin_timeout", "integer", (column) => column.notNull())
    .addColumn("lvs_udp_timeout", "integer", (column) => column.notNull())
    .addColumn("status_reason", "text")
    .addColumn("revision", "integer", (column) => column.notNull())
    .addColumn("due_at", "bigint")
    .addColumn("lease_owner", "text")
    .addColumn("lease_until", "bigint")
    .addColumn("failing_since", "bigint")
    .addColumn("attempts", "integer", (column) => column.notNull())
    .addColumn("tls_state", json)
    .addColumn("failover", "boolean", (column) => column.notNull())
    .execute();

  await partOf(described(table("pools")))
    .addColumn("description", "text", (column) => column.notNull())
    .addColumn("protocol", "text", (column) => column.notNull())
    .addColumn("lb_algorithm", "text", (column) => column.notNull())
    .addColumn("session_persistence", json)
    .addColumn("tls_container_ref", "text")
    .addColumn("ca_tls_container_ref", "text")
    .addColumn("crl_container_ref", "text")
    .addColumn("tls_enabled", "boolean", (column) => column.notNull())
    .addColumn("tls_ciphers", "text")
    .addColumn("tls_versions", json)
    .addColumn("alpn_protocols", json)
    .execute();

  await partOf(described(table("listeners")))
    .addColumn("description", "text", (column) => column.notNull())
    .addColumn("protocol", "text", (column) => column.notNull())
    .addColumn("protocol_port", "integer", (column) => column.notNull())
    .addColumn("connection_limit", "integer", (column) => column.notNull())
    .addColumn("default_pool_id", "text", (column) => column.references("pools.id"))
    .addColumn("timeout_client_data", "integer", (column) => column.notNull())
    .addColumn("timeout_member_connect", "integer", (column) => column.notNull())
    .addColumn("timeout_member_data", "integer", (column) => column.notNull())
    .addColumn("timeout_tcp_inspect", "integer", (column) => column.notNull())
    .addColumn("default_tls_container_ref", "text")
    .addColumn("sni_container_refs", json, (column) => column.notNull())
    .addColumn("insert_headers", json, (column) => column.notNull())
    .addColumn("client_ca_tls_container_ref", "text")
    .addColumn("client_authentication", "text", (column) => column.notNull())
    .addColumn("client_crl_container_ref", "text")
    .addColumn("allowed_cidrs", json)
    .addColumn("tls_ciphers", "text")
    .addColumn("tls_versions", json)
    .addColumn("alpn_protocols", json)
    .addColumn("redirect_listener_id", "text")
    .addColumn("hsts_max_age", "integer")
    .addColumn("hsts_include_subdomains", "boolean", (column) => column.notNull())
    .addColumn("hsts_preload", "boolean", (column) => column.notNull())
    .execute();

  await partOf(described(table("l7policies")))
    .addColumn("description", "text", (column) => column.notNull())
    .addColumn("listener_id", "text", (column) => column.notNull().references("listeners.id"))
    .addColumn("action", "text", (column) => column.notNull())
    .addColumn("redirect_pool_id", "text", (column) => column.references("pools.id"))
    .addColumn("redirect_url", "text")
    .addColumn("redirect_prefix", "text")
    .addColumn("redirect_http_code", "integer")
    .addColumn("position", "integer", (column) => column.notNull())
    .execute();

  await partOf(part(table("l7rules")))
    .addColumn("l7policy_id", "text", (column) => column.notNull().references("l7policies.id"))
    .addColumn("type", "text", (column) => column.notNull())
    .addColumn("compare_type", "text", (column) => column.notNull())
    .addColumn("key", "text")
    .addColumn("value", "text", (column) => column.notNull())
    .addColumn("invert", "boolean", (column) => column.notNull())
    .execute();

  await partOf(described(table("members")))
    .addColumn("pool_id", "text", (column) => column.notNull().references("pools.id"))
    .addColumn("address", "text", (column) => column.notNull())
    .addColumn("protocol_port", "integer", (column) => column.notNull())
    .addColumn("weight", "integer", (column) => column.notNull())
    .addColumn("backup", "boolean", (column) => column.notNull())
    .addColumn("subnet_id", "text")
    .addColumn("monitor_address", "text")
    .addColumn("monitor_port", "integer")
    .execute();

  await partOf(described(table("health_monitors")))
    .addColumn("pool_id", "text", (column) => column.notNull().references("pools.id"))
    .addColumn("type", "text", (column) => column.notNull())
    .addColumn("delay", "integer", (column) => column.notNull())
    .addColumn("timeout", "integer", (column) => column.notNull())
    .addColumn("max_retries", "integer", (column) => column.notNull())
    .addColumn("max_retries_down", "integer", (column) => column.notNull())
    .addColumn("http_method", "text")
    .addColumn("url_path", "text")
    .addColumn("expected_codes", "text")
    .addColumn("http_version", "double precision")
    .addColumn("domain_name", "text")
    .execute();

  await table("amphorae")
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("loadbalancer_id", "text", (column) => column.notNull().references("load_balancers.id"))
    .addColumn("compute_id", "text")
    .addColumn("lb_network_ip", "text", (column) => column.unique())
    .addColumn("vrrp_ip", "text")
    .addColumn("ha_ip", "text")
    .addColumn("vrrp_port_id", "text")
    .addColumn("ha_port_id", "text")
    .addColumn("cert_expiration", "text")
    .addColumn("cert_busy", "boolean", (column) => column.notNull())
    .addColumn("role", "text", (column) => column.notNull())
    .addColumn("status", "text", (column) => column.notNull())
    .addColumn("vrrp_interface", "text")
    .addColumn("vrrp_id", "integer")
    .addColumn("vrrp_priority", "integer")
    .addColumn("cached_zone", "text")
    .addColumn("created_at", "text", (column) => column.notNull())
    .addColumn("updated_at", "text")
    .addColumn("image_id", "text")
    .addColumn("compute_flavor", "text")
    .addColumn("heartbeat_key", "text", (column) => column.notNull())
    .addColumn("revision", "integer", (column) => column.notNull())
    .addColumn("suspected_at", "bigint")
    .addColumn("reporting", "text")
    .addColumn("authorities", "text")
    .addColumn("cert_busy_since", "bigint")
    .addColumn("retiring", "boolean", (column) => column.notNull())
    .execute();

  // no reference to load balancers: a port outlives the row of its owner until the network has let go of it
  await table("ports")
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("subnet_id", "text", (column) => column.notNull())
    .addColumn("address", "text", (column) => column.notNull())
    .addColumn("mac", "text", (column) => column.notNull())
    .addColumn("kind", "text", (column) => column.notNull())
    .addColumn("owner_id", "text", (column) => column.notNull())
    .addUniqueConstraint("ports_one_owner_per_address", ["subnet_id", "address"])
    .execute();

  await table("listener_statistics")
    .addColumn("listener_id", "text", (column) => column.notNull())
    .addColumn("amphora_id", "text", (column) => column.notNull())
    .addColumn("active_connections", "bigint", (column) => column.notNull())
    .addColumn("total_connections", "bigint", (column) => column.notNull())
    .addColumn("bytes_in", "bigint", (column) => column.notNull())
    .addColumn("bytes_out", "bigint", (column) => column.notNull())
    .addColumn("request_errors", "bigint", (column) => column.notNull())
    .addPrimaryKeyConstraint("listener_statistics_key", ["listener_id", "amphora_id"])
    .execute();

  let quotas: Builder = table("quotas").addColumn("project_id", "text", (column) => column.primaryKey());
  for (const name of ["load_balancer", "listener", "member", "pool", "health_monitor", "l7policy", "l7rule"]) {
    quotas = quotas.addColumn(name, "integer");
  }
  await quotas.execute();

  const secret = (builder: Builder) =>
    builder
      .addColumn("id", "text", (column) => column.primaryKey())
      .addColumn("project_id", "text", (column) => column.notNull())
      .addColumn("creator_id", "text", (column) => column.notNull())
      .addColumn("name", "text")
      .addColumn("acl", "text")
      .addColumn("created_at", "text", (column) => column.notNull())
      .addColumn("updated_at", "text", (column) => column.notNull());

  await secret(table("secrets"))
    .addColumn("secret_type", "text", (column) => column.notNull())
    .addColumn("algorithm", "text")
    .addColumn("bit_length", "integer")
    .addColumn("mode", "text")
    .addColumn("expiration", "text")
    .addColumn("content_type", "text")
    .addColumn("payload", "text")
    .addColumn("version", "text")
    .execute();

  await secret(table("secret_containers"))
    .addColumn("type", "text", (column) => column.notNull())
    .execute();

  await table("container_secrets")
    .addColumn("container_id", "text", (column) => column.notNull().references("secret_containers.id"))
    .addColumn("secret_id", "text", (column) => column.notNull().references("secrets.id"))
    .addColumn("name", "text", (column) => column.notNull())
    .addPrimaryKeyConstraint("container_secrets_key", ["container_id", "secret_id", "name"])
    .execute();

  await table("secret_consumers")
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("kind", "text", (column) => column.notNull())
    .addColumn("used_id", "text", (column) => column.notNull())
    .addColumn("project_id", "text", (column) => column.notNull())
    .addColumn("service", "text", (column) => column.notNull())
    .addColumn("resource_type", "text", (column) => column.notNull())
    .addColumn("resource", "text", (column) => column.notNull())
    .addColumn("created_at", "text", (column) => column.notNull())
    .addUniqueConstraint("secret_consumers_once", ["kind", "used_id", "service", "resource_type", "resource"])
    .execute();

  await table("authorities")
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("certificate", "text", (column) => column.notNull())
    .addColumn("key", "text", (column) => column.notNull())
    .addColumn("state", "text", (column) => column.notNull().unique())
    .addColumn("since", "bigint", (column) => column.notNull())
    .execute();

  await table("controllers")
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("host", "text", (column) => column.notNull())
    .addColumn("version", "text", (column) => column.notNull())
    .addColumn("roles", "text", (column) => column.notNull())
    .addColumn("heartbeat_address", "text")
    .addColumn("heartbeat_port", "integer")
    .addColumn("state", "text", (column) => column.notNull())
    .addColumn("started_at", "bigint", (column) => column.notNull())
    .addColumn("seen_at", "bigint", (column) => column.notNull())
    .addColumn("amphorae", "integer", (column) => column.notNull())
    .addColumn("silent_amphorae", "integer", (column) => column.notNull())
    .execute();

  await table("deployment")
    .addColumn("key", "text", (column) => column.primaryKey())
    .addColumn("value", "text", (column) => column.notNull())
    .execute();

  const index = (on: string, column: string) =>
    db.schema.createIndex(`${on}_by_${column}`).on(on).column(column).execute();
  const parts = ["pools", "listeners", "l7policies", "l7rules", "members", "health_monitors"];
  for (const on of ["load_balancers", ...parts]) await index(on, "project_id");
  for (const on of [...parts, "amphorae"]) await index(on, "loadbalancer_id");
  for (const on of ["members", "health_monitors"]) await index(on, "pool_id");
  await index("load_balancers", "due_at");
  await index("listeners", "default_pool_id");
  await index("l7policies", "listener_id");
  await index("l7policies", "redirect_pool_id");
  await index("l7rules", "l7policy_id");
  await index("ports", "owner_id");
  for (const on of ["secrets", "secret_containers"]) await index(on, "project_id");
  await index("container_secrets", "secret_id");
}
