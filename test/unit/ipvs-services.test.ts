/** What of a spec IPVS serves, and the mark by which each listener's connections are known. */
import fc from "fast-check";
import t from "tap";
import { ipvsServices, marksOf, weightOf } from "../../templates/ipvs.ts";
import { parseSpec } from "../../templates/spec.ts";
import { arbitraryIpvsSpec, forwardSpec } from "../support/ipvs.ts";
import { idOf, listener, member, pool, spec, specInput } from "../support/specs.ts";

t.test("a service for each VIP, with the members of its family", async (t) => {
  const both = forwardSpec({ members: [member(1), member(2, { address: "FD77::22" })] });
  t.strictSame(
    ipvsServices(both).map(({ vip, family, members }) => [vip, family, members.map(({ address }) => address)]),
    [
      ["10.77.0.5", 4, ["10.77.0.21"]],
      ["fd77::5", 6, ["FD77::22"]],
    ],
  );
  t.strictSame(
    ipvsServices(forwardSpec()).map(({ vip }) => vip),
    ["10.77.0.5"],
    "none where there are no members",
  );
});

t.test("nothing for HAProxy's listeners, disabled ones, and those without a pool that is up", async (t) => {
  t.strictSame(ipvsServices(spec()), []);
  t.strictSame(ipvsServices(forwardSpec({ admin_state_up: false })), []);
  t.strictSame(ipvsServices(forwardSpec({ listener: { admin_state_up: false } })), []);
  t.strictSame(ipvsServices(forwardSpec({ listener: { default_pool_id: null } })), []);
  t.strictSame(ipvsServices(forwardSpec({ pool: { admin_state_up: false } })), []);
});

t.test("granularity applies to the family that it is of", async (t) => {
  const of = (persistence_granularity: string | null) =>
    ipvsServices(
      forwardSpec({
        members: [member(1), member(2, { address: "fd77::22" })],
        pool: { session_persistence: { type: "SOURCE_IP", persistence_timeout: 60, persistence_granularity } },
      }),
    ).map(({ persistence }) => persistence?.granularity);
  t.strictSame(of("255.255.255.0"), ["255.255.255.0", null]);
  t.strictSame(of("64"), [null, "64"]);
  t.strictSame(of(null), [null, null]);
});

t.test("drained, disabled and backup members have no weight of their own", async (t) => {
  const { pools } = forwardSpec({
    members: [
      member(1, { weight: 9 }),
      member(2, { weight: 0 }),
      member(3, { admin_state_up: false }),
      member(4, { backup: true }),
    ],
  });
  t.strictSame(pools[0]?.members.map(weightOf), [9, 0, 0, 0]);
});

t.test("marks are distinct, never 0, and stay when other listeners come and go", async (t) => {
  const ids = fc.uniqueArray(fc.uuid({ version: 4 }), { minLength: 1, maxLength: 20 });
  const of = (all: readonly string[]) =>
    marksOf(
      parseSpec(
        specInput({
          listeners: all.map((id, i) => listener(i + 1, { id, protocol: "UDP", default_pool_id: null })),
          pools: [],
        }),
      ),
    );
  fc.assert(
    fc.property(ids, (all) => {
      const marks = of(all);
      const numbers = new Set(marks.values());
      const first = all[0] ?? "";
      return numbers.size === all.length && !numbers.has(0) && marks.get(first) === of([first]).get(first);
    }),
  );
  const twins = ["00000001-0000-4000-8000-000000000001", "00000002-0000-4000-8000-000000000002"];
  t.strictSame([...of(twins).values()], [1, 2], "also for ids that come to the same number");
});

t.test("a member without a VIP of its family is refused, where the listener refers to it", async (t) => {
  const document = specInput({
    listeners: [listener(1, { protocol: "UDP" })],
    pools: [pool(1, [member(1), member(2, { address: "fd77::22" })], { protocol: "UDP" })],
  });
  t.throws(() => parseSpec(document), {
    message: "listeners[0].default_pool_id: has the member fd77::22, which UDP needs an IPv6 VIP for",
  });
});

t.test("one address spelled in two ways is used twice", async (t) => {
  const twice = [member(1, { address: "fd77::21" }), member(2, { address: "FD77:0::21" })];
  t.throws(() => forwardSpec({ members: twice }), { message: /address fd77::21 port 8080 is used/ });
  t.throws(() => forwardSpec({ vips: ["fd77::5", "fd77:0::5"] }), { message: /vips\[1\]: address fd77::5 is used/ });
});

t.test("services of specs by chance are distinct", async () => {
  fc.assert(
    fc.property(arbitraryIpvsSpec, (one) => {
      const keys = ipvsServices(one).map(({ transport, vip, port }) => `${transport} ${vip} ${port}`);
      return new Set(keys).size === keys.length;
    }),
  );
});

t.test("a listener's id alone decides its mark", async (t) => {
  t.equal(marksOf(forwardSpec()).get(idOf("listener")), 0x33333332);
});
