/** What the template of the keepalived that speaks VRRP shows: who holds the VIPs, and when it gives them up. */
import { createHash } from "node:crypto";
import { loadTemplate, loadText } from "./engine.ts";
import { activeListeners } from "./haproxy/names.ts";
import { ipvsServices } from "./ipvs.ts";
import type { Layout } from "./layout.ts";
import { ALIVE_PORT } from "./ports.ts";
import type { AmphoraSpec, InterfaceSpec } from "./spec.ts";
import { interfaceOf, ownAddress } from "./vips.ts";

interface VipView {
  readonly prefix: string;
  readonly interface: string;
  /** whether it may be taken away while the VIPs stay */
  readonly expendable: boolean;
}

interface VrrpView {
  readonly user: string;
  readonly runDir: string;
  readonly interface: string;
  readonly id: number;
  readonly priority: number;
  /** seconds, to the hundredth */
  readonly advert: string;
  readonly own: string;
  readonly peers: readonly string[];
  readonly vip: VipView;
  readonly others: readonly VipView[];
  /** where HAProxy says whether it serves; null: it need not serve */
  readonly alive: { readonly address: string; readonly port: number } | null;
  /** where IPVS tells its connections to the group; null: it has none that another could go on with */
  readonly sync: SyncView | null;
}

interface SyncView {
  readonly id: number;
  readonly group: string;
}

const template = loadTemplate<VrrpView>("keepalived", "vrrp.conf", ["vip"]);

/** The command that asks HAProxy whether it serves: the same on every instance. */
export const CHECK_SERVING = loadText("keepalived", "check-serving");
/** The command that writes down which part the instance plays now: the same on every instance. */
export const NOTE_STATE = loadText("keepalived", "note-state");

/** The text of vrrp.conf, or null: the amphora is alone. */
export function renderVrrp(spec: AmphoraSpec, layout: Layout): string | null {
  const own = ownAddress(spec);
  if (spec.vrrp === null || own === null) return null;
  const [vip, ...additional] = spec.vips.map((address) =>
    vipView(address, interfaceOf(address, spec.interfaces), false),
  );
  if (vip === undefined) return null;
  const shared = spec.interfaces.flatMap((each) =>
    each.shared_addresses.map((address) => vipView(address, each, true)),
  );
  return template({
    user: layout.keepalived.scriptUser,
    runDir: layout.runDir,
    interface: vip.interface,
    id: spec.vrrp.id,
    priority: spec.vrrp.priority,
    advert: (spec.vrrp.advert_interval_ms / 1000).toFixed(2),
    own,
    peers: spec.vrrp.peers.map(({ address }) => address),
    vip,
    others: [...additional, ...shared],
    alive: activeListeners(spec).length > 0 ? { address: own, port: ALIVE_PORT } : null,
    sync: syncView(spec),
  });
}

function vipView(address: string, at: InterfaceSpec | undefined, expendable: boolean): VipView {
  return { prefix: `${address}/${address.includes(":") ? 128 : 32}`, interface: at?.name ?? "", expendable };
}

/**
 * With replicas each has connections of its own, that the others could not go on with. The group's address is the load
 * balancer's own (RFC 2365, 6.2), so that those that share a network do not fill each other's tables.
 */
function syncView(spec: AmphoraSpec): SyncView | null {
  if (spec.replicas !== null || ipvsServices(spec).length === 0) return null;
  const hash = createHash("sha256").update(spec.loadbalancer_id).digest();
  const [id = 0, a = 0, b = 0, c = 0] = hash;
  return { id: 1 + (id % 255), group: `239.${192 + (a % 4)}.${b}.${c}` };
}
