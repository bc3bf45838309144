/** The reconciler with instances that hang, and agents that refuse: what it keeps, what it gives up, what it writes down. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import pino from "pino";
import t, { type Test } from "tap";
import { Authorities } from "../../controller/amphorae/authorities.ts";
import { type AgentAddress, RefusedError, UnreachableError } from "../../controller/amphorae/client.ts";
import { CertificateReader } from "../../controller/certificates/reader.ts";
import { Tls } from "../../controller/certificates/tls.ts";
import type { ComputeDriver } from "../../controller/drivers/compute.ts";
import { LocalNetwork } from "../../controller/drivers/local/network.ts";
import { LocalSecrets } from "../../controller/drivers/local/secrets.ts";
import { declareSubnet, Subnets } from "../../controller/drivers/local/subnets.ts";
import { type Amphora, amphora } from "../../controller/model/amphora.ts";
import { flavor } from "../../controller/model/flavor.ts";
import { flavorProfile, type Topology } from "../../controller/model/flavor-profile.ts";
import { listener } from "../../controller/model/listener.ts";
import { type LoadBalancer, loadBalancer } from "../../controller/model/load-balancer.ts";
import { member } from "../../controller/model/member.ts";
import { pool } from "../../controller/model/pool.ts";
import { Amphorae } from "../../controller/reconcile/amphorae.ts";
import { Reconciler } from "../../controller/reconcile/reconciler.ts";
import { Serving } from "../../controller/reconcile/serving.ts";
import { openVault } from "../../controller/secrets/key.ts";
import { doomEverything, raiseRevision } from "../../controller/store/load-balancers.ts";
import { findRow, newRow, selectRows } from "../../controller/store/rows.ts";
import { Settling } from "../../controller/store/settling.ts";
import type { AmphoraSpecInput } from "../../templates/spec.ts";
import { until } from "../support/deployment.ts";
import { SQLITE } from "../support/postgres.ts";
import { aListener, aLoadBalancer, aMember, aPool, insertAll } from "../support/tree.ts";

const BOOT_LIMIT = 50;
const SUBNET = declareSubnet({ id: randomUUID(), cidr: "10.77.0.0/24", mtu: 1500 });
const SECOND = declareSubnet({ id: randomUUID(), cidr: "10.78.0.0/24", mtu: 1500 });

t.test("a pair whose second amphora does not come up keeps one instance for it, until one does", async (t) => {
  const { cloud, lb, rows, row } = await reconciling(t, "ACTIVE_STANDBY");
  await until("both serve", async () => (await rows()).filter(({ status }) => status === "ALLOCATED").length === 2);
  const [first, second] = await rows();
  cloud.hanging = true;
  await retire(second);
  await cloud.made(5);
  t.ok(cloud.instances.size <= 4, `one that serves, one that is replaced, one given up, one that boots`);
  t.ok(cloud.instances.has(first?.id ?? "") && cloud.instances.has(second?.id ?? ""), "those that serve stay");
  t.match(await row(), { provisioning_status: "ACTIVE", status_reason: /does not answer/ });
  cloud.hanging = false;
  await until("two serve", async () => {
    const all = await rows();
    return all.length === 2 && all.every(({ status }) => status === "ALLOCATED");
  });
  t.strictSame([...cloud.instances].sort(), (await rows()).map(({ id }) => id).sort(), "and nothing is left over");

  async function retire(which: Amphora | undefined): Promise<void> {
    cloud.dead.add(which?.id ?? "");
    const { store } = cloud;
    await store.db
      .updateTable("amphorae")
      .set({ status: "ERROR", retiring: true })
      .where("id", "=", which?.id ?? "")
      .execute();
    await store.transaction((trx) => raiseRevision(trx, lb.id));
  }
});

t.test("a change that was refused says nothing against the one that takes it back", async (t) => {
  const { cloud, lb, row } = await reconciling(t, "SINGLE");
  await until("it serves", async () => (await row())?.provisioning_status === "ACTIVE");
  cloud.refuse = async () => {
    cloud.refuse = null;
    await cloud.store.transaction((trx) => raiseRevision(trx, lb.id));
    throw new RefusedError(422, "no such thing");
  };
  await cloud.store.transaction((trx) => raiseRevision(trx, lb.id));
  cloud.settling.wake();
  await until("it has settled", async () => (await row())?.provisioning_status !== "PENDING_UPDATE");
  t.match(await row(), { provisioning_status: "ACTIVE", status_reason: null, revision: lb.revision + 3 });
});

t.test("an amphora's interfaces go with it, whatever became of the instance", async (t) => {
  const { cloud, lb, row } = await reconciling(t, "SINGLE", (cloud) => {
    cloud.refuse = async () => {
      throw new RefusedError(422, "no such thing");
    };
  });
  await until("it is refused", async () => (await row())?.provisioning_status === "ERROR");
  t.equal(cloud.plugged.size, 1);
  await cloud.store.transaction(async (trx) => {
    await doomEverything(trx, lb.id);
    await trx.updateTable("load_balancers").set({ doomed: true }).where("id", "=", lb.id).execute();
    await raiseRevision(trx, lb.id, "PENDING_DELETE");
  });
  cloud.settling.wake();
  await until("it is gone", async () => (await row()) === undefined);
  t.strictSame([...cloud.plugged], []);
});

t.test("a pair has an address that goes with the VIPs where its members are, as long as there are any", async (t) => {
  const { cloud, lb, row } = await reconciling(t, "ACTIVE_STANDBY");
  await until("it serves", async () => (await row())?.provisioning_status === "ACTIVE");
  const { store } = cloud;
  const change = async (work: () => Promise<unknown>) => {
    await work();
    await store.transaction((trx) => raiseRevision(trx, lb.id));
    cloud.settling.wake();
    await until("it has settled", async () => (await row())?.provisioning_status === "ACTIVE");
  };
  const shared = () => store.db.selectFrom("ports").select("address").where("kind", "=", "shared").execute();
  const told = () =>
    [...cloud.specs.values()].map(({ interfaces = [] }) => interfaces.map((each) => each.shared_addresses));
  const udp = aPool(lb, { protocol: "UDP" });
  const one = aMember(udp, { address: "10.78.0.9", subnet_id: SECOND.id });
  await change(async () => {
    await insertAll(store, pool, udp);
    await insertAll(store, listener, aListener(lb, { protocol: "UDP", default_pool_id: udp.id }));
    await insertAll(store, member, one);
  });
  const [{ address } = { address: "none" }, ...more] = await shared();
  t.strictSame(more, []);
  t.strictSame(told(), Array(2).fill([undefined, [address]]), "both are told of the same one");
  await change(() => store.db.deleteFrom("members").where("id", "=", one.id).execute());
  t.strictSame(told(), Array(2).fill([undefined]));
  t.strictSame(await shared(), []);
});

/** Stands in for a compute service and its agents, for hosts do not hang when a test wants them to. */
async function aCloud(t: Test) {
  const store = await SQLITE.open(t);
  return {
    store,
    settling: new Settling(),
    instances: new Set<string>(),
    /** ids of ports whose interfaces there are, with an instance or without */
    plugged: new Set<string>(),
    /** whether instances that are made never answer */
    hanging: false,
    addresses: new Map<string, string>(),
    /** what each amphora was told last */
    specs: new Map<string, AmphoraSpecInput>(),
    dead: new Set<string>(),
    refuse: null as (() => Promise<never>) | null,
    count: 0,
    made(count: number) {
      return until(`${count} instances were made`, async () => this.count >= count);
    },
    compute(): ComputeDriver {
      return {
        create: async (id, _wish, bootstrap) => {
          if (!this.instances.has(id)) {
            await bootstrap();
            this.instances.add(id);
            this.addresses.set(id, `127.77.0.${++this.count}`);
            if (this.hanging) this.dead.add(id);
          }
          const place = {
            lb_network_ip: this.addresses.get(id) ?? "",
            cached_zone: "",
            image_id: null,
            compute_flavor: null,
          };
          return { compute_id: id, ...place, boots: false };
        },
        plug: async (_id, port) => void this.plugged.add(port.id),
        unplug: async (_id, port) => void this.plugged.delete(port.id),
        // as on a host: an interface that the instance has not taken stays
        remove: async (id) => void this.instances.delete(id),
        list: async () => [...this.instances],
        running: async () => [...this.instances],
      };
    },
    client() {
      const reach = ({ amphoraId }: AgentAddress) => {
        if (this.dead.has(amphoraId)) throw new UnreachableError(`amphora ${amphoraId} does not answer`);
      };
      return {
        info: async (to: AgentAddress) => {
          reach(to);
          const host = { cpus: 1, load: [0, 0, 0], memory: { total: 1, available: 1 }, uptime: 1 };
          return { amphora_id: to.amphoraId, revision: 1, versions: {}, capabilities: {}, host };
        },
        putSpec: async (to: AgentAddress, spec: AmphoraSpecInput) => {
          const { revision } = spec;
          reach(to);
          await this.refuse?.();
          this.specs.set(to.amphoraId, spec);
          return { revision, how: "none" as const, duration_ms: 0 };
        },
        health: async (to: AgentAddress) => {
          reach(to);
          return { revision: 1, listeners: {}, pools: {}, vrrp: { state: "MASTER" as const } };
        },
      };
    },
  };
}

