/** Specs for tests, built from parts that are right by themselves: a test says only what matters to it. */
import { type AmphoraSpec, type AmphoraSpecInput, parseSpec } from "../../templates/spec.ts";

export type ListenerInput = NonNullable<AmphoraSpecInput["listeners"]>[number];
export type PoolInput = NonNullable<AmphoraSpecInput["pools"]>[number];
export type MemberInput = NonNullable<PoolInput["members"]>[number];
export type MonitorInput = NonNullable<PoolInput["health_monitor"]>;

const KINDS = {
  amphora: 1,
  loadBalancer: 2,
  listener: 3,
  pool: 4,
  member: 5,
  monitor: 6,
  certificate: 7,
  policy: 8,
  rule: 9,
} as const;

/** The same UUID for the same kind and number, each time. */
export function idOf(kind: keyof typeof KINDS, number = 1): string {
  return `${String(KINDS[kind]).repeat(8)}-0000-4000-8000-${String(number).padStart(12, "0")}`;
}

/** Another amphora of the load balancer. */
export const PEER = { amphora_id: idOf("amphora", 2), address: "10.77.0.9" };

/** Listener `number` on port 80, 81, …, with pool 1 behind it. */
export function listener(number: number, changes: Partial<ListenerInput> = {}): ListenerInput {
  return {
    id: idOf("listener", number),
    protocol: "HTTP",
    protocol_port: 79 + number,
    default_pool_id: idOf("pool"),
    ...changes,
  };
}

export function pool(number: number, members: MemberInput[], changes: Partial<PoolInput> = {}): PoolInput {
  return { id: idOf("pool", number), protocol: "HTTP", lb_algorithm: "ROUND_ROBIN", members, ...changes };
}

/** Member `number` at 10.77.0.20 + number, port 8080. */
export function member(number: number, changes: Partial<MemberInput> = {}): MemberInput {
  return { id: idOf("member", number), address: `10.77.0.${20 + number}`, protocol_port: 8080, ...changes };
}

/** An HTTP monitor that looks at /health every second. */
export function monitor(changes: Partial<MonitorInput> = {}): MonitorInput {
  return {
    id: idOf("monitor"),
    type: "HTTP",
    delay: 1,
    timeout: 1,
    max_retries: 1,
    max_retries_down: 1,
    url_path: "/health",
    ...changes,
  };
}

/** One HTTP listener, one pool, two members; no interface. */
export function specInput(changes: Partial<AmphoraSpecInput> = {}): AmphoraSpecInput {
  return {
    revision: 1,
    amphora_id: idOf("amphora"),
    loadbalancer_id: idOf("loadBalancer"),
    role: "STANDALONE",
    vips: ["10.77.0.5"],
    listeners: [listener(1)],
    pools: [pool(1, [member(1), member(2)])],
    ...changes,
  };
}

export function spec(changes: Partial<AmphoraSpecInput> = {}): AmphoraSpec {
  return parseSpec(specInput(changes));
}
