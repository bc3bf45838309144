/** What load balancers are made with, and where: flavors, zones, subnets, addresses. */
import { randomUUID } from "node:crypto";
import t from "tap";
import { declareSubnet } from "../../controller/drivers/local/subnets.ts";
import { ALICE, addressesOf, type Json, object, startApi, type TestApi } from "../support/api.ts";
import { expectRefused } from "../support/api-refusals.ts";
import { databases, SQLITE } from "../support/postgres.ts";
import { contents } from "../support/tree.ts";

const nobody = randomUUID();
const NETWORK = "00000000-0000-4000-8000-0000000000aa";
const subnet = (number: number, cidr: string, network = NETWORK) =>
  declareSubnet({ id: `00000000-0000-4000-8000-00000000000${number}`, "network-id": network, cidr, mtu: 1500 });
const [FOUR, SIX, OTHER, ELSEWHERE] = [
  subnet(1, "10.77.0.0/24"),
  subnet(2, "2001:db8::/64"),
  subnet(3, "10.78.0.0/29"),
  subnet(4, "10.79.0.0/24", randomUUID()),
] as const;
const network = addressesOf(FOUR.id, [FOUR, SIX, OTHER, ELSEWHERE]);

async function aFlavor(api: TestApi, name: string, values: Json = {}): Promise<string> {
  const profile = { name, provider_name: "amphora", flavor_data: { loadbalancer_topology: "SINGLE" } };
  const { id } = await api.create("flavorprofile", "/flavorprofiles", profile);
  return (await api.create("flavor", "/flavors", { name, flavor_profile_id: id, ...values })).id;
}

async function aZone(api: TestApi, name: string, values: Json = {}): Promise<string> {
  const profile = { name, provider_name: "amphora", availability_zone_data: { compute_zone: name } };
  const { id } = await api.create("availability_zone_profile", "/availabilityzoneprofiles", profile);
  await api.create("availability_zone", "/availabilityzones", { name, availability_zone_profile_id: id, ...values });
  return name;
}

