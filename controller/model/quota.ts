/** A project's quota: its body, and how its parts are spelled. */
import { z } from "zod";
import { integer } from "./attribute.ts";
import * as common from "./common.ts";
import { defineResource, QUOTA_NAMES, type QuotaName } from "./resource.ts";

/** What a list of quotas can be filtered and sorted by: the rest of a row is counted, and set one by one. */
export const quota = defineResource({
  name: "quota",
  plural: "quotas",
  title: "Quota",
  table: "quotas",
  key: "project_id",
  attributes: { project_id: common.project },
});

/** Some have two spellings: clients read either, and every answer carries both. */
export const OTHER_SPELLINGS: Readonly<Partial<Record<QuotaName, string>>> = {
  load_balancer: "loadbalancer",
  health_monitor: "healthmonitor",
};

export const quotaLimit = z.int().min(-1).max(2_147_483_647);

/** What a body may set: null goes back to the deployment's default. */
export const quotaAttributes = Object.fromEntries(
  QUOTA_NAMES.map((name) => [
    name,
    integer(quotaLimit, { doc: `How many ${name}s a project may have; -1: any number.` }),
  ]),
) as Record<QuotaName, ReturnType<typeof integer>>;

/** Both spellings of every part. */
export function spelled(values: Readonly<Record<QuotaName, number | null>>): Record<string, number | null> {
  return Object.fromEntries(
    QUOTA_NAMES.flatMap((name) =>
      [OTHER_SPELLINGS[name], name].flatMap((each) => (each ? [[each, values[name]]] : [])),
    ),
  );
}
