import { member } from "../../model/member.ts";
import { ApiError, invalidField } from "../errors.ts";
import { listenersOf } from "./pool.ts";
import type { PartRules } from "./rules.ts";
import { memberAddress, requirePool } from "./shared.ts";

export const memberRules: PartRules<typeof member> = {
  resource: member,

  async home(db, _given, { pool_id = "" }) {
    return (await requirePool(db, pool_id)).loadbalancer_id;
  },

  async create({ trx, network }, given, { pool_id = "" }) {
    const pool = await requirePool(trx, pool_id);
    if (pool.doomed) throw new ApiError(409, `Pool ${pool.id} is being deleted.`);
    const address = memberAddress("address", given.address ?? "");
    const monitorAddress = given.monitor_address ? memberAddress("monitor_address", given.monitor_address) : null;
    if (given.subnet_id && !(await network.hasSubnet(given.subnet_id))) {
      throw invalidField("subnet_id", given.subnet_id, `Subnet ${given.subnet_id} not found.`);
    }
    const other = await trx
      .selectFrom("members")
      .select("id")
      .where("pool_id", "=", pool.id)
      .where("address", "=", address)
      .where("protocol_port", "=", given.protocol_port ?? 0)
      .where("doomed", "=", false)
      .executeTakeFirst();
    if (other !== undefined) {
      throw new ApiError(
        409,
        `Another member on this pool is already using ip ${address} on protocol_port ${given.protocol_port} (member ${other.id}).`,
      );
    }
    return { pool_id: pool.id, address, monitor_address: monitorAddress };
  },

  async update(_context, _row, patch) {
    if (!patch.monitor_address) return patch;
    return { ...patch, monitor_address: memberAddress("monitor_address", patch.monitor_address) };
  },

  async remove() {},

  async concerned({ trx }, row) {
    return { pools: [row.pool_id], listeners: await listenersOf(trx, row.pool_id) };
  },

  async views() {
    return new Map();
  },
};
