/** Specs by chance, for properties: valid ones that use every field. */
import fc from "fast-check";
import { HTTP_METHODS, HTTP_VERSIONS, LB_ALGORITHMS, MAX_TIME_MS } from "../../templates/fields.ts";
import { type AmphoraSpec, parseSpec } from "../../templates/spec.ts";
import {
  idOf,
  type ListenerInput,
  listener,
  type MemberInput,
  type MonitorInput,
  member,
  monitor,
  type PoolInput,
  pool,
  specInput,
} from "./specs.ts";

const PROTOCOLS = ["HTTP", "TCP"] as const;
const time = fc.oneof(fc.constantFrom(0, 1, 5000, 50_000, MAX_TIME_MS), fc.nat({ max: MAX_TIME_MS }));
const port = fc.integer({ min: 1, max: 65_535 });
const address = fc.oneof(
  fc.ipV4(),
  fc.ipV6().filter((text) => !text.includes(".")),
);
/** Every printable character that a path may hold. */
const urlPath = fc
  .string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)), maxLength: 254 })
  .map((text) => `/${text}`);

const memberFields: fc.Arbitrary<Partial<MemberInput>> = fc.record({
  admin_state_up: fc.boolean(),
  address,
  weight: fc.integer({ min: 0, max: 256 }),
  backup: fc.boolean(),
  monitor_address: fc.option(address),
  monitor_port: fc.option(port),
});

const monitorFields: fc.Arbitrary<Partial<MonitorInput>> = fc.record({
  admin_state_up: fc.boolean(),
  type: fc.constantFrom("HTTP", "TCP"),
  delay: fc.integer({ min: 1, max: 2_147_483 }),
  timeout: fc.integer({ min: 1, max: 2_147_483 }),
  max_retries: fc.integer({ min: 1, max: 10 }),
  max_retries_down: fc.integer({ min: 1, max: 10 }),
  http_method: fc.constantFrom(...HTTP_METHODS),
  http_version: fc.constantFrom(...HTTP_VERSIONS),
  url_path: urlPath,
  expected_codes: fc.constantFrom("200", "200,202", "200-204", "100,301-303,599"),
  domain_name: fc.option(fc.domain()),
});

const poolFields = fc.record({
  admin_state_up: fc.boolean(),
  protocol: fc.constantFrom(...PROTOCOLS),
  lb_algorithm: fc.constantFrom(...LB_ALGORITHMS),
  members: fc.array(memberFields, { maxLength: 4 }),
  monitor: fc.option(monitorFields),
});

const listenerFields = fc.record({
  admin_state_up: fc.boolean(),
  /** which pool, counted from 0; one that is not there is none */
  pool: fc.nat({ max: 3 }),
  connection_limit: fc.oneof(fc.constantFrom(-1, 0, 1, MAX_TIME_MS), fc.nat({ max: MAX_TIME_MS })),
  timeout_client_data: time,
  // few values, so that listeners often agree and share a backend
  timeout_member_connect: fc.constantFrom(0, 5000),
  timeout_member_data: fc.constantFrom(50_000, MAX_TIME_MS),
  timeout_tcp_inspect: time,
});

/** A spec with up to 3 pools of up to 4 members, and up to 4 listeners. */
export const arbitrarySpec: fc.Arbitrary<AmphoraSpec> = fc
  .record({
    admin_state_up: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, fc.constant(false)),
    vips: fc.uniqueArray(address, { minLength: 1, maxLength: 2 }),
    pools: fc.array(poolFields, { maxLength: 3 }),
    listeners: fc.array(listenerFields, { maxLength: 4 }),
  })
  .map(({ admin_state_up, vips, pools, listeners }) => {
    const made: PoolInput[] = pools.map(({ members, monitor: check, ...fields }, i) => {
      const numbered = members.map((each, j) => member(i * 10 + j, { ...each, protocol_port: 8000 + j }));
      const health_monitor = check === null ? null : monitor({ ...check, id: idOf("monitor", i) });
      return pool(i + 1, numbered, { ...fields, health_monitor });
    });
    const all: ListenerInput[] = listeners.map(({ pool: index, ...fields }, i) => {
      const behind = made[index];
      return listener(i + 1, {
        ...fields,
        default_pool_id: behind?.id ?? null,
        protocol: behind?.protocol === "HTTP" ? "HTTP" : "TCP",
      });
    });
    return parseSpec(specInput({ admin_state_up, vips, pools: made, listeners: all }));
  });

/** The same spec with other members: some gone, some new, some at another address, with other weights and states. */
export function withOtherMembers(spec: AmphoraSpec): fc.Arbitrary<AmphoraSpec> {
  const total = spec.pools.reduce((sum, each) => sum + each.members.length, 0);
  const change = fc.record(
    { weight: fc.integer({ min: 0, max: 256 }), admin_state_up: fc.boolean(), address },
    { requiredKeys: [] },
  );
  const perMember = fc.array(fc.option(change, { freq: 4 }), { minLength: total, maxLength: total });
  const perPool = fc.array(fc.array(memberFields, { maxLength: 2 }), {
    minLength: spec.pools.length,
    maxLength: spec.pools.length,
  });
  return fc.tuple(perMember, perPool).map(([changes, added]) => {
    let next = 0;
    const pools = spec.pools.map((each, i) => {
      const kept = each.members.flatMap((one) => {
        const changed = changes[next++];
        return changed ? [{ ...one, ...changed }] : [];
      });
      const fresh = (added[i] ?? []).map((fields, j) =>
        member(1000 + i * 10 + j, { ...fields, protocol_port: 9000 + j }),
      );
      return { ...each, members: [...kept, ...fresh] };
    });
    return parseSpec({ ...spec, revision: spec.revision + 1, pools });
  });
}
