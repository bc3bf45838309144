import { ruleFault } from "../../../templates/spec.ts";
import { l7policy } from "../../model/l7policy.ts";
import { type L7Rule, l7rule } from "../../model/l7rule.ts";
import { ApiError, invalidField } from "../errors.ts";
import type { PartRules } from "./rules.ts";
import { requireRow, requireStaying } from "./shared.ts";

/** As in Octavia. */
const MOST_RULES = 50;

export const l7ruleRules: PartRules<typeof l7rule> = {
  resource: l7rule,

  async home(db, _given, { l7policy_id = "" }) {
    return (await requireRow(db, l7policy, l7policy_id)).loadbalancer_id;
  },

  async precheck(values, { services, projectId, isGiven }) {
    const { type, compare_type, key = null, value } = values;
    if (type === undefined || compare_type !== "REGEX" || value === undefined) return;
    const rule = { type, compare_type, key, value };
    const isNew = (["type", "compare_type", "key", "value"] as const).some(isGiven);
    // what else is wrong is told later
    if (!isNew || ruleFault(rule) !== null) return;
    const fault = await services.regularExpressions?.fault(rule, await projectId());
    if (fault) throw invalidField("value", value, `${fault}.`);
  },

  async create(change, row) {
    await requireStaying(change, l7policy, row.l7policy_id);
    const others = await change.findAll(l7rule, { l7policy_id: row.l7policy_id });
    if (others.length >= MOST_RULES) {
      throw new ApiError(409, `Too many rules on L7 policy ${row.l7policy_id}: ${MOST_RULES} are the most.`);
    }
    check(row);
    return {};
  },

  async update(_change, row, patch) {
    check({ ...row, ...patch });
    return patch;
  },

  async remove() {},

  async concerned(change, row) {
    const policy = await change.find(l7policy, row.l7policy_id);
    return { l7policies: [row.l7policy_id], listeners: policy === undefined ? [] : [policy.listener_id] };
  },

  async views() {
    return new Map();
  },
};

/** @throws {ApiError} 400 */
function check(row: L7Rule): void {
  const fault = ruleFault(row);
  if (fault !== null) throw invalidField(fault.field, row[fault.field], `It ${fault.message}.`);
}
