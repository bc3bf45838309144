import { isHttp } from "../../../templates/fields.ts";
import { type L7Policy, l7policy } from "../../model/l7policy.ts";
import { l7rule } from "../../model/l7rule.ts";
import { listener } from "../../model/listener.ts";
import type { Change } from "../change.ts";
import { ApiError, invalidField } from "../errors.ts";
import type { PartRules } from "./rules.ts";
import { checkTarget, relatedIds, requireRow, requireStaying } from "./shared.ts";

/** What each action needs; it has no other of these. */
const TARGETS = {
  REDIRECT_TO_POOL: "redirect_pool_id",
  REDIRECT_TO_URL: "redirect_url",
  REDIRECT_PREFIX: "redirect_prefix",
  REJECT: null,
} as const satisfies Record<L7Policy["action"], keyof L7Policy | null>;
const DEFAULT_CODE = 302;

export const l7policyRules: PartRules<typeof l7policy> = {
  resource: l7policy,

  async home(db, given) {
    return (await requireRow(db, listener, given.listener_id ?? "")).loadbalancer_id;
  },

  async create(change, row, given) {
    const { protocol } = await requireStaying(change, listener, row.listener_id);
    if (!isHttp(protocol)) {
      throw invalidField("listener_id", row.listener_id, `A ${protocol} listener can't have policies.`);
    }
    if (row.action !== "REJECT") checkOneTarget(given);
    const values = withTarget(row);
    await checkTarget(change, "redirect_pool_id", values.redirect_pool_id, protocol);
    return { ...values, position: await makeRoom(change, row.listener_id, row.position) };
  },

  async update(change, row, patch) {
    const { protocol } = await requireStaying(change, listener, row.listener_id);
    if (patch.action !== "REJECT") checkOneTarget(patch);
    const values = withTarget({ ...row, ...patch, action: patch.action ?? impliedAction(patch) ?? row.action });
    await checkTarget(change, "redirect_pool_id", values.redirect_pool_id, protocol);
    if (patch.position === undefined || patch.position === row.position) return values;
    await closeGap(change, row);
    return { ...values, position: await makeRoom(change, row.listener_id, patch.position, row.id) };
  },

  async remove(change, row) {
    const rules = await change.findAll(l7rule, { l7policy_id: row.id });
    if (rules.length > 0) {
      const count = rules.length === 1 ? "1 rule" : `${rules.length} rules`;
      throw new ApiError(409, `L7Policy ${row.id} has ${count}, which must be deleted first.`);
    }
    await closeGap(change, row);
  },

  async concerned(_change, row) {
    return { listeners: [row.listener_id] };
  },

  async views(db, rows) {
    const rules = await relatedIds(
      db,
      l7rule.table,
      "l7policy_id",
      rows.map((row) => row.id),
    );
    return new Map(rows.map((row) => [row.id, { rules: rules.get(row.id) ?? [] }]));
  },
};

/** @throws {ApiError} 400 when the client gave two targets at once */
function checkOneTarget(given: Readonly<Partial<L7Policy>>): void {
  const fields = [TARGETS.REDIRECT_TO_POOL, TARGETS.REDIRECT_TO_URL, TARGETS.REDIRECT_PREFIX];
  const named = fields.filter((field) => given[field]);
  if (named.length < 2) return;
  throw new ApiError(400, `Validation failure: Cannot specify ${named.join(" and ")} at the same time.`);
}

/** A client that changes only the target means the action that goes with it. */
function impliedAction(patch: Readonly<Partial<L7Policy>>): L7Policy["action"] | undefined {
  const actions = Object.entries(TARGETS) as [L7Policy["action"], (typeof TARGETS)[L7Policy["action"]]][];
  return actions.find(([, field]) => field !== null && patch[field])?.[0];
}

/** The policy with the target of its action, and no other. @throws {ApiError} 400 when that one is missing */
function withTarget(row: L7Policy): L7Policy {
  const target = TARGETS[row.action];
  if (target !== null && row[target] === null) {
    throw new ApiError(400, `Validation failure: ${target} must not be None for the action ${row.action}.`);
  }
  const redirects = target === "redirect_url" || target === "redirect_prefix";
  return {
    ...row,
    redirect_pool_id: target === "redirect_pool_id" ? row.redirect_pool_id : null,
    redirect_url: target === "redirect_url" ? row.redirect_url : null,
    redirect_prefix: target === "redirect_prefix" ? row.redirect_prefix : null,
    redirect_http_code: redirects ? (row.redirect_http_code ?? DEFAULT_CODE) : null,
  };
}

/**
 * Moves the policies from the wanted position on by one.
 * @returns the position that is free now: the wanted one, or the one after the last
 */
async function makeRoom(change: Change, listenerId: string, wanted: number, except = ""): Promise<number> {
  const others = (await change.findAll(l7policy, { listener_id: listenerId })).filter((each) => each.id !== except);
  const position = Math.min(wanted, others.length + 1);
  await move(change, others, position, 1);
  return position;
}

async function closeGap(change: Change, row: L7Policy): Promise<void> {
  const others = (await change.findAll(l7policy, { listener_id: row.listener_id })).filter(({ id }) => id !== row.id);
  await move(change, others, row.position + 1, -1);
}

async function move(change: Change, policies: readonly L7Policy[], from: number, by: number): Promise<void> {
  for (const { id, position } of policies) {
    if (position >= from) await change.update(l7policy, id, { position: position + by });
  }
}