for (const database of databases(t)) {
  t.test(`${database.name}: a load balancer has the flavor and the zone that it was made with`, async (t) => {
    const api = await startApi(t, database);
    const flavor_id = await aFlavor(api, "small");
    const availability_zone = await aZone(api, "az1");
    const off = {
      flavor_id: await aFlavor(api, "off", { enabled: false }),
      zone: await aZone(api, "off", { enabled: false }),
    };
    const lb = await api.create("loadbalancer", "/loadbalancers", { flavor_id, availability_zone }, ALICE);
    t.match(lb, { flavor_id, availability_zone });
    const bare = { flavor_id: null, availability_zone: null };
    t.match(await api.create("loadbalancer", "/loadbalancers", bare), bare, "null is the default: none here");
    await api.reconciler.settle();
    await expectRefused(t, api, [
      [400, "flavor_id", "POST", "/loadbalancers", "loadbalancer", { flavor_id: nobody }],
      [400, "flavor_id", "POST", "/loadbalancers", "loadbalancer", { flavor_id: off.flavor_id }],
      [400, "availability_zone", "POST", "/loadbalancers", "loadbalancer", { availability_zone: "nowhere" }],
      [400, "availability_zone", "POST", "/loadbalancers", "loadbalancer", { availability_zone: off.zone }],
      [400, "flavor_id", "PUT", `/loadbalancers/${lb.id}`, "loadbalancer", { flavor_id: nobody }],
      [400, "flavor_id", "PUT", `/loadbalancers/${lb.id}`, "loadbalancer", { flavor_id: off.flavor_id }],
      [400, "availability_zone", "PUT", `/loadbalancers/${lb.id}`, "loadbalancer", { availability_zone }],
      [409, "in use", "DELETE", `/flavors/${flavor_id}`],
      [409, "in use", "DELETE", `/availabilityzones/${availability_zone}`],
    ]);
    // what is there stays, though nothing new may come
    for (const [kind, path] of [
      ["flavor", `/flavors/${flavor_id}`],
      ["availability_zone", `/availabilityzones/${availability_zone}`],
    ] as const) {
      t.equal((await api.call("PUT", path, { [kind]: { enabled: false } })).status, 200);
    }
    t.equal((await api.call("PUT", `/loadbalancers/${lb.id}`, { loadbalancer: { name: "new" } })).status, 202);
    t.equal((await api.call("DELETE", `/loadbalancers/${lb.id}`)).status, 204);
    await api.reconciler.settle();
    t.equal((await api.call("DELETE", `/flavors/${flavor_id}`)).status, 204, "nobody has it any more");
    t.equal((await api.call("DELETE", `/availabilityzones/${availability_zone}`)).status, 204);
  });

  t.test(`${database.name}: a load balancer made while its flavor is deleted has one, or is not made`, async (t) => {
    const api = await startApi(t, database);
    for (let round = 0; round < 8; round++) {
      const flavor_id = await aFlavor(api, `f${round}`);
      const [creation, removal] = await Promise.all([
        api.call("POST", "/loadbalancers", { loadbalancer: { flavor_id } }),
        api.call("DELETE", `/flavors/${flavor_id}`),
      ]);
      const outcome = [creation.status, removal.status].join();
      t.ok(["201,409", "400,204"].includes(outcome), `${outcome}: ${creation.text} ${removal.text}`);
    }
  });

  t.test(`${database.name}: further VIPs are on further subnets of the same network, and given back`, async (t) => {
    const api = await startApi(t, database, { network });
    const empty = await contents(api.store);
    const additional_vips = [{ subnet_id: SIX.id, ip_address: "2001:0db8::0A" }, { subnet_id: OTHER.id }];
    const lb = await api.create("loadbalancer", "/loadbalancers", { vip_subnet_id: FOUR.id, additional_vips });
    const shown = await api.show("loadbalancer", `/loadbalancers/${lb.id}`);
    t.strictSame(shown.additional_vips, lb.additional_vips);
    t.match(shown, {
      vip_network_id: NETWORK,
      additional_vips: [
        { subnet_id: SIX.id, ip_address: "2001:db8::a", port_id: /^[0-9a-f-]{36}$/ },
        { subnet_id: OTHER.id, ip_address: /^10\.78\.0\.\d$/, port_id: /^[0-9a-f-]{36}$/ },
      ],
    });
    const listening = { loadbalancer_id: lb.id, protocol: "TCP", allowed_cidrs: ["192.0.2.0/24", "2001:db8:1::/48"] };
    const listener = await api.create("listener", "/listeners", { ...listening, protocol_port: 80 });
    t.strictSame(listener.allowed_cidrs, listening.allowed_cidrs, "of either family");
    await api.reconciler.settle();
    const make = (vips: Json[], values: Json = {}) => ({ vip_subnet_id: FOUR.id, additional_vips: vips, ...values });
    await expectRefused(t, api, [
      [400, "additional_vips", "POST", "/loadbalancers", "loadbalancer", make([{ subnet_id: FOUR.id }])],
      [
        400,
        "additional_vips[1]",
        "POST",
        "/loadbalancers",
        "loadbalancer",
        make([{ subnet_id: SIX.id }, { subnet_id: SIX.id }]),
      ],
      [400, "additional_vips[0]", "POST", "/loadbalancers", "loadbalancer", make([{ subnet_id: nobody }])],
      [400, "additional_vips[0]", "POST", "/loadbalancers", "loadbalancer", make([{ subnet_id: ELSEWHERE.id }])],
      [
        409,
        "additional_vips[0]",
        "POST",
        "/loadbalancers",
        "loadbalancer",
        make([{ subnet_id: SIX.id, ip_address: "2001:db8:0::a" }]),
      ],
      [
        400,
        "additional_vips[1]",
        "POST",
        "/loadbalancers",
        "loadbalancer",
        make([{ subnet_id: OTHER.id }, { subnet_id: SIX.id, ip_address: "10.0.0.1" }]),
      ],
      [400, "additional_vips", "PUT", `/loadbalancers/${lb.id}`, "loadbalancer", { additional_vips: [] }],
    ]);
    t.equal((await api.call("DELETE", `/loadbalancers/${lb.id}?cascade=true`)).status, 204);
    await api.reconciler.settle();
    t.strictSame(await contents(api.store), empty, "no address is left taken");
  });
}

