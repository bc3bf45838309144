/**
 * The REST API alone (nothing is driven), on SQLite and on PostgreSQL: requests per second, how long each takes, and
 * what it costs in CPU time of the controller and of the database. Where a figure of the peer is known, it stands
 * beside: Octavia 11 with its no-op provider on a like machine, so compare CPU, or the order of magnitude.
 */
import { randomUUID } from "node:crypto";
import { Agent, request } from "node:http";
import { Deployment, LBAAS } from "../support/deployment.ts";
import { databases } from "../support/postgres.ts";
import { withScope } from "../support/scope.ts";
import { cpuOf, printRate } from "./figures.ts";

const SUBNET = randomUUID();
const LOAD_BALANCERS = 1000;

async function run(
  name: "SQLite" | "PostgreSQL",
  scope: { teardown: (cleanup: () => unknown) => void },
): Promise<void> {
  const database = databases(scope).find((each) => each.name === name);
  const location = (await database?.create(scope)) ?? "";
  const deployment = await Deployment.make(scope);
  const driving = ["--compute", "noop", "--network", "noop", "--metrics-port", "0"];
  await deployment.start(...driving, ...(name === "SQLite" ? [] : ["--database", location]));
  const api = new Client(await deployment.token());
  const cpu = () => cpuOf(deployment.pid, name === "PostgreSQL" ? "postgres" : null);
  const measured = async (
    what: string,
    peer: string,
    total: number,
    inFlight: number,
    work: (i: number) => Promise<unknown>,
  ) => {
    const before = await cpu();
    const started = performance.now();
    const times = await api.flood(total, inFlight, work);
    printRate(`${name}: ${what}`, times, performance.now() - started, (await cpu()) - before, inFlight, peer);
  };

  const made: string[] = [];
  const create = async (i: number) =>
    made.push(await api.create("loadbalancer", "/loadbalancers", { name: `lb${i}`, vip_subnet_id: SUBNET }));
  await measured("POST load balancer", "26/s, 49 ms CPU", LOAD_BALANCERS, 8, create);
  const [first = ""] = made;
  await measured("GET a load balancer", "59/s, 26 ms CPU", 4000, 8, () => api.get(`/loadbalancers/${first}`));
  await measured("GET a load balancer", "43/s, 23 ms CPU", 1000, 1, () => api.get(`/loadbalancers/${first}`));
  await measured(`list ${LOAD_BALANCERS} load balancers`, "2.9/s, 579 ms CPU", 60, 4, () => api.get("/loadbalancers"));
  await measured("list 100 of them", "7.6/s, 210 ms CPU", 400, 4, () => api.get("/loadbalancers?limit=100"));

  const pool = await api.create("pool", "/pools", {
    loadbalancer_id: first,
    protocol: "HTTP",
    lb_algorithm: "ROUND_ROBIN",
  });
  const member = (i: number) => ({ address: `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`, protocol_port: 80 });
  await measured("POST member, one after another", "", 500, 1, (i) =>
    api.create("member", `/pools/${pool}/members`, member(i + 1)),
  );
  const others = made.slice(1, 101);
  const pools: string[] = [];
  for (const id of others) {
    pools.push(
      await api.create("pool", "/pools", { loadbalancer_id: id, protocol: "HTTP", lb_algorithm: "ROUND_ROBIN" }),
    );
  }
  await measured("POST member, of many load balancers", "13/s, 125 ms CPU", 1000, 8, (i) =>
    api.create("member", `/pools/${pools[i % pools.length]}/members`, member(i + 1)),
  );
  await measured("POST 10 listeners x 10 pools x 20 members", "1.7/s of 24 objects", 20, 1, (i) =>
    api.create("loadbalancer", "/loadbalancers", graph(i)),
  );
  await measured("the same, several at once", "3.2/s of 24 objects", 40, 8, (i) =>
    api.create("loadbalancer", "/loadbalancers", graph(i)),
  );
  await api.close();
  await deployment.stop();
}

/** 10 listeners, each with its pool of 20 members and a monitor. */
function graph(i: number): object {
  return {
    name: `graph${i}`,
    vip_subnet_id: SUBNET,
    listeners: Array.from({ length: 10 }, (_, l) => ({
      protocol: "HTTP",
      protocol_port: 80 + l,
      default_pool: {
        name: `pool${l}`,
        protocol: "HTTP",
        lb_algorithm: "ROUND_ROBIN",
        healthmonitor: { type: "HTTP", delay: 5, timeout: 3, max_retries: 3 },
        members: Array.from({ length: 20 }, (_, m) => ({ address: `10.0.${l}.${m + 1}`, protocol_port: 8080 })),
      },
    })),
  };
}

/** As light as can be: it shares the machine with what it measures. */
class Client {
  readonly #agent = new Agent({ keepAlive: true });
  readonly #token: string;

  constructor(token: string) {
    this.#token = token;
  }

  get(path: string): Promise<string> {
    return this.#send("GET", path, undefined, 200);
  }

  /** @returns the new object's id */
  async create(name: string, path: string, values: object): Promise<string> {
    const text = await this.#send("POST", path, JSON.stringify({ [name]: values }), 201);
    return /"id":"([^"]+)"/.exec(text)?.[1] ?? "";
  }

  /** @returns how long each call took, ms */
  async flood(total: number, inFlight: number, work: (i: number) => Promise<unknown>): Promise<number[]> {
    const times: number[] = [];
    let next = 0;
    const worker = async () => {
      while (next < total) {
        const i = next++;
        const started = performance.now();
        await work(i);
        times.push(performance.now() - started);
      }
    };
    await Promise.all(Array.from({ length: inFlight }, worker));
    return times;
  }

  async close(): Promise<void> {
    this.#agent.destroy();
  }

  #send(method: string, path: string, body: string | undefined, wanted: number): Promise<string> {
    return new Promise((resolve, reject) => {
      const call = request(
        {
          agent: this.#agent,
          host: "127.0.0.1",
          port: 9876,
          method,
          path: `${LBAAS}${path}`,
          headers: { "x-auth-token": this.#token, "content-type": "application/json" },
          timeout: 60_000,
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("error", reject);
          response.on("end", () => {
            const text = Buffer.concat(chunks).toString();
            if (response.statusCode === wanted) resolve(text);
            else reject(new Error(`${method} ${path}: ${response.statusCode} ${text.slice(0, 300)}`));
          });
        },
      );
      call.on("error", reject);
      call.end(body);
    });
  }
}

for (const name of ["SQLite", "PostgreSQL"] as const) {
  await withScope((scope) => run(name, scope));
}
