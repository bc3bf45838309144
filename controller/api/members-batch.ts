/** `PUT …/pools/{id}/members`: all members of a pool at once. */
import { healthMonitor } from "../model/health-monitor.ts";
import { member } from "../model/member.ts";
import { pool } from "../model/pool.ts";
import { timestamp, updateRow } from "../store/rows.ts";
import { valuesForCreate, valuesForUpdate } from "./body.ts";
import type { Engine } from "./engine.ts";
import { ApiError } from "./errors.ts";
import type { Caller } from "./identity.ts";
import { addNode } from "./parts.ts";
import { duplicate, memberRules, membersConcern } from "./rules/member.ts";
import { memberAddress, requireStaying } from "./rules/shared.ts";

/**
 * Members are the same when address and port are: those that are there are changed as the body says, those that are
 * not are made, and unless `additive` the others are removed.
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
  const places = new Map<string, number>();
  wanted.forEach(({ place, given }, i) => {
    const first = places.get(place);
    if (first !== undefined)
      throw duplicate({ address: given.address ?? "", protocol_port: given.protocol_port ?? 0 }, `members[${first}]`);
    places.set(place, i);
  });
  const { loadbalancer_id } = await engine.requireRow(pool, caller, poolId, {}, "write");
  await engine.change(caller, loadbalancer_id, async (change) => {
    await requireStaying(change, pool, poolId);
    const present = await change.learn(member, { pool_id: poolId });
    await change.learn(healthMonitor, { pool_id: poolId });
    const byPlace = new Map(present.map((row) => [placeOf(row), row]));
    for (const { place, given, body } of wanted) {
      const row = byPlace.get(place);
      if (row === undefined) await addNode(change, memberRules, { given, children: [] }, { pool_id: poolId });
      else {
        const patch = await memberRules.update(change, row, patchOf(body));
        await updateRow(change.trx, member, row.id, { ...patch, ...pendingUpdate() });
      }
    }
    if (!additive) {
      const gone = present.filter((row) => !places.has(placeOf(row))).map((row) => row.id);
      if (gone.length > 0) {
        await change.trx
          .updateTable("members")
          .set({ doomed: true, provisioning_status: "PENDING_DELETE" })
          .where("id", "in", gone)
          .execute();
      }
    }
    change.concern(await membersConcern(change, poolId));
  });
}

type GivenMember = ReturnType<typeof valuesForCreate<typeof member>>;

interface Wanted {
  readonly body: Readonly<Record<string, unknown>>;
  readonly given: GivenMember;
  readonly place: string;
}

function parse(body: Readonly<Record<string, unknown>>, i: number): Wanted {
  try {
    const given = valuesForCreate(member, body);
    const address = memberAddress("address", given.address ?? "");
    return { body, given, place: placeOf({ address, protocol_port: given.protocol_port ?? 0 }) };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    throw new ApiError(error.status, `${error.message} (in members[${i}])`);
  }
}

function placeOf({ address, protocol_port }: { readonly address: string; readonly protocol_port: number }): string {
  return `${address} ${protocol_port}`;
}

/** What of a body may be changed of a member that is there; what can't be must be as it is. */
function patchOf(body: Readonly<Record<string, unknown>>) {
  const changeable = Object.entries(body).filter(
    ([field]) => member.attributes[field as keyof typeof member.attributes]?.write === "always",
  );
  return valuesForUpdate(member, Object.fromEntries(changeable));
}

function pendingUpdate() {
  return { provisioning_status: "PENDING_UPDATE", updated_at: timestamp() } as const;
}
