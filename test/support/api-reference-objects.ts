/** What the examples of the API's reference may name: objects of every kind, by the names that the examples have for their ids. */
import { declareSubnet } from "../../controller/drivers/local/subnets.ts";
import { amphora } from "../../controller/model/amphora.ts";
import { type Json, objects, type TestApi } from "./api.ts";
import type { Ids } from "./api-reference.ts";
import { aLoadBalancer, anAmphora, insertAll } from "./tree.ts";

/** The subnet of the reference's VIP. */
export const EXAMPLE_SUBNET = declareSubnet({
  id: "00000000-0000-4000-8000-000000000009",
  cidr: "192.168.1.0/24",
  mtu: 1500,
});

/** Projects that have quotas of their own. */
const PROJECTS = ["e3cd678b11784734bc366148aa37580e", "2f6d249150f64f55984945186367d259"];

const CHECK = { type: "HTTP", delay: 5, timeout: 4, max_retries: 3 };
const POOLING = { protocol: "HTTP", lb_algorithm: "ROUND_ROBIN" };
const WHOLE = {
  listeners: [
    {
      name: "used",
      protocol: "HTTP",
      protocol_port: 8080,
      default_pool: {
        ...POOLING,
        members: [{ address: "10.77.0.200", protocol_port: 80 }],
        healthmonitor: CHECK,
      },
      l7policies: [{ action: "REJECT", rules: [{ type: "PATH", compare_type: "EQUAL_TO", value: "/x" }] }],
    },
    { name: "with one policy", protocol: "HTTP", protocol_port: 8081, l7policies: [{ action: "REJECT" }] },
    { name: "empty", protocol: "HTTP", protocol_port: 8082 },
  ],
  pools: [{ name: "unmonitored", ...POOLING }],
};

let made = 0;

/** Everything that the operation's example may name, and may change or delete. */
export async function objectsFor(api: TestApi, operation: string): Promise<Ids> {
  for (const project of PROJECTS) await api.call("PUT", `/quotas/${project}`, { quota: { listener: 2560 } });
  const catalogue = await makeCatalogue(api);
  if (/lbaas\/(flavor|availability|quotas)/.test(operation)) return catalogue;
  const ids = { ...catalogue, ...(await makeLoadBalancer(api)) };
  if (operation.endsWith("/healthmonitors")) return { ...ids, pool_id: ids.unmonitored };
  if (operation.startsWith("POST") && operation.endsWith("/l7policies")) return { ...ids, listener_id: ids.empty };
  return operation.includes("/rules") ? { ...ids, l7policy_id: ids.with_a_rule } : ids;
}

async function makeCatalogue(api: TestApi) {
  const number = ++made;
  const profile = (name: string) =>
    api.create("flavorprofile", "/flavorprofiles", { name, provider_name: "amphora", flavor_data: {} });
  const place = (name: string) => {
    const values = { name, provider_name: "amphora", availability_zone_data: {} };
    return api.create("availability_zone_profile", "/availabilityzoneprofiles", values);
  };
  const flavor = { name: `flavor ${number}`, flavor_profile_id: (await profile("used")).id };
  const zone = { name: `zone-${number}`, availability_zone_profile_id: (await place("used")).id };
  await api.create("availability_zone", "/availabilityzones", zone);
  return {
    flavorprofile_id: (await profile("unused")).id,
    flavor_profile_id: flavor.flavor_profile_id,
    flavor_id: (await api.create("flavor", "/flavors", flavor)).id,
    availability_zone_profile_id: (await place("unused")).id,
    availability_zone_name: zone.name,
    availability_zone: zone.name,
  };
}

async function makeLoadBalancer(api: TestApi) {
  const whole = await api.create("loadbalancer", "/loadbalancers", WHOLE);
  await api.reconciler.settle();
  const listener = (name: string) => inList(whole, "listeners", (each) => each.name === name);
  const policy = (of: string) => inList(listener(of), "l7policies");
  const pool = inList(whole, "pools", (each) => each.name === "");
  const its = anAmphora(aLoadBalancer({ id: whole.id }));
  await insertAll(api.store, amphora, its);
  return {
    loadbalancer_id: whole.id,
    listener_id: idOf(listener("used")),
    empty: idOf(listener("empty")),
    pool_id: idOf(pool),
    unmonitored: idOf(inList(whole, "pools", (each) => each.name === "unmonitored")),
    member_id: idOf(inList(pool, "members")),
    healthmonitor_id: String(pool.healthmonitor_id),
    l7policy_id: idOf(policy("with one policy")),
    with_a_rule: idOf(policy("used")),
    l7rule_id: idOf(inList(policy("used"), "rules")),
    amphora_id: its.id,
    vip_subnet_id: EXAMPLE_SUBNET.id,
    // the local network has none
    vip_qos_policy_id: null,
  };
}

/** @throws when there is none */
function inList(of: Json, name: string, is: (each: Json) => boolean = () => true): Json {
  const found = objects({ body: of, text: JSON.stringify(of) }, name).find(is);
  if (found === undefined) throw new Error(`the list ${name} holds no such object: ${JSON.stringify(of)}`);
  return found;
}

function idOf({ id }: Json): string {
  return String(id);
}
