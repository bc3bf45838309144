/** How a new spec reaches a HAProxy that runs an older one: decided here, as data, before anything is done. */
import { backendsOf, renderHaproxy } from "../templates/haproxy.ts";
import { INSTANCE_LAYOUT } from "../templates/layout.ts";
import type { AmphoraSpec, MemberSpec } from "../templates/spec.ts";

export type HaproxyPlan =
  | { readonly how: "none" }
  | { readonly how: "runtime"; readonly commands: readonly string[] }
  | { readonly how: "reload" };

/** What of a member a running worker takes over its socket: the value that stands for any, and the command. */
const RUNTIME_FIELDS = [
  { any: { weight: 1 }, command: (member: MemberSpec) => `weight ${member.weight}` },
  {
    any: { admin_state_up: true },
    command: (member: MemberSpec) => `state ${member.admin_state_up ? "ready" : "maint"}`,
  },
] as const;
const ANYTHING: Partial<MemberSpec> = Object.assign({}, ...RUNTIME_FIELDS.map((field) => field.any));

/**
 * @param running the spec that HAProxy serves now
 * @returns `runtime` when the two differ only in what a worker can change while it serves
 */
export function planHaproxy(running: AmphoraSpec, next: AmphoraSpec): HaproxyPlan {
  if (renderHaproxy(running, INSTANCE_LAYOUT) === renderHaproxy(next, INSTANCE_LAYOUT)) return { how: "none" };
  if (structure(running) !== structure(next)) return { how: "reload" };
  return { how: "runtime", commands: commands(running, next) };
}

/** The configuration with every runtime field at the same value: equal for specs that differ in nothing else. */
function structure(spec: AmphoraSpec): string {
  const pools = spec.pools.map((pool) => ({
    ...pool,
    members: pool.members.map((member) => ({ ...member, ...ANYTHING })),
  }));
  return renderHaproxy({ ...spec, pools }, INSTANCE_LAYOUT);
}

function commands(running: AmphoraSpec, next: AmphoraSpec): string[] {
  const before = new Map(running.pools.flatMap((pool) => pool.members.map((member) => [member.id, member])));
  return [...backendsOf(next)].flatMap(([backend, { pool }]) =>
    pool.members.flatMap((member) => {
      const old = before.get(member.id);
      return RUNTIME_FIELDS.map((field) => field.command)
        .filter((command) => old === undefined || command(old) !== command(member))
        .map((command) => `set server ${backend}/${member.id} ${command(member)}`);
    }),
  );
}
