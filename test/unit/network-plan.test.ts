/** The difference between the network that is and the one the spec wants, as lines for `ip -batch`. */
import t from "tap";
import { type Link, networkPlan, type Route } from "../../agent/dataplane/namespace.ts";
import type { AmphoraSpec } from "../../templates/spec.ts";
import { PEER, spec } from "../support/specs.ts";

const ETH1 = {
  name: "eth1",
  mac: "fa:16:3e:00:00:01",
  addresses: ["10.77.0.10/24"],
  routes: [{ destination: "0.0.0.0/0", via: "10.77.0.1" }],
};
const WANTED = spec({ interfaces: [ETH1], vips: ["10.77.0.5"] });
const UP: Link = link("eth1", [
  ["10.77.0.10", 24],
  ["10.77.0.5", 32],
]);
const ANNOUNCE = "link set eth1 address fa:16:3e:00:00:01";
const DEFAULT: Route = { dst: "default", gateway: "10.77.0.1", dev: "eth1", protocol: "static" };

t.test("an interface that was just plugged in gets everything, and comes up last", async (t) => {
  const plugged: Link = { ...link("eth1", []), mtu: 9000, flags: ["BROADCAST"] };
  t.strictSame(networkPlan([plugged], [], WANTED), [
    "link set eth1 mtu 1500",
    "address add 10.77.0.10/24 dev eth1",
    "address add 10.77.0.5/32 dev eth1",
    "link set eth1 up",
    "route replace 0.0.0.0/0 via 10.77.0.1 dev eth1 proto static",
  ]);
});

t.test("what is right already is left alone, but the VIPs are announced once more", async (t) => {
  t.strictSame(networkPlan([UP], [DEFAULT], WANTED), [ANNOUNCE]);
});

t.test("one that stands by has no VIPs to announce", async (t) => {
  const standby = { ...WANTED, standby: true };
  t.strictSame(networkPlan([UP], [DEFAULT], standby), ["address del 10.77.0.5/32 dev eth1"]);
  t.strictSame(networkPlan([link("eth1", [["10.77.0.10", 24]])], [DEFAULT], standby), []);
});

t.test("what the kernel adds by itself is left alone", async (t) => {
  const actual = { ...UP, addr_info: [...UP.addr_info, address("fe80::1", 64, "link")] };
  const routes: Route[] = [
    DEFAULT,
    { dst: "10.77.0.0/24", dev: "eth1", protocol: "kernel" },
    { dst: "fe80::/64", dev: "eth1", protocol: "kernel" },
    { dst: "default", gateway: "fe80::9", dev: "eth1", protocol: "ra" },
    { dst: "default", gateway: "10.78.0.1", dev: "eth2", protocol: "static" },
  ];
  t.strictSame(networkPlan([actual], routes, WANTED), [ANNOUNCE]);
});

t.test("an interface that went down comes up", async (t) => {
  t.strictSame(networkPlan([{ ...UP, flags: [] }], [DEFAULT], WANTED), ["link set eth1 up"]);
});

t.test("another VIP is there before the old one goes, and is announced", async (t) => {
  t.strictSame(networkPlan([UP], [DEFAULT], { ...WANTED, vips: ["10.77.0.6"] }), [
    "address add 10.77.0.6/32 dev eth1",
    "address del 10.77.0.5/32 dev eth1",
    "link set eth1 address fa:16:3e:00:00:01",
  ]);
});

t.test("an address with another prefix length is another address", async (t) => {
  t.strictSame(networkPlan([UP], [DEFAULT], wanted({ addresses: ["10.77.0.10/16"] })), [
    "address add 10.77.0.10/16 dev eth1",
    "address del 10.77.0.10/24 dev eth1",
    "link set eth1 address fa:16:3e:00:00:01",
  ]);
});

t.test("a route to another gateway takes the place of the old one", async (t) => {
  const next = wanted({ routes: [{ destination: "0.0.0.0/0", via: "10.77.0.2" }] });
  t.strictSame(networkPlan([UP], [DEFAULT], next), [
    ANNOUNCE,
    "route replace 0.0.0.0/0 via 10.77.0.2 dev eth1 proto static",
  ]);
});

t.test("a route leads to a network, whatever address of it the spec names", async (t) => {
  const routes = [...ETH1.routes, { destination: "192.0.2.7/24", via: "10.77.0.2" }];
  t.strictSame(networkPlan([UP], [DEFAULT], wanted({ routes })), [
    ANNOUNCE,
    "route replace 192.0.2.0/24 via 10.77.0.2 dev eth1 proto static",
  ]);
  const there: Route = { dst: "192.0.2.0/24", gateway: "10.77.0.2", dev: "eth1", protocol: "static" };
  t.strictSame(networkPlan([UP], [DEFAULT, there], wanted({ routes })), [ANNOUNCE]);
});

