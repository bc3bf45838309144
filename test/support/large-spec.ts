/** Specs of any size, of the shape that the peer's rendering was measured with. */
import type { AmphoraSpecInput } from "../../templates/spec.ts";

const KINDS = { amphora: 1, loadBalancer: 2, listener: 3, pool: 4, monitor: 5, member: 6, policy: 7, rule: 8 } as const;

function id(kind: keyof typeof KINDS, i: number, j = 0): string {
  return `${String(KINDS[kind]).padStart(8, "0")}-0000-4000-8000-${String(i * 1000 + j).padStart(12, "0")}`;
}

/**
 * HTTP listeners with two policies each (to a pool, and to a URL), pools with cookies and an HTTP monitor.
 * @param members of each pool
 */
export function largeSpec(
  listeners: number,
  pools: number,
  members: number,
  changes: Partial<AmphoraSpecInput> = {},
): AmphoraSpecInput {
  const range = (count: number) => Array.from({ length: count }, (_, i) => i);
  const poolsOf = (i: number) => [i % pools, (i + listeners) % pools] as const;
  const rules = (i: number, j: number) => [
    {
      id: id("rule", i, 2 * j),
      type: "HOST_NAME",
      compare_type: "EQUAL_TO",
      value: `www${i}-${j}.example.com`,
    } as const,
    { id: id("rule", i, 2 * j + 1), type: "PATH", compare_type: "STARTS_WITH", value: `/app${j}` } as const,
  ];
  return {
    revision: 1,
    amphora_id: id("amphora", 0),
    loadbalancer_id: id("loadBalancer", 0),
    role: "STANDALONE",
    vips: ["10.77.0.5"],
    listeners: range(listeners).map((i) => ({
      id: id("listener", i),
      protocol: "HTTP",
      protocol_port: 8000 + i,
      default_pool_id: id("pool", poolsOf(i)[0]),
      insert_headers: ["X-Forwarded-For", "X-Forwarded-Port"],
      l7policies: [
        {
          id: id("policy", i, 0),
          action: "REDIRECT_TO_POOL",
          redirect_pool_id: id("pool", poolsOf(i)[1]),
          rules: rules(i, 0),
        },
        {
          id: id("policy", i, 1),
          action: "REDIRECT_TO_URL",
          redirect_url: "https://www.example.com/x",
          rules: rules(i, 1),
        },
      ],
    })),
    pools: range(pools).map((i) => ({
      id: id("pool", i),
      protocol: "HTTP",
      lb_algorithm: "ROUND_ROBIN",
      session_persistence: { type: "HTTP_COOKIE" },
      health_monitor: { id: id("monitor", i), type: "HTTP", delay: 60, timeout: 3, expected_codes: "200-204,302" },
      members: range(members).map((j) => ({
        id: id("member", i, j),
        address: `10.77.${100 + i}.${j + 1}`,
        protocol_port: 8080,
      })),
    })),
    ...changes,
  };
}
