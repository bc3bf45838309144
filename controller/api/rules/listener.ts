import { INSERT_HEADERS, isHttp, isIpvs, TRANSPORTS } from "../../../templates/fields.ts";
import { l7policy } from "../../model/l7policy.ts";
import { type Listener, listener } from "../../model/listener.ts";
import { usesOfListener } from "../../model/tls-references.ts";
import type { Change } from "../change.ts";
import { ApiError, invalidField } from "../errors.ts";
import type { Precheck } from "../services.ts";
import type { Given, PartRules } from "./rules.ts";
import { checkFamily, checkTarget, relatedIds } from "./shared.ts";
import { checkCertificates, checkCiphers } from "./tls.ts";

/** What a TERMINATED_HTTPS listener has unless it was set (the reference, "tls_ciphers", "tls_versions", "alpn_protocols"). */
const TLS_DEFAULTS = {
  tls_ciphers: [
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_GCM_SHA256",
    "DHE-RSA-AES256-GCM-SHA384",
    "DHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES256-SHA256",
    "DHE-RSA-AES128-SHA256",
    "ECDHE-RSA-AES256-SHA384",
    "ECDHE-RSA-AES128-SHA256",
  ].join(":"),
  tls_versions: ["TLSv1.2", "TLSv1.3"],
  alpn_protocols: ["h2", "http/1.1", "http/1.0"],
} as const satisfies Record<string, string | readonly string[]>;

/** What only TERMINATED_HTTPS has, with the value that stands for nothing. */
const TLS_ONLY: Readonly<Partial<Listener>> = {
  default_tls_container_ref: null,
  client_ca_tls_container_ref: null,
  client_crl_container_ref: null,
  client_authentication: "NONE",
  tls_ciphers: null,
  tls_versions: null,
  alpn_protocols: null,
  hsts_max_age: null,
  hsts_include_subdomains: false,
  hsts_preload: false,
};

export const listenerRules: PartRules<typeof listener> = {
  resource: listener,

  async home(_db, given) {
    return given.loadbalancer_id ?? "";
  },

  async precheck(values, circumstances) {
    await checkForwarding(values, circumstances);
    // other protocols may refer to nothing, which is told later
    if (values.protocol !== "TERMINATED_HTTPS") return;
    await checkCertificates(usesOfListener(values, ""), circumstances);
  },

  async create(change, row) {
    const values = withDefaults(row);
    await checkPort(change, values);
    checkAlone(values);
    await checkReferences(change, values);
    return values;
  },

  async update(change, row, patch) {
    const values = withDefaults({ ...row, ...patch });
    checkAlone(values);
    await checkReferences(change, values);
    return values;
  },

  async remove(change, row) {
    const { trx } = change;
    const [other] = await change.findAll(listener, { redirect_listener_id: row.id });
    if (other !== undefined) {
      throw new ApiError(409, `Listener ${row.id} is what listener ${other.id} redirects to, and can't be deleted.`);
    }
    const doomed = { doomed: true, provisioning_status: "PENDING_DELETE" } as const;
    const policies = trx.selectFrom("l7policies").select("id").where("listener_id", "=", row.id);
    await trx.updateTable("l7rules").set(doomed).where("l7policy_id", "in", policies).execute();
    await trx.updateTable("l7policies").set(doomed).where("listener_id", "=", row.id).execute();
  },

  async concerned() {
    return {};
  },

  async views(db, rows) {
    const policies = await relatedIds(
      db,
      l7policy.table,
      "listener_id",
      rows.map((row) => row.id),
      "position",
    );
    return new Map(
      rows.map((row) => [
        row.id,
        { loadbalancers: [{ id: row.loadbalancer_id }], l7policies: policies.get(row.id) ?? [] },
      ]),
    );
  },
};