type Cloud = Awaited<ReturnType<typeof aCloud>>;

/** A reconciler, and a load balancer that it is to make. */
async function reconciling(t: Test, topology: Topology, prepare: (cloud: Cloud) => void = () => undefined) {
  const cloud = await aCloud(t);
  prepare(cloud);
  const { store, settling } = cloud;
  const log = pino({ level: "silent" });
  const subnets = new Subnets([SUBNET, SECOND], SUBNET.id);
  const runDir = t.testdir();
  const network = new LocalNetwork({ subnets, deployment: "0000", managementNetwork: "127.77.0.0/16", runDir, log });
  const vault = await openVault(store, join(runDir, "secrets.key"));
  const client = cloud.client();
  const amphorae = new Amphorae({
    store,
    compute: cloud.compute(),
    network,
    client,
    authorities: await Authorities.open(store, vault),
    reporting: async () => ({ controllers: [{ address: "127.0.0.1", port: 5555 }], heartbeat_interval_ms: 3000 }),
    certificateDays: 1,
    bootLimit: BOOT_LIMIT,
    log,
  });
  const tls = new Tls(new LocalSecrets(store, vault), new CertificateReader());
  const serving = new Serving({ store, client, advertIntervalMs: 200, forwarding: "DIRECT", log });
  const common = { store, settling, amphorae, serving, network, tls, log };
  const reconciler = new Reconciler({ ...common, concurrency: 4, pendingLimit: 60_000 });
  const lb = await aDueLoadBalancer(cloud, topology);
  reconciler.start();
  t.teardown(() => reconciler.stop());
  return {
    cloud,
    lb,
    row: () => findRow(store.db, loadBalancer, lb.id),
    rows: () => selectRows(store.db, amphora, { loadbalancer_id: lb.id }),
  };
}

async function aDueLoadBalancer({ store }: Cloud, topology: Topology): Promise<LoadBalancer> {
  const data = JSON.stringify({ loadbalancer_topology: topology });
  const profile = newRow(flavorProfile, { id: randomUUID(), name: "p", provider_name: "amphora", flavor_data: data });
  const its = newRow(flavor, { id: randomUUID(), name: "f", flavor_profile_id: profile.id });
  const place = { vip_subnet_id: SUBNET.id, vip_network_id: SUBNET.networkId };
  const pending = { provisioning_status: "PENDING_CREATE", due_at: Date.now(), flavor_id: its.id } as const;
  const lb = aLoadBalancer({ ...place, ...pending });
  await insertAll(store, flavorProfile, profile);
  await insertAll(store, flavor, its);
  await insertAll(store, loadBalancer, lb);
  return lb;
}
