/** The providers that there are, and what flavors and zones may say to them. */
import type Router from "@koa/router";
import type { z } from "zod";
import { availabilityZoneData } from "../model/availability-zone-profile.ts";
import { PROVIDERS } from "../model/common.ts";
import { flavorData } from "../model/flavor-profile.ts";
import { ApiError } from "./errors.ts";
import { fields } from "./listing.ts";
import { authorize } from "./policy.ts";
import { caller, parameters } from "./requests.ts";

const DESCRIPTIONS: Readonly<Record<(typeof PROVIDERS)[number], string>> = {
  amphora: "Amphorae: small instances that run HAProxy, keepalived and IPVS.",
  octavia: "Another name for amphora.",
};

interface Described {
  readonly name: string;
  readonly description: string;
}

export function providerRoutes(router: Router): void {
  router.get("/providers", (context) => {
    authorize(caller(context), "read");
    const providers = PROVIDERS.map((name) => ({ name, description: DESCRIPTIONS[name] }));
    context.body = { providers: select(providers, fields(parameters(context))), providers_links: [] };
  });
  for (const [kind, schema] of [
    ["flavor_capabilities", flavorData],
    ["availability_zone_capabilities", availabilityZoneData],
  ] as const) {
    router.get(`/providers/:id/${kind}`, (context) => {
      authorize(caller(context), "administer");
      const name = String(context.params.id);
      if (!PROVIDERS.some((each) => each === name)) throw new ApiError(400, `Provider '${name}' is not enabled.`);
      const wanted = fields(parameters(context));
      context.body = { [kind]: select(capabilities(schema), wanted), [`${kind}_links`]: [] };
    });
  }
}

function capabilities(schema: z.ZodObject): Described[] {
  return Object.entries(schema.shape).map(([name, each]) => ({ name, description: descriptionOf(each) }));
}

function descriptionOf(schema: unknown): string {
  const { description } = schema as z.ZodType;
  return description ?? "";
}

function select(rows: readonly Described[], wanted: ReadonlySet<string> | null): Partial<Described>[] {
  if (wanted === null) return [...rows];
  return rows.map((row) => Object.fromEntries(Object.entries(row).filter(([name]) => wanted.has(name))));
}
