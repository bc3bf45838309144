import { randomUUID } from "node:crypto";
import t from "tap";
import type { LocalNetwork } from "../../controller/drivers/local/network.ts";
import { NetworkRequestError, type Port, type VipRequest } from "../../controller/drivers/network.ts";
import type { Store } from "../../controller/store/database.ts";
import { addressesOf, SUBNETS } from "../support/api.ts";
import { databases, SQLITE } from "../support/postgres.ts";

const { main, small, six } = SUBNETS;

for (const database of databases(t)) {
  t.test(`${database.name}: a VIP that names no place gets the first free address of the default subnet`, async (t) => {
    const store = await database.open(t);
    const network = addressesOf();
    const [first, second] = [await reserve(store, network), await reserve(store, network)];
    const place = { subnet_id: main.id, network_id: main.id, gateway: "10.77.0.1", prefix_length: 24, mtu: 1500 };
    t.match(first, { ...place, address: "10.77.0.2" });
    t.match(second, { ...place, address: "10.77.0.3" });
    t.match(first.mac, /^fa(:[0-9a-f]{2}){5}$/);
    t.not(first.mac, second.mac);
  });

  t.test(`${database.name}: no address is given out twice, however many ask at once`, async (t) => {
    const store = await database.open(t);
    const network = addressesOf();
    const ports = await Promise.all(Array.from({ length: 40 }, () => reserve(store, network)));
    t.equal(new Set(ports.map(({ address }) => address)).size, 40);
  });

  t.test(`${database.name}: of those who want the same address at once, one gets it`, async (t) => {
    const store = await database.open(t);
    const network = addressesOf();
    const wanted = Array.from({ length: 8 }, () => outcome(store, network, { vip_address: "10.77.0.50" }));
    const outcomes = (await Promise.all(wanted)).sort();
    t.strictSame(outcomes, ["10.77.0.50", ...Array(7).fill("409")]);
  });

  t.test(`${database.name}: an address that was given back, or not taken after all, is free again`, async (t) => {
    const store = await database.open(t);
    const network = addressesOf();
    const owner = randomUUID();
    await reserve(store, network, {}, owner);
    await reserve(store, network);
    await store.transaction((trx) => network.release(trx, owner));
    t.equal((await reserve(store, network)).address, "10.77.0.2");
    const regretted = store.transaction(async (trx) => {
      await network.reserveVip(trx, randomUUID(), NOWHERE);
      throw new Error("after all not");
    });
    await t.rejects(regretted, new Error("after all not"));
    t.equal((await reserve(store, network)).address, "10.77.0.4");
    await store.transaction((trx) => network.release(trx, randomUUID()));
  });

  t.test(`${database.name}: a subnet that is full says so, to everybody who asks at once`, async (t) => {
    const store = await database.open(t);
    const network = addressesOf();
    const asked = Array.from({ length: 8 }, () => outcome(store, network, { vip_subnet_id: small.id }));
    const free = ["10.77.1.2", "10.77.1.3", "10.77.1.4", "10.77.1.5", "10.77.1.6"];
    t.strictSame((await Promise.all(asked)).sort(), [...free, "409", "409", "409"]);
    await t.rejects(reserve(store, network, { vip_subnet_id: small.id }), {
      constructor: NetworkRequestError,
      status: 409,
      message: `No more IP addresses available on subnet ${small.id}.`,
    });
    t.equal((await reserve(store, network)).subnet_id, main.id, "others go on");
  });

  t.test(`${database.name}: an IPv6 subnet gives out its addresses in their shortest spelling`, async (t) => {
    const store = await database.open(t);
    const network = addressesOf();
    const port = await reserve(store, network, { vip_subnet_id: six.id });
    t.match(port, { address: "2001:db8::2", gateway: "2001:db8::1", prefix_length: 64 });
    const asked = { vip_address: "2001:0DB8:0:0:0:0:0:0aB" };
    t.equal((await reserve(store, network, asked)).address, "2001:db8::ab", "found by its address alone");
    t.equal(await outcome(store, network, { vip_address: "2001:db8::AB" }), "409");
    t.equal(await outcome(store, network, { vip_address: "2001:db8::" }), "400", "the address of all routers");
  });

  t.test(`${database.name}: an amphora has one address of its own per subnet, the same each time`, async (t) => {
    const store = await database.open(t);
    const network = addressesOf();
    const [one, two] = [randomUUID(), randomUUID()];
    const ask = (amphora: string, subnet: string) =>
      store.transaction((trx) => network.reserveAmphoraPort(trx, amphora, subnet));
    const port = await ask(one, main.id);
    t.strictSame(await ask(one, main.id), port);
    t.not((await ask(two, main.id)).address, port.address);
    t.equal((await ask(one, six.id)).subnet_id, six.id);
  });

  t.test(`${database.name}: an address that goes with the VIPs is one per subnet, beside the VIP`, async (t) => {
    const store = await database.open(t);
    const network = addressesOf();
    const owner = randomUUID();
    const vip = await reserve(store, network, {}, owner);
    const ask = (subnet: string) => store.transaction((trx) => network.reserveSharedPort(trx, owner, subnet));
    const held = () => store.transaction((trx) => network.sharedPorts(trx, owner));
    const port = await ask(main.id);
    t.not(port.address, vip.address);
    t.strictSame(await ask(main.id), port);
    const six_ = await ask(six.id);
    t.strictSame(new Set(await held()), new Set([port, six_]), "the VIP is not among them");
    await store.transaction((trx) => network.releasePort(trx, port.id));
    t.strictSame(await held(), [six_]);
    await store.transaction((trx) => network.release(trx, owner));
    t.strictSame(await held(), [], "they go with the load balancer");
  });

  t.test(`${database.name}: what a VIP asks for decides its subnet`, async (t) => {
    const store = await database.open(t);
    const network = addressesOf();
    const cases: [Partial<VipRequest>, string][] = [
      [{ vip_subnet_id: small.id }, "10.77.1.2"],
      [{ vip_network_id: six.id }, "2001:db8::2"],
      [{ vip_address: "10.77.1.5" }, "10.77.1.5"],
      [{ vip_address: "10.77.0.254" }, "10.77.0.254"],
      [{ vip_subnet_id: main.id, vip_network_id: main.id, vip_address: "10.77.0.9" }, "10.77.0.9"],
    ];
    for (const [request, address] of cases) t.equal((await reserve(store, network, request)).address, address);
  });

  t.test(`${database.name}: a VIP where none can be is refused, and takes nothing`, async (t) => {
    const store = await database.open(t);
    const network = addressesOf();
    const nobody = randomUUID();
    const cases: Record<string, Partial<VipRequest>> = {
      "the network's address": { vip_address: "10.77.0.0" },
      "the broadcast address": { vip_address: "10.77.0.255" },
      "the gateway": { vip_address: "10.77.0.1" },
      "outside of every subnet": { vip_address: "192.0.2.1" },
      "outside of its subnet": { vip_subnet_id: small.id, vip_address: "10.77.0.9" },
      "of the other family": { vip_subnet_id: six.id, vip_address: "10.77.0.9" },
      "an IPv4 address in IPv6 clothes": { vip_address: "::ffff:10.77.0.9" },
      "no such subnet": { vip_subnet_id: nobody },
      "no such network": { vip_network_id: nobody },
      "no such port": { vip_port_id: nobody },
      "a subnet on another network": { vip_subnet_id: main.id, vip_network_id: six.id },
    };
    for (const [what, request] of Object.entries(cases)) t.equal(await outcome(store, network, request), "400", what);
    t.strictSame(await store.db.selectFrom("ports").selectAll().execute(), []);
  });
}

t.test("without a default subnet, a VIP must name a place", async (t) => {
  const store = await SQLITE.open(t);
  const network = addressesOf(null);
  t.equal(await outcome(store, network, {}), "400");
  t.equal(await outcome(store, network, { vip_subnet_id: main.id }), "10.77.0.2");
  t.equal(await outcome(store, network, { vip_address: "10.77.1.4" }), "10.77.1.4");
});

const NOWHERE: VipRequest = { vip_address: "", vip_port_id: "", vip_subnet_id: "", vip_network_id: "" };

function reserve(
  store: Store,
  network: LocalNetwork,
  request: Partial<VipRequest> = {},
  owner: string = randomUUID(),
): Promise<Port> {
  return store.transaction((trx) => network.reserveVip(trx, owner, { ...NOWHERE, ...request }));
}

/** The address, or the status of the refusal. */
async function outcome(store: Store, network: LocalNetwork, request: Partial<VipRequest>): Promise<string> {
  return reserve(store, network, request).then(
    ({ address }) => address,
    (error: unknown) => {
      if (error instanceof NetworkRequestError) return String(error.status);
      throw error;
    },
  );
}