/** @throws {ApiError} 409 when an amphora of the load balancer can't forward in its kernel */
async function checkForwarding(
  { protocol, loadbalancer_id }: Given<typeof listener>,
  { services, projectId, isGiven }: Precheck,
): Promise<void> {
  if (protocol === undefined || !isIpvs(protocol) || !isGiven("protocol")) return;
  // one that is made with its load balancer has no amphora to ask yet
  if (services.amphorae === null || loadbalancer_id === undefined) return;
  await projectId();
  const lacking = await services.amphorae.abilities.lacking("ip_vs", loadbalancer_id);
  if (lacking.length === 0) return;
  throw new ApiError(
    409,
    `A ${protocol} listener can't be served by load balancer ${loadbalancer_id}: ip_vs is missing on amphora ${lacking.join(", ")}.`,
  );
}

function withDefaults(given: Listener): Listener {
  const values = given.allowed_cidrs?.length === 0 ? { ...given, allowed_cidrs: null } : given;
  if (values.protocol !== "TERMINATED_HTTPS") return values;
  return {
    ...values,
    tls_ciphers: values.tls_ciphers ?? TLS_DEFAULTS.tls_ciphers,
    tls_versions: values.tls_versions ?? [...TLS_DEFAULTS.tls_versions],
    alpn_protocols: values.alpn_protocols ?? [...TLS_DEFAULTS.alpn_protocols],
  };
}

/** The rules that a listener's own values tell. @throws {ApiError} 400 */
function checkAlone(values: Listener): void {
  const { protocol } = values;
  if (protocol === "TERMINATED_HTTPS") checkTls(values);
  else {
    const field = Object.keys(TLS_ONLY).find(
      (name) => values[name as keyof Listener] !== TLS_ONLY[name as keyof Listener],
    );
    const given = field ?? (values.sni_container_refs.length > 0 ? "sni_container_refs" : undefined);
    if (given !== undefined) {
      const value = values[given as keyof Listener];
      throw invalidField(given, value, `It is for TERMINATED_HTTPS listeners only, not for ${protocol}.`);
    }
  }
  for (const name of Object.keys(values.insert_headers) as (keyof typeof INSERT_HEADERS)[]) {
    if (isHttp(protocol) && (protocol === "TERMINATED_HTTPS" || !INSERT_HEADERS[name].tls)) continue;
    throw invalidField("insert_headers", name, `A ${protocol} listener can't insert it.`);
  }
}

function checkTls(values: Listener): void {
  if (values.default_tls_container_ref === null && values.sni_container_refs.length === 0) {
    throw new ApiError(
      400,
      "Validation failure: An SNI or default certificate container reference must be provided for TERMINATED_HTTPS protocol listeners (default_tls_container_ref, sni_container_refs).",
    );
  }
  checkCiphers(values);
  if (values.client_ca_tls_container_ref !== null) return;
  const { client_authentication: mode, client_crl_container_ref: crl } = values;
  if (mode !== "NONE") throw invalidField("client_authentication", mode, "It requires client_ca_tls_container_ref.");
  if (crl !== null) throw invalidField("client_crl_container_ref", crl, "It requires client_ca_tls_container_ref.");
}

/** The rules that other objects tell. @throws {ApiError} 400 */
async function checkReferences(change: Change, values: Listener): Promise<void> {
  const { protocol, default_pool_id, redirect_listener_id: redirect, allowed_cidrs } = values;
  await checkTarget(change, "default_pool_id", default_pool_id, protocol);
  for (const cidr of allowed_cidrs ?? []) checkFamily("allowed_cidrs", cidr, change.loadBalancer);
  if (redirect === null) return;
  if (protocol !== "HTTP") throw invalidField("redirect_listener_id", redirect, "Only HTTP listeners redirect.");
  const target = await change.find(listener, redirect);
  if (target === undefined || target.doomed || target.protocol !== "TERMINATED_HTTPS") {
    const reason = "It must be a TERMINATED_HTTPS listener of the same load balancer.";
    throw invalidField("redirect_listener_id", redirect, reason);
  }
}

/** @throws {ApiError} 409 when another listener has the port of the same transport protocol */
async function checkPort(change: Change, { protocol, protocol_port }: Listener): Promise<void> {
  const others = await change.findAll(listener, { protocol_port });
  const other = others.find((each) => TRANSPORTS[each.protocol] === TRANSPORTS[protocol]);
  if (other === undefined) return;
  throw new ApiError(
    409,
    `Another Listener on this Load Balancer is already using protocol_port ${protocol_port} (listener ${other.id}).`,
  );
}