t.test("a load balancer that names none has the deployment's flavor and zone", async (t) => {
  const flavorId = nobody;
  const api = await startApi(t, SQLITE, { defaults: { flavorId, availabilityZone: "az1" } });
  await expectRefused(t, api, [[400, flavorId, "POST", "/loadbalancers", "loadbalancer", {}]]);
  const small = await aFlavor(api, "small");
  const [usual, other] = [await aFlavor(api, "usual"), await aFlavor(api, "other")];
  await api.store.db.updateTable("flavors").set({ id: flavorId }).where("id", "=", usual).execute();
  await expectRefused(t, api, [[400, "az1", "POST", "/loadbalancers", "loadbalancer", {}]]);
  await aZone(api, "az1");
  await aZone(api, "az2");
  for (const [given, wanted] of [
    [{}, { flavor_id: flavorId, availability_zone: "az1" }],
    [
      { flavor_id: null, availability_zone: null },
      { flavor_id: flavorId, availability_zone: "az1" },
    ],
    [{ flavor_id: small }, { flavor_id: small, availability_zone: "az1" }],
    [
      { flavor_id: other, availability_zone: "az2" },
      { flavor_id: other, availability_zone: "az2" },
    ],
  ] as const) {
    t.match(await api.create("loadbalancer", "/loadbalancers", given), wanted);
  }
  const { id } = await api.create("loadbalancer", "/loadbalancers", { flavor_id: small });
  const change = async (flavor_id: string | null) =>
    object(await api.call("PUT", `/loadbalancers/${id}`, { loadbalancer: { flavor_id } }), "loadbalancer").flavor_id;
  t.equal(await change(other), other);
  t.equal(await change(null), flavorId, "null is the default, here too");
  await api.call("PUT", `/flavors/${flavorId}`, { flavor: { enabled: false } });
  t.equal(await change(flavorId), flavorId, "what it has, it keeps");
  const refused = await api.call("POST", "/loadbalancers", { loadbalancer: {} });
  t.equal(refused.status, 400);
  t.match(refused.body.faultstring, "is disabled");
});

t.test("a VIP is where it was asked to be: by subnet, network, address, or any of them together", async (t) => {
  const api = await startApi(t, SQLITE, { network });
  const vip = async (values: Json) =>
    object(await api.call("POST", "/loadbalancers", { loadbalancer: values }), "loadbalancer");
  t.match(await vip({}), { vip_subnet_id: FOUR.id, vip_network_id: NETWORK, vip_address: /^10\.77\.0\./ });
  t.match(await vip({ vip_subnet_id: OTHER.id }), { vip_subnet_id: OTHER.id, vip_address: /^10\.78\.0\./ });
  t.match(await vip({ vip_network_id: ELSEWHERE.networkId }), { vip_subnet_id: ELSEWHERE.id });
  t.match(await vip({ vip_address: "10.79.0.99" }), { vip_subnet_id: ELSEWHERE.id, vip_address: "10.79.0.99" });
  t.match(await vip({ vip_network_id: NETWORK, vip_address: "2001:db8::99" }), { vip_subnet_id: SIX.id });
  t.match(await vip({ vip_subnet_id: FOUR.id, vip_address: "10.77.0.99" }), { vip_address: "10.77.0.99" });
  await api.reconciler.settle();
  const on = (values: Json) => ["POST", "/loadbalancers", "loadbalancer", values] as const;
  await expectRefused(t, api, [
    [400, nobody, ...on({ vip_subnet_id: nobody })],
    [400, nobody, ...on({ vip_network_id: nobody })],
    [400, nobody, ...on({ vip_port_id: nobody })],
    [400, FOUR.id, ...on({ vip_subnet_id: FOUR.id, vip_network_id: ELSEWHERE.networkId })],
    [400, "vip_address", ...on({ vip_subnet_id: FOUR.id, vip_address: "10.79.0.98" })],
    [400, "vip_address", ...on({ vip_subnet_id: FOUR.id, vip_address: "2001:db8::98" })],
    [400, "vip_address", ...on({ vip_address: "10.77.0.0" })],
    [400, "vip_address", ...on({ vip_address: "10.77.0.1" })],
    [400, "vip_address", ...on({ vip_address: "192.0.2.1" })],
    [409, "10.77.0.99", ...on({ vip_address: "10.77.0.99" })],
  ]);
});
