/** Which amphorae a load balancer should have, against those that it has: decided here, as data. Pure. */
import type { Amphora } from "../model/amphora.ts";
import type { Topology } from "../model/flavor-profile.ts";
import type { Blueprint } from "../store/blueprint.ts";

/** An amphora's part in its load balancer. */
export interface Slot {
  readonly role: Amphora["role"];
  /** null: it is alone, and speaks no VRRP */
  readonly vrrp_priority: number | null;
  readonly vrrp_id: number | null;
}

export interface AmphoraePlan {
  /** those that stay, with the part that each is to have now */
  readonly keep: readonly { readonly row: Amphora; readonly slot: Slot }[];
  /** the parts of those to be made */
  readonly add: readonly Slot[];
  /** those that go, once the others serve */
  readonly retire: readonly Amphora[];
}

/** One group per load balancer: its amphorae speak only with each other. */
const VRRP_ID = 1;
const HIGHEST_PRIORITY = 100;
const PRIORITY_STEP = 10;

/**
 * @param rows every amphora of the load balancer
 * @param failover whether all are to be replaced
 */
export function planAmphorae(blueprint: Blueprint, rows: readonly Amphora[], failover: boolean): AmphoraePlan {
  const slots = slotsOf(blueprint.topology, blueprint.amphorae);
  const staying = failover ? [] : rows.filter((row) => !row.retiring);
  // an amphora keeps its part as long as there is such a part: a change of the master's would move the VIP
  const byPriority = new Map(slots.map((slot) => [slot.vrrp_priority, slot]));
  const keep: { row: Amphora; slot: Slot }[] = [];
  const homeless: Amphora[] = [];
  for (const row of staying) {
    const slot = byPriority.get(row.vrrp_priority);
    if (slot === undefined) homeless.push(row);
    else {
      keep.push({ row, slot });
      byPriority.delete(row.vrrp_priority);
    }
  }
  const free = slots.filter((slot) => byPriority.has(slot.vrrp_priority));
  for (const row of homeless.splice(0, free.length)) {
    const slot = free.shift();
    if (slot !== undefined) keep.push({ row, slot });
  }
  const kept = new Set(keep.map(({ row }) => row.id));
  return { keep, add: free, retire: rows.filter((row) => !kept.has(row.id)) };
}

function slotsOf(topology: Topology, amphorae: number): Slot[] {
  if (topology === "SINGLE") return [{ role: "STANDALONE", vrrp_priority: null, vrrp_id: null }];
  return Array.from({ length: amphorae }, (_, i) => ({
    role: i === 0 ? "MASTER" : "BACKUP",
    vrrp_priority: HIGHEST_PRIORITY - i * PRIORITY_STEP,
    vrrp_id: VRRP_ID,
  }));
}
