/** `PUT …/pools/{id}/members`: all members of a pool at once. */
import { isDeepStrictEqual } from "node:util";
import { healthMonitor } from "../model/health-monitor.ts";
import { type Member, member } from "../model/member.ts";
import { pool } from "../model/pool.ts";
import { timestamp, updateRows } from "../store/rows.ts";
import { valuesForCreate } from "./body.ts";
import type { Change } from "./change.ts";
import type { Engine } from "./engine.ts";
import { placed } from "./errors.ts";
import type { Caller } from "./identity.ts";
import { addNode, checkProject } from "./parts.ts";
import { checkSubnet, duplicate, memberRules, membersConcern } from "./rules/member.ts";
import { memberAddress, requireStaying } from "./rules/shared.ts";

/** What a member that is there keeps when the body does not say otherwise; everything else goes back to its default. */
const KEPT = ["name", "tags", "subnet_id"] as const satisfies readonly (keyof Member)[];
const REPLACED = [
  "admin_state_up",
  "weight",
  "backup",
  "monitor_address",
  "monitor_port",
] as const satisfies readonly (keyof Member)[];

/**
 * Members are the same when address and port are: those that are there become what the body says, those that are not
 * are made, and unless `additive` the others are removed.
 * @throws {ApiError} 400, 409 for two members at one address and port
 */
export async function replaceMembers(
  engine: Engine,
  caller: Caller,
  poolId: string,
  bodies: readonly Record<string, unknown>[],
  additive: boolean,
): Promise<void> {
  const wanted = bodies.map(parse);
  const keys = new Map<string, number>();
  wanted.forEach(({ key, given, place }, i) => {
    const first = keys.get(key);
    keys.set(key, i);
    if (first === undefined) return;
    const same = { address: given.address ?? "", protocol_port: given.protocol_port ?? 0 };
    throw placed(duplicate(same, `members[${first}]`), place);
  });
  const { loadbalancer_id } = await engine.requireRow(pool, caller, poolId, {}, "write");
  await engine.change(caller, loadbalancer_id, async (change) => {
    await change.learn(pool, { id: poolId });
    await requireStaying(change, pool, poolId);
    const present = await change.learn(member, { pool_id: poolId });
    await change.learn(healthMonitor, { pool_id: poolId });
    const byKey = new Map(present.map((row) => [keyOf(row), row]));
    const changed: { id: string; patch: Partial<Member> }[] = [];
    for (const each of wanted) {
      const row = byKey.get(each.key);
      if (row === undefined) await addNode(change, memberRules, { ...each, children: [] }, { pool_id: poolId });
      else changed.push({ id: row.id, patch: await patchOf(change, row, each) });
    }
    await write(change, changed);
    if (!additive) {
      const gone = present.filter((row) => !keys.has(keyOf(row))).map((row) => row.id);
      await updateRows(change.trx, member, gone, { doomed: true, provisioning_status: "PENDING_DELETE" });
    }
    change.concern(await membersConcern(change, poolId));
  });
}

type GivenMember = ReturnType<typeof valuesForCreate<typeof member>>;

interface Wanted {
  readonly body: Readonly<Record<string, unknown>>;
  readonly given: GivenMember;
  readonly place: string;
  readonly key: string;
}

function parse(body: Readonly<Record<string, unknown>>, i: number): Wanted {
  const place = `members[${i}]`;
  try {
    const given = valuesForCreate(member, body);
    const address = memberAddress("address", given.address ?? "");
    return { body, given, place, key: keyOf({ address, protocol_port: given.protocol_port ?? 0 }) };
  } catch (error) {
    throw placed(error, place);
  }
}

function keyOf({ address, protocol_port }: Pick<Member, "address" | "protocol_port">): string {
  return `${address} ${protocol_port}`;
}

/** What is to be different of a member that is there. @throws {ApiError} 400 */
async function patchOf(change: Change, row: Member, { body, given, place }: Wanted): Promise<Partial<Member>> {
  try {
    checkProject(given, change.loadBalancer.project_id);
    const names = [...REPLACED, ...KEPT.filter((name) => body[name] !== undefined)];
    const patch: Partial<Member> = Object.fromEntries(names.map((name) => [name, given[name]]));
    if (patch.subnet_id !== row.subnet_id) await checkSubnet(change, patch.subnet_id);
    const values = await memberRules.update(change, row, patch);
    return Object.fromEntries(
      names.flatMap((name) => (isDeepStrictEqual(values[name], row[name]) ? [] : [[name, values[name]]])),
    );
  } catch (error) {
    throw placed(error, place);
  }
}

/** One statement for all that are changed in the same way; those that stay as they are are left alone. */
async function write(change: Change, changed: readonly { id: string; patch: Partial<Member> }[]): Promise<void> {
  for (const same of Map.groupBy(changed, ({ patch }) => JSON.stringify(patch)).values()) {
    const [first] = same;
    if (first === undefined || Object.keys(first.patch).length === 0) continue;
    const patch = { ...first.patch, provisioning_status: "PENDING_UPDATE", updated_at: timestamp() } as const;
    await updateRows(
      change.trx,
      member,
      same.map(({ id }) => id),
      patch,
    );
  }
}
