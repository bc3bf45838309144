/** What HAProxy shares with the other amphorae of its load balancer. */
import { ALIVE_PORT, TABLES_PORT } from "../ports.ts";
import type { AmphoraSpec } from "../spec.ts";
import { ownAddress } from "../vips.ts";
import { bracketed } from "./check.ts";

export interface GroupView {
  readonly id: string;
  readonly address: string;
  readonly alivePort: number;
  readonly tablesPort: number;
  /** who may ask whether HAProxy serves */
  readonly askers: string;
  readonly peers: readonly OtherView[];
  readonly replicasBackend: string;
  /** those that flows are spread over, without this one */
  readonly replicas: readonly OtherView[];
}

interface OtherView {
  readonly id: string;
  readonly address: string;
}

/** The backend whose servers are the other replicas: HAProxy checks them, nothing is sent to them. */
export const REPLICAS_BACKEND = "amphora-replicas";

/** Null: the amphora is alone. */
export function groupView(spec: AmphoraSpec): GroupView | null {
  const own = ownAddress(spec);
  if (spec.vrrp === null || own === null) return null;
  const others = (all: readonly { readonly amphora_id: string; readonly address: string }[]) =>
    all
      .filter(({ amphora_id }) => amphora_id !== spec.amphora_id)
      .map(({ amphora_id: id, address }) => ({ id, address: bracketed(address) }));
  return {
    id: spec.amphora_id,
    address: bracketed(own),
    alivePort: ALIVE_PORT,
    tablesPort: TABLES_PORT,
    askers: [own, ...spec.vrrp.peers.map(({ address }) => address)].join(" "),
    peers: others(spec.vrrp.peers),
    replicasBackend: REPLICAS_BACKEND,
    replicas: others(spec.replicas?.members ?? []),
  };
}
