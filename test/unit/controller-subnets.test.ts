import { randomUUID } from "node:crypto";
import fc from "fast-check";
import t from "tap";
import { contains, overlap, rangeOf, toAddress, toNumber } from "../../controller/drivers/local/addresses.ts";
import { declareSubnet, SubnetError } from "../../controller/drivers/local/subnets.ts";

const id = randomUUID();

t.test("a subnet that says only its prefix has the first address as gateway, and gives out the others", async (t) => {
  const cases = {
    "10.77.0.0/24": ["10.77.0.1", "10.77.0.2", "10.77.0.254"],
    "10.77.1.0/29": ["10.77.1.1", "10.77.1.2", "10.77.1.6"],
    "10.0.0.0/8": ["10.0.0.1", "10.0.0.2", "10.255.255.254"],
    "2001:db8::/64": ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:ffff:ffff:fffe"],
  };
  for (const [cidr, [gateway, first, last]] of Object.entries(cases)) {
    const { allocation, ...subnet } = declareSubnet({ id, cidr, mtu: 1500 });
    t.strictSame(subnet, { id, networkId: id, cidr, gateway, mtu: 1500 });
    t.equal(toAddress(allocation.first, allocation.family), first);
    t.equal(toAddress(allocation.last, allocation.family), last);
  }
});

t.test("what a subnet says of itself holds", async (t) => {
  const network = randomUUID();
  const range = { "first-address": "10.77.0.10", "last-address": "10.77.0.20", gateway: "10.77.0.254" };
  const subnet = declareSubnet({ id, "network-id": network, cidr: "10.77.0.0/24", mtu: 9000, ...range });
  t.match(subnet, { networkId: network, gateway: "10.77.0.254", mtu: 9000 });
  t.equal(subnet.allocation.last - subnet.allocation.first, 10n);
});

t.test("a subnet whose parts do not fit each other is refused, naming the part", async (t) => {
  const cases: [object, RegExp][] = [
    [{ cidr: "10.77.0.0/30" }, /^cidr: .*\/29/],
    [{ cidr: "10.77.0.0/32" }, /^(cidr|first-address): /],
    [{ gateway: "10.78.0.1" }, /^gateway: /],
    [{ gateway: "10.77.0.0" }, /^gateway: /],
    [{ gateway: "10.77.0.255" }, /^gateway: /],
    [{ gateway: "2001:db8::1" }, /^gateway: /],
    [{ "first-address": "10.76.0.1" }, /^first-address: /],
    [{ "first-address": "10.77.0.0" }, /^first-address: /],
    [{ "last-address": "10.78.0.1" }, /^last-address: /],
    [{ "last-address": "10.77.0.255" }, /^last-address: /],
    [{ "first-address": "10.77.0.9", "last-address": "10.77.0.8" }, /^first-address: /],
  ];
  for (const [parts, message] of cases) {
    const settings = { id, cidr: "10.77.0.0/24", mtu: 1500, ...parts };
    t.throws(() => declareSubnet(settings), { constructor: SubnetError, message }, JSON.stringify(parts));
  }
});

t.test("addresses are numbers and back", async () => {
  fc.assert(fc.property(fc.ipV4(), (address) => toAddress(toNumber(address), "ipv4") === address));
  fc.assert(fc.property(fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }), (n) => toNumber(toAddress(n, "ipv6")) === n));
});

t.test("a prefix holds its addresses, and no others", async (t) => {
  const range = rangeOf("10.77.0.0/23");
  for (const address of ["10.77.0.0", "10.77.0.1", "10.77.1.255"]) t.ok(contains(range, address), address);
  for (const address of ["10.76.255.255", "10.78.0.0", "::10.77.0.1", "::"]) t.notOk(contains(range, address), address);
  t.ok(overlap(range, rangeOf("10.77.1.128/25")));
  t.ok(overlap(rangeOf("10.77.1.128/25"), range));
  t.notOk(overlap(range, rangeOf("10.77.2.0/24")));
  t.notOk(overlap(rangeOf("0.0.0.0/0"), rangeOf("::/0")), "the families have nothing to do with each other");
});