t.test("a route that the spec no longer names is taken away", async (t) => {
  const extra: Route = { ...DEFAULT, dst: "192.0.2.1" };
  t.strictSame(networkPlan([UP], [DEFAULT, extra], WANTED), [ANNOUNCE, "route del 192.0.2.1/32 dev eth1 proto static"]);
});

t.test("IPv6: no waiting for duplicate detection, and no VIP as the source of a connection", async (t) => {
  const next = spec({
    interfaces: [{ ...ETH1, addresses: ["fd77::10/64"], routes: [{ destination: "::/0", via: "fd77::1" }] }],
    vips: ["fd77::5"],
  });
  t.strictSame(networkPlan([link("eth1", [])], [], next), [
    "address add fd77::10/64 dev eth1 nodad",
    "address add fd77::5/128 dev eth1 nodad preferred_lft 0",
    "link set eth1 address fa:16:3e:00:00:01",
    "route replace ::/0 via fd77::1 dev eth1 proto static",
  ]);
});

t.test("IPv6: an address is the same however it is written", async (t) => {
  const next = spec({
    interfaces: [{ ...ETH1, addresses: ["FD77:0:0::0010/64"], routes: [{ destination: "::/0", via: "fd77:0::1" }] }],
    vips: ["fd77:0:0:0:0:0:0:5"],
  });
  const actual = link("eth1", [
    ["fd77::10", 64],
    ["fd77::5", 128],
  ]);
  t.strictSame(networkPlan([actual], [{ ...DEFAULT, gateway: "fd77::1" }], next), [ANNOUNCE]);
});

t.test("a VIP is on the interface with an address of its subnet, or else on the first one", async (t) => {
  const eth2 = { name: "eth2", mac: "fa:16:3e:00:00:02", addresses: ["10.78.0.10/24", "fd78::10/64"] };
  const next = spec({ interfaces: [ETH1, eth2], vips: ["10.77.0.5", "10.78.0.5", "fd78::5", "192.0.2.5"] });
  t.strictSame(networkPlan([UP, { ...link("eth2", []), flags: [] }], [DEFAULT], next), [
    "address add 192.0.2.5/32 dev eth1",
    "link set eth1 address fa:16:3e:00:00:01",
    "address add 10.78.0.10/24 dev eth2",
    "address add fd78::10/64 dev eth2 nodad",
    "address add 10.78.0.5/32 dev eth2",
    "address add fd78::5/128 dev eth2 nodad preferred_lft 0",
    "link set eth2 up",
  ]);
});

t.test("what goes with the VIPs of a pair is keepalived's, and goes with VRRP", async (t) => {
  const vrrp = { id: 1, priority: 100, advert_interval_ms: 200, peers: [PEER] };
  const eth2 = { name: "eth2", mac: "fa:16:3e:00:00:02", addresses: ["10.78.0.10/24"] };
  const held = link("eth2", [
    ["10.78.0.10", 24],
    ["10.78.0.5", 32],
  ]);
  const pair = { role: "MASTER" as const, vrrp, vips: ["10.77.0.5"] };
  const shared = spec({ ...pair, interfaces: [ETH1, { ...eth2, shared_addresses: ["10.78.0.5"] }] });
  t.strictSame(networkPlan([UP, held], [DEFAULT], shared), []);
  t.strictSame(networkPlan([UP, link("eth2", [["10.78.0.10", 24]])], [DEFAULT], shared), []);
  const gone = ["address del 10.78.0.5/32 dev eth2"];
  t.strictSame(networkPlan([UP, held], [DEFAULT], spec({ ...pair, interfaces: [ETH1, eth2] })), gone);
});

function wanted(changes: Partial<typeof ETH1>): AmphoraSpec {
  return spec({ interfaces: [{ ...ETH1, ...changes }], vips: ["10.77.0.5"] });
}

/** A link as `ip -j address show` tells of it, up. */
function link(ifname: string, addresses: [local: string, prefixlen: number][]): Link {
  return {
    ifname,
    address: "fa:16:3e:00:00:01",
    mtu: 1500,
    flags: ["BROADCAST", "MULTICAST", "UP", "LOWER_UP"],
    addr_info: addresses.map(([local, prefixlen]) => address(local, prefixlen)),
  };
}

function address(local: string, prefixlen: number, scope = "global"): Link["addr_info"][number] {
  return { family: local.includes(":") ? "inet6" : "inet", local, prefixlen, scope };
}
