import { isIpvs } from "../../../templates/fields.ts";
import { healthMonitor } from "../../model/health-monitor.ts";
import { type Member, member } from "../../model/member.ts";
import { pool } from "../../model/pool.ts";
import type { Change } from "../change.ts";
import { ApiError, invalidField } from "../errors.ts";
import { listenersOf } from "./pool.ts";
import type { PartRules } from "./rules.ts";
import { checkFamily, memberAddress, requireRow, requireStaying } from "./shared.ts";

export const memberRules: PartRules<typeof member> = {
  resource: member,

  async home(db, _given, { pool_id = "" }) {
    return (await requireRow(db, pool, pool_id)).loadbalancer_id;
  },

  async create(change, row) {
    const { protocol } = await requireStaying(change, pool, row.pool_id);
    const address = memberAddress("address", row.address);
    // IPVS does not translate between IPv4 and IPv6
    if (isIpvs(protocol)) checkFamily("address", address, change.loadBalancer);
    const monitorAddress = row.monitor_address ? memberAddress("monitor_address", row.monitor_address) : null;
    await checkSubnet(change, row.subnet_id);
    const place = { pool_id: row.pool_id, address, protocol_port: row.protocol_port };
    const [other] = await change.findAll(member, place);
    if (other !== undefined) throw duplicate(place, other.id);
    const [monitor] = await change.findAll(healthMonitor, { pool_id: row.pool_id });
    return {
      address,
      monitor_address: monitorAddress,
      operating_status: monitor === undefined ? "NO_MONITOR" : "OFFLINE",
    };
  },

  async update(_change, _row, patch) {
    if (!patch.monitor_address) return patch;
    return { ...patch, monitor_address: memberAddress("monitor_address", patch.monitor_address) };
  },

  async remove() {},

  async concerned(change, row) {
    return membersConcern(change, row.pool_id);
  },

  async views() {
    return new Map();
  },
};

/** @throws {ApiError} 400 */
export async function checkSubnet(change: Change, subnetId: string | null | undefined): Promise<void> {
  if (!subnetId || (await change.network.hasSubnet(subnetId))) return;
  throw invalidField("subnet_id", subnetId, `Subnet ${subnetId} not found.`);
}

/** What a change of a pool's members concerns. */
export async function membersConcern(change: Change, poolId: string) {
  return { pools: [poolId], listeners: await listenersOf(change, poolId) };
}

export function duplicate({ address, protocol_port }: Pick<Member, "address" | "protocol_port">, id: string): ApiError {
  const message = `Another member on this pool is already using ip ${address} on protocol_port ${protocol_port} (member ${id}).`;
  return new ApiError(409, message);
}
