/** nftables' rules: what they say for a spec, and how one set of them becomes another. */
import t from "tap";
import { rulesetChange, tablesOf } from "../../agent/dataplane/nftables.ts";
import { renderNftables } from "../../templates/nftables.ts";
import { forwardSpec } from "../support/ipvs.ts";
import { idOf, member, PEER } from "../support/specs.ts";

const MAIN = "amphora";
const LIMIT = `amphora-limit-${idOf("listener")}`;
const limited = renderNftables(forwardSpec({ listener: { connection_limit: 10 } }));

/** The lines of a file that belong to a table. */
function linesOf(text: string): string[] {
  return text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
}

/** The rules without line ends and doubled spaces. */
function flat(...[changes]: Parameters<typeof forwardSpec>): string {
  return renderNftables(forwardSpec(changes)).replaceAll(/\s+/g, " ");
}

t.test("a file is its tables", async (t) => {
  t.strictSame([...tablesOf(limited).keys()], [MAIN, LIMIT]);
  t.strictSame([...tablesOf(limited).values()].join("\n").split("\n").filter(Boolean), linesOf(limited), "all of it");
});

t.test("nothing to nothing is nothing; what is there is taken away", async (t) => {
  t.equal(rulesetChange("", "", []), "");
  t.equal(rulesetChange("", "", [MAIN]), `delete table inet ${MAIN}\n`);
});

t.test("a table that stays the same is left alone: it goes on counting", async (t) => {
  t.equal(rulesetChange(limited, limited, [MAIN, LIMIT]), "");
  const narrowed = renderNftables(forwardSpec({ listener: { connection_limit: 10, allowed_cidrs: ["192.0.2.0/24"] } }));
  const change = rulesetChange(limited, narrowed, [MAIN, LIMIT]);
  t.match(change, `table inet ${MAIN}\ndelete table inet ${MAIN}\ntable inet ${MAIN} {\n`);
  t.notMatch(change, LIMIT);
});

t.test("a table that the kernel has lost is made again", async (t) => {
  t.match(rulesetChange(limited, limited, [MAIN]), `table inet ${LIMIT} {\n`);
});

t.test("a limit that is lifted takes its table with it", async (t) => {
  const change = rulesetChange(limited, renderNftables(forwardSpec()), [MAIN, LIMIT]);
  t.equal(change, `delete table inet ${LIMIT}\n`);
});

t.test("members behind the VIP's interface see the VIP, others the address of theirs", async (t) => {
  const [eth1] = forwardSpec().interfaces;
  const eth2 = { name: "eth2", mac: "fa:16:3e:00:00:02", addresses: ["10.78.0.10/24", "fd78::10/64"] };
  if (eth1 === undefined) throw new Error("there is no interface");
  const addresses = ["10.77.0.21", "10.78.0.21", "198.51.100.9", "fd77::23", "fd78::23", "2001:db8::9"];
  const rules = (
    routes: { destination: string; via: string }[],
    more: readonly { destination: string; via: string }[] = [],
  ) =>
    flat({
      interfaces: [
        { ...eth1, routes },
        { ...eth2, routes: [...more] },
      ],
      members: addresses.map((address, i) => member(i + 1, { address })),
    });
  const gateways = [
    { destination: "0.0.0.0/0", via: "10.77.0.1" },
    { destination: "::/0", via: "fd77::1" },
  ];
  const routed = rules(gateways);
  t.match(routed, "ip daddr . th dport { 10.77.0.21 . 8080, 198.51.100.9 . 8080 } snat ip to 10.77.0.5");
  t.match(routed, "ip daddr . th dport { 10.78.0.21 . 8080 } masquerade");
  t.match(routed, "ip6 daddr . th dport { fd77::23 . 8080, 2001:db8::9 . 8080 } snat ip6 to fd77::5");
  t.match(routed, "ip6 daddr . th dport { fd78::23 . 8080 } masquerade");
  const elsewhere = rules(gateways, [{ destination: "198.51.100.0/24", via: "10.78.0.1" }]);
  t.match(elsewhere, "ip daddr . th dport { 10.78.0.21 . 8080, 198.51.100.9 . 8080 } masquerade");
  t.match(rules([]), "{ 10.78.0.21 . 8080, 198.51.100.9 . 8080 } masquerade", "no way is known");
  t.match(flat({ interfaces: [] }), "{ 10.77.0.21 . 8080, 10.77.0.22 . 8080 } masquerade", "no subnet is known");
});

t.test("members of a pair see what goes with the VIPs, where no VIP is", async (t) => {
  const vrrp = { id: 1, priority: 100, advert_interval_ms: 200, peers: [PEER] };
  const [eth1] = forwardSpec().interfaces;
  if (eth1 === undefined) throw new Error("there is no interface");
  const rules = (shared_addresses: string[]) => {
    const eth2 = {
      name: "eth2",
      mac: "fa:16:3e:00:00:02",
      addresses: ["10.78.0.10/24", "fd78::10/64"],
      shared_addresses,
    };
    const members = ["10.77.0.21", "10.78.0.21", "fd78::23"].map((address, i) => member(i + 1, { address }));
    return flat({ role: "MASTER", vrrp, interfaces: [eth1, eth2], members });
  };
  const four = rules(["10.78.0.5"]);
  t.match(four, "ip daddr . th dport { 10.77.0.21 . 8080 } snat ip to 10.77.0.5");
  t.match(four, "ip daddr . th dport { 10.78.0.21 . 8080 } snat ip to 10.78.0.5");
  t.match(four, "ip6 daddr . th dport { fd78::23 . 8080 } masquerade", "none of its family");
  t.match(
    four,
    "ip daddr 10.78.0.5 meta l4proto tcp ip saddr . th sport { 10.78.0.21 . 8080 } ct state { new, invalid } drop",
  );
  t.match(rules(["10.78.0.5", "fd78::5"]), "ip6 daddr . th dport { fd78::23 . 8080 } snat ip6 to fd78::5");
  t.notMatch(rules([]), "10.78.0.5");
});

t.test("who may connect: networks without host bits or overlaps, each family by itself", async (t) => {
  const allowed = (...allowed_cidrs: string[]) => flat({ listener: { allowed_cidrs } });
  t.match(allowed("192.0.2.77/24", "192.0.2.0/25"), "ip saddr != { 192.0.2.0/24 } reject with tcp reset");
  t.match(allowed("192.0.2.77/24"), "meta nfproto ipv6 reject with tcp reset", "no IPv6 is named, so none may");
  t.notMatch(allowed("0.0.0.0/0", "192.0.2.0/24"), "ip saddr", "everybody");
  t.match(allowed("2001:db8::1/32"), "ip6 saddr != { 2001:db8::/32 } reject");
  t.notMatch(flat(), "saddr");
});

t.test("a datagram that may not come in is not answered", async (t) => {
  const listener = { protocol: "UDP" as const, allowed_cidrs: ["192.0.2.0/24"] };
  t.match(flat({ listener, pool: { protocol: "UDP" } }), "ip saddr != { 192.0.2.0/24 } drop");
});

t.test("only a limit that the kernel can count has a table", async (t) => {
  for (const connection_limit of [-1, 0, 1_000_001, 2_147_483_647]) {
    t.notMatch(flat({ listener: { connection_limit } }), "amphora-limit", String(connection_limit));
  }
});
