/** The rules of a spec that speaks of several amphorae: who is in the group, and where each can be reached. */
import { ownAddress } from "../vips.ts";
import type { AmphoraSpec } from "./document.ts";

/** @param report takes the path of what is wrong, and what is wrong with it */
export function checkGroup(spec: AmphoraSpec, report: (path: string, message: string) => void): void {
  const { role, vrrp, replicas, vips } = spec;
  if (role !== "STANDALONE" && vrrp === null) report("vrrp", `is missing: the role is ${role}`);
  if (role === "STANDALONE" && vrrp !== null) report("role", "must be MASTER or BACKUP: there is VRRP");
  if (vrrp === null || replicas !== null) checkUnshared(spec, report);
  if (vrrp === null) {
    if (replicas !== null) report("vrrp", "is missing: there are replicas");
    return;
  }
  const own = ownAddress(spec);
  if (own === null) report("interfaces", `none has an address of the family of ${vips[0]}, for VRRP`);
  checkOthers(vrrp.peers, "vrrp.peers", vips[0] ?? "", report);
  if (vrrp.peers.some((peer) => peer.amphora_id === spec.amphora_id)) {
    report("vrrp.peers", `must not hold this amphora, ${spec.amphora_id}`);
  }
  if (replicas === null) return;
  checkOthers(replicas.members, "replicas.members", vips[0] ?? "", report);
  unique(replicas.members, "slot", "replicas.members", report);
  const here = replicas.members.find((each) => each.amphora_id === spec.amphora_id);
  if (here === undefined) report("replicas.members", `must hold this amphora, ${spec.amphora_id}`);
  else if (own !== null && here.address !== own) {
    report("replicas.members", `this amphora is at ${own}, not at ${here.address}`);
  }
}

/** An address that goes with the VIPs is for pairs: alone it would be one more of one's own, replicas have connections of their own. */
function checkUnshared({ interfaces, replicas }: AmphoraSpec, report: (path: string, message: string) => void): void {
  interfaces.forEach(({ shared_addresses: some }, i) => {
    const why = replicas === null ? "there is no VRRP" : "there are replicas";
    if (some.length > 0) report(`interfaces[${i}].shared_addresses`, `must be empty: ${why}`);
  });
}

function checkOthers(
  others: readonly { readonly amphora_id: string; readonly address: string }[],
  path: string,
  vip: string,
  report: (path: string, message: string) => void,
): void {
  unique(others, "amphora_id", path, report);
  unique(others, "address", path, report);
  others.forEach(({ address }, i) => {
    if (address.includes(":") !== vip.includes(":")) report(`${path}[${i}].address`, `must be of the family of ${vip}`);
  });
}

function unique<K extends string>(
  items: readonly { readonly [key in K]: string | number }[],
  key: K,
  path: string,
  report: (path: string, message: string) => void,
): void {
  const seen = new Map<string | number, number>();
  items.forEach((item, i) => {
    const first = seen.get(item[key]);
    if (first === undefined) seen.set(item[key], i);
    else report(`${path}[${i}].${key}`, `${item[key]} is used by ${path}[${first}] already`);
  });
}
