import pino from "pino";
import t from "tap";
import type { HealthReport } from "../../agent/protocol.ts";
import { Health } from "../../controller/health/health.ts";
import { amphora as amphoraResource } from "../../controller/model/amphora.ts";
import { Settling } from "../../controller/store/settling.ts";
import { type Answer, type Json, object, SUBNETS, startApi, type TestApi } from "../support/api.ts";
import { healthLimits } from "../support/health.ts";
import { databases } from "../support/postgres.ts";
import { aLoadBalancer, anAmphora, contents, insertAll } from "../support/tree.ts";

for (const database of databases(t)) {
  t.test(
    `${database.name}: of those who want the same at once, one gets it and the others learn why not`,
    async (t) => {
      const api = await startApi(t, database);
      const { lb, lonely } = await api.graph();
      const { id: open } = await api.create("listener", "/listeners", aListener(lb, 85));
      const wanted: Record<string, [string, string, Json]> = {
        "a port": ["listener", "/listeners", aListener(lb, 90)],
        "a member's place": ["member", `/pools/${lonely}/members`, { address: "10.0.0.1", protocol_port: 80 }],
        "a monitor's place": ["healthmonitor", "/healthmonitors", aMonitor(lonely)],
        "to be the default pool": [
          "pool",
          "/pools",
          { listener_id: open, protocol: "HTTP", lb_algorithm: "SOURCE_IP" },
        ],
        "a VIP": ["loadbalancer", "/loadbalancers", { vip_address: "10.77.0.99" }],
      };
      for (const [what, [kind, path, values]] of Object.entries(wanted)) {
        const answers = await atOnce(8, () => api.call("POST", path, { [kind]: values }));
        t.strictSame(statuses(answers), [201, ...Array(7).fill(409)], what);
        for (const { status, body } of answers) {
          if (status === 409) t.notMatch(body.faultstring, /immutable/, `${what}: the reason is not that it was busy`);
        }
      }
    },
  );

  t.test(
    `${database.name}: many changes of one load balancer at once are all carried out, one after another`,
    async (t) => {
      const api = await startApi(t, database);
      const { lb, pool, lonely } = await api.graph();
      const answers = await Promise.all([
        ...Array.from({ length: 8 }, (_, i) =>
          api.call("POST", `/pools/${lonely}/members`, { member: { address: `10.0.0.${i + 1}`, protocol_port: 80 } }),
        ),
        ...Array.from({ length: 4 }, (_, i) => api.call("POST", "/listeners", { listener: aListener(lb, 100 + i) })),
        ...Array.from({ length: 4 }, (_, i) => api.call("PUT", `/pools/${pool}`, { pool: { name: `name ${i}` } })),
        ...Array.from({ length: 4 }, () => api.call("PUT", `/loadbalancers/${lb}/failover`)),
      ]);
      t.strictSame(statuses(answers), [...Array(12).fill(201), ...Array(8).fill(202)]);
      await api.reconciler.settle();
      const shown = object(await api.call("GET", `/pools/${lonely}`), "pool");
      t.equal(Array.isArray(shown.members) ? shown.members.length : 0, 8, "none is lost");
      t.match((await api.show("pool", `/pools/${pool}`)).name, /^name \d$/);
      t.equal((await api.show("loadbalancer", `/loadbalancers/${lb}`)).provisioning_status, "ACTIVE");
    },
  );

  t.test(`${database.name}: load balancers made at once have an address each, as long as there are any`, async (t) => {
    const api = await startApi(t, database);
    const many = await atOnce(20, () => api.call("POST", "/loadbalancers", { loadbalancer: {} }));
    t.strictSame(statuses(many), Array(20).fill(201));
    t.equal(new Set(many.map((answer) => object(answer, "loadbalancer").vip_address)).size, 20);
    const loadbalancer = { vip_subnet_id: SUBNETS.small.id };
    const few = await atOnce(8, () => api.call("POST", "/loadbalancers", { loadbalancer }));
    t.strictSame(statuses(few), [...Array(5).fill(201), 409, 409, 409]);
    t.match(few.find(({ status }) => status === 409)?.body.faultstring, "No more IP addresses available");
  });

  t.test(`${database.name}: removals at once end with the thing gone`, async (t) => {
    const api = await startApi(t, database);
    const { lb, listener, pool, member } = await api.graph();
    for (const path of [`/pools/${pool}/members/${member}`, `/listeners/${listener}`]) {
      const answers = await atOnce(6, () => api.call("DELETE", path));
      t.ok(
        answers.some(({ status }) => status === 204),
        path,
      );
      t.ok(
        answers.every(({ status }) => [204, 404, 409].includes(status)),
        String(statuses(answers)),
      );
      await api.reconciler.settle();
      t.equal((await api.call("GET", path)).status, 404);
    }
    const answers = await atOnce(6, () => api.call("DELETE", `/loadbalancers/${lb}?cascade=true`));
    t.ok(answers.some(({ status }) => status === 204));
    t.ok(
      answers.every(({ status }) => [204, 404, 409].includes(status)),
      String(statuses(answers)),
    );
  });

  t.test(`${database.name}: what is made while its load balancer goes is refused, or goes with it`, async (t) => {
    const api = await startApi(t, database);
    const before = await contents(api.store);
    for (let round = 0; round < 5; round++) {
      const { lb, pool } = await api.graph();
      const racing = (i: number): Promise<Answer>[] => [
        api.call("POST", "/listeners", { listener: aListener(lb, 200 + i) }),
        api.call("POST", `/pools/${pool}/members`, { member: { address: `10.0.1.${i}`, protocol_port: 80 } }),
        api.call("PUT", `/pools/${pool}`, { pool: { name: `name ${i}` } }),
      ];
      const removal = (async () => api.call("DELETE", `/loadbalancers/${lb}?cascade=true`))();
      const answers = await Promise.all([...racing(1), ...racing(2), removal, ...racing(3)]);
      t.equal((await removal).status, 204);
      t.ok(
        answers.every(({ status }) => [201, 202, 204, 404, 409].includes(status)),
        String(statuses(answers)),
      );
      await api.reconciler.settle();
      t.equal((await api.call("GET", `/loadbalancers/${lb}`)).status, 404);
    }
    t.strictSame(await contents(api.store), before, "nothing is left of any of them");
  });

  t.test(
    `${database.name}: changes and what amphorae say of the same parts do not get into each other's way`,
    async (t) => {
      const api = await startApi(t, database);
      const { lb, listener, pool, member } = await api.graph();
      const second = await api.create("member", `/pools/${pool}/members`, { address: "10.0.0.9", protocol_port: 80 });
      const amphora = anAmphora(aLoadBalancer({ id: lb }));
      await insertAll(api.store, amphoraResource, amphora);
      const failures: unknown[] = [];
      const log = pino({ level: "warn" }, { write: (line) => failures.push(line) });
      // either way the load balancer is DEGRADED: only its parts change
      let full = false;
      const report = (): HealthReport => ({
        revision: 1,
        listeners: { [listener]: full ? "FULL" : "OPEN" },
        pools: { [pool]: { [member]: full ? "UP" : "DOWN", [second.id]: "UP" } },
      });
      const client = {
        health: async () => report(),
        info: () => Promise.reject(new Error("no answer")),
        stats: async () => ({ listeners: {} }),
      };
      const settling = new Settling();
      const health = new Health({
        store: api.store,
        client,
        settling,
        ...healthLimits(60_000),
        onZombie: fail,
        log,
      });
      let heartbeats = 0;
      const speaking = setInterval(() => {
        full = !full;
        const body = { revision: 1, digest: String(++heartbeats), load: 0 };
        health.heard({ amphoraId: amphora.id, sequence: BigInt(heartbeats), time: Date.now(), body });
      }, 1);
      t.teardown(() => clearInterval(speaking));
      for (let round = 0; round < 40; round++) {
        const weight = { member: { weight: round } };
        t.equal((await api.call("PUT", `/pools/${pool}/members/${member}`, weight)).status, 202);
      }
      t.strictSame(failures, []);
      t.ok(heartbeats > 40, String(heartbeats));

      function fail(): void {
        failures.push("a zombie");
      }
    },
  );

  t.test(`${database.name}: changes of different load balancers do not wait for each other`, async (t) => {
    const api = await startApi(t, database, { settles: false });
    const [one, two] = [await api.graph(), await api.graph()];
    await rename(api, one.lb);
    const waiting = rename(api, one.lb);
    t.equal((await rename(api, two.lb)).status, 202);
    await api.reconciler.settle();
    t.equal((await waiting).status, 202);
  });
}

function aListener(loadbalancer_id: string, protocol_port: number): Json {
  return { loadbalancer_id, protocol: "HTTP", protocol_port };
}

function aMonitor(pool_id: string): Json {
  return { pool_id, type: "TCP", delay: 5, timeout: 4, max_retries: 3 };
}

function rename(api: TestApi, lb: string): Promise<Answer> {
  return api.call("PUT", `/loadbalancers/${lb}`, { loadbalancer: { name: "new" } });
}

function atOnce(times: number, work: () => Promise<Answer>): Promise<Answer[]> {
  return Promise.all(Array.from({ length: times }, work));
}

function statuses(answers: readonly Answer[]): number[] {
  return answers.map(({ status }) => status).sort();
}
