/** What an amphora under check is to serve: a listener of each data plane, alone or with others that are not there. */
import { randomUUID } from "node:crypto";
import type { AmphoraSpecInput } from "../../templates/spec.ts";
import { type Protocol, TENANT, TENANT_MAC, VIP_PORTS } from "./guest.ts";

/** A pair's first, and one of several replicas: VRRP has nobody to wait for, and flows have nowhere else to go. */
export type Group = "pair" | "replicas";

export interface Members {
  readonly port: number;
  readonly udpPort: number;
}

export function specOf(amphoraId: string, revision: number, group: Group, members: Members): AmphoraSpecInput {
  const peer = randomUUID();
  const services = (["HTTP", "FORWARD_TCP", "UDP"] as const).map((protocol) => service(protocol, members));
  const replicas: AmphoraSpecInput["replicas"] = {
    forwarding: "TUNNEL",
    members: [
      { amphora_id: amphoraId, slot: 1, address: addressOf(TENANT.address), mac: TENANT_MAC },
      { amphora_id: peer, slot: 2, address: TENANT.peer, mac: "52:54:00:00:03:02" },
    ],
  };
  return {
    revision,
    amphora_id: amphoraId,
    loadbalancer_id: randomUUID(),
    role: "MASTER",
    vrrp: {
      id: 1,
      priority: 100,
      advert_interval_ms: 1000,
      peers: [{ amphora_id: peer, address: TENANT.peer }],
    },
    ...(group === "replicas" ? { replicas } : {}),
    vips: [TENANT.vip],
    interfaces: [{ name: "eth1", mac: TENANT_MAC, mtu: 1500, addresses: [TENANT.address], routes: [] }],
    listeners: services.map(({ listener }) => listener),
    pools: services.map(({ pool }) => pool),
  };
}

function service(protocol: Protocol, { port, udpPort }: Members) {
  const pool = randomUUID();
  const member = { id: randomUUID(), address: TENANT.host, protocol_port: protocol === "UDP" ? udpPort : port };
  return {
    listener: { id: randomUUID(), protocol, protocol_port: VIP_PORTS[protocol], default_pool_id: pool },
    pool: { id: pool, protocol, lb_algorithm: "ROUND_ROBIN" as const, members: [member] },
  };
}

function addressOf(prefix: string): string {
  return prefix.slice(0, prefix.indexOf("/"));
}
