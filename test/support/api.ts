/** The controller's REST API, spoken to over HTTP, without the data plane behind it. */
import { randomBytes } from "node:crypto";
import pino from "pino";
import { createApp } from "../../controller/api/app.ts";
import { Engine } from "../../controller/api/engine.ts";
import type { Defaults } from "../../controller/api/placement.ts";
import { createRouter } from "../../controller/api/routes.ts";
import { ApiServer } from "../../controller/api/server.ts";
import { CertificateReader } from "../../controller/certificates/reader.ts";
import { Tls } from "../../controller/certificates/tls.ts";
import { StaticIdentity } from "../../controller/drivers/identity.ts";
import { LocalNetwork } from "../../controller/drivers/local/network.ts";
import { LocalSecrets } from "../../controller/drivers/local/secrets.ts";
import { declareSubnet, Subnets } from "../../controller/drivers/local/subnets.ts";
import { loadBalancer } from "../../controller/model/load-balancer.ts";
import { type Member, member } from "../../controller/model/member.ts";
import { pool } from "../../controller/model/pool.ts";
import { RegularExpressions } from "../../controller/regular-expressions.ts";
import { KEY_BYTES, Vault } from "../../controller/secrets/vault.ts";
import type { Store, StoreOptions } from "../../controller/store/database.ts";
import type { QuotaDefaults } from "../../controller/store/quotas.ts";
import { Settling } from "../../controller/store/settling.ts";
import { StandIn } from "./api-reconciler.ts";
import type { Teardown, TestDatabase } from "./postgres.ts";
import { aLoadBalancer, aMember, aPool, insertAll } from "./tree.ts";

export const LBAAS = "/v2.0/lbaas";
export const ADMIN = "admin-token";
/** Members of two projects, without any power over others'. */
export const ALICE = "alice-token";
export const BOB = "bob-token";

const CALLERS = [
  { token: ADMIN, caller: { userId: "admin", projectId: "admin", roles: ["admin"], system: false } },
  { token: ALICE, caller: { userId: "alice", projectId: "alpha", roles: ["load-balancer_member"], system: false } },
  { token: BOB, caller: { userId: "bob", projectId: "beta", roles: ["load-balancer_member"], system: false } },
];

/** A usual one, one with room for five, and one of IPv6. */
export const SUBNETS = {
  main: declareSubnet({ id: "00000000-0000-4000-8000-000000000001", cidr: "10.77.0.0/24", mtu: 1500 }),
  small: declareSubnet({ id: "00000000-0000-4000-8000-000000000002", cidr: "10.77.1.0/29", mtu: 1400 }),
  six: declareSubnet({ id: "00000000-0000-4000-8000-000000000003", cidr: "2001:db8::/64", mtu: 1500 }),
};

/** The addresses of the local network. It is not started: no link or rule is made. */
export function addressesOf(
  defaultSubnet: string | null = SUBNETS.main.id,
  subnets = Object.values(SUBNETS),
): LocalNetwork {
  return new LocalNetwork({
    subnets: new Subnets(subnets, defaultSubnet),
    deployment: "0000",
    managementNetwork: "127.77.0.0/16",
    runDir: "/nowhere",
    log: pino({ level: "silent" }),
  });
}

export type Json = Record<string, unknown>;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** empty when the body is no JSON object */
  readonly body: Json;
}

export interface ApiOptions extends StoreOptions {
  /** ms that a write waits for the one before it; long enough, unless the test is about its end */
  readonly settleWait?: number;
  /** whether changes are carried out as they come in; else when the test says so */
  readonly settles?: boolean;
  readonly network?: LocalNetwork;
  readonly quotas?: Partial<QuotaDefaults>;
  /** what load balancers are made with, and where, unless they say so themselves */
  readonly defaults?: Partial<Defaults>;
  /** false: any reference to a certificate is taken, whatever is kept there */
  readonly readsCertificates?: boolean;
}

const UNLIMITED_QUOTAS: QuotaDefaults = {
  load_balancer: -1,
  listener: -1,
  member: -1,
  pool: -1,
  health_monitor: -1,
  l7policy: -1,
  l7rule: -1,
};

export const COMPUTE_FLAVORS = ["601", "602", "603", "604", "605"];

/** The API on a fresh database. It is gone when the test has ended. */
export async function startApi(t: Teardown, database: TestDatabase, options: ApiOptions = {}): Promise<TestApi> {
  const { settleWait = 20_000, settles = true, network = addressesOf(), ...rest } = options;
  const { quotas: limits, defaults: chosen, readsCertificates = true, ...storeOptions } = rest;
  const store = await database.open(t, storeOptions);
  const settling = new Settling();
  const quotas = { ...UNLIMITED_QUOTAS, ...limits };
  const defaults = { flavorId: null, availabilityZone: null, ...chosen };
  const log = pino({ level: "error" }, pino.destination(2));
  const vault = new Vault(randomBytes(KEY_BYTES));
  const tls = new Tls(new LocalSecrets(store, vault), new CertificateReader());
  t.teardown(() => tls.close());
  const engine = new Engine({
    store,
    network,
    settling,
    settleWait,
    quotas,
    defaults,
    computeFlavors: COMPUTE_FLAVORS,
    services: {
      tls: readsCertificates ? tls : null,
      regularExpressions: new RegularExpressions("/usr/sbin/haproxy", log),
      amphorae: null,
    },
  });
  const server = new ApiServer();
  const port = await server.listen("127.0.0.1", 0);
  t.teardown(() => server.close());
  const router = createRouter(engine, { vault, tls });
  server.serve(createApp(new StaticIdentity(CALLERS), router, log).callback());
  const api = new TestApi(`http://127.0.0.1:${port}`, store, new StandIn(store, network, settling), router, vault);
  if (settles) api.reconciler.settleFromNowOn();
  t.teardown(() => api.reconciler.stop());
  return api;
}

export class TestApi {
  readonly base: string;
  readonly store: Store;
  readonly reconciler: StandIn;
  readonly vault: Vault;
  readonly #router: ReturnType<typeof createRouter>;

  constructor(base: string, store: Store, reconciler: StandIn, router: ReturnType<typeof createRouter>, vault: Vault) {
    this.#router = router;
    this.vault = vault;
    this.base = base;
    this.store = store;
    this.reconciler = reconciler;
  }

  /** `GET /pools/{}/members`: what is served below /v2.0/lbaas. */
  routes(): string[] {
    const served = this.#router.stack.flatMap(({ path, methods }) => methods.map((method) => `${method} ${path}`));
    return served
      .filter((each) => !each.startsWith("HEAD ") && each.includes(` ${LBAAS}/`))
      .map((each) => each.replace(LBAAS, "").replace(/:\w+/g, "{}"));
  }

  /**
   * @param path below /v2.0/lbaas, or a whole one that begins with `//` instead of `/`
   * @param body an object is sent as JSON, a text or bytes as they are
   */
  async call(
    method: string,
    path: string,
    body?: unknown,
    { token = ADMIN, headers = {} }: { token?: string; headers?: Record<string, string> } = {},
  ): Promise<Answer> {
    const url = path.startsWith("//") ? `${this.base}${path.slice(1)}` : `${this.base}${LBAAS}${path}`;
    const raw = typeof body === "string" || body instanceof Uint8Array;
    const response = await fetch(url, {
      method,
      headers: {
        ...(token === "" ? {} : { "X-Auth-Token": token }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: raw ? new Uint8Array(Buffer.from(body)) : JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, body: parse(text) };
  }

  /** Creates, and gives what the answer shows. @throws when the answer is not 201 */
  async create(name: string, path: string, values: Json, token = ADMIN): Promise<Json & { id: string }> {
    const answer = await this.call("POST", path, { [name]: values }, { token });
    if (answer.status !== 201) throw new Error(`POST ${path}: ${answer.status} ${answer.text}`);
    const made = object(answer, name);
    return { ...made, id: String(made.id) };
  }

  /** What the API shows of one object. @throws when the answer is not 200 */
  async show(name: string, path: string, token = ADMIN): Promise<Json> {
    const answer = await this.call("GET", path, undefined, { token });
    if (answer.status !== 200) throw new Error(`GET ${path}: ${answer.status} ${answer.text}`);
    return object(answer, name);
  }

  /** A load balancer with a listener, its pool, a member, a health monitor, and a policy with a rule, in one body, all ACTIVE; ids by kind. */
  async graph(token = ADMIN): Promise<Graph> {
    const pooling = { protocol: "HTTP", lb_algorithm: "ROUND_ROBIN" };
    const healthmonitor = { type: "HTTP", delay: 5, timeout: 4, max_retries: 3 };
    const used = {
      ...pooling,
      name: "used",
      members: [{ address: "10.77.0.200", protocol_port: 8080 }],
      healthmonitor,
    };
    const rules = [{ type: "PATH", compare_type: "STARTS_WITH", value: "/private" }];
    const l7policies = [{ action: "REJECT", rules }];
    const listeners = [{ protocol: "HTTP", protocol_port: 80, default_pool: used, l7policies }];
    const pools = [{ ...pooling, name: "lonely" }];
    const { id: lb, ...made } = await this.create("loadbalancer", "/loadbalancers", { listeners, pools }, token);
    await this.reconciler.settle();
    const [first] = parts(made, "listeners");
    const [policy] = parts(first, "l7policies");
    const pool = parts(made, "pools").find(({ name }) => name === "used");
    const lonely = parts(made, "pools").find(({ name }) => name === "lonely");
    const [member] = parts(pool, "members");
    const [rule] = parts(policy, "rules");
    return {
      lb,
      listener: idOf(first),
      pool: idOf(pool),
      lonely: idOf(lonely),
      member: idOf(member),
      monitor: String(pool?.healthmonitor_id),
      policy: idOf(policy),
      rule: idOf(rule),
    };
  }
}

export interface Graph {
  readonly lb: string;
  readonly listener: string;
  readonly pool: string;
  /** a pool that nothing uses, without members and monitor */
  readonly lonely: string;
  readonly member: string;
  readonly monitor: string;
  /** refuses what its rule matches */
  readonly policy: string;
  readonly rule: string;
}

function parts(of: Json | undefined, name: string): Json[] {
  const list = of?.[name];
  return Array.isArray(list) ? list.filter(isObject) : [];
}

function idOf(part: Json | undefined): string {
  if (typeof part?.id !== "string") throw new Error("the answer does not show everything that was made");
  return part.id;
}

/** Members of a pool, and the path to list them. */
export async function someMembers(api: TestApi, given: Partial<Member>[]): Promise<string> {
  const lb = aLoadBalancer();
  const itsPool = aPool(lb);
  await insertAll(api.store, loadBalancer, lb);
  await insertAll(api.store, pool, itsPool);
  await insertAll(api.store, member, ...given.map((values) => aMember(itsPool, values)));
  return `/pools/${itsPool.id}/members`;
}

/** The object under a root key of an answer. */
export function object(answer: Pick<Answer, "body" | "text">, name: string): Json {
  const found = answer.body[name];
  if (isObject(found)) return found;
  throw new Error(`the answer holds no object ${name}: ${answer.text}`);
}

/** The objects under a root key of an answer. */
export function objects(answer: Pick<Answer, "body" | "text">, name: string): Json[] {
  const found = answer.body[name];
  if (Array.isArray(found)) return found.filter(isObject);
  throw new Error(`the answer holds no list ${name}: ${answer.text}`);
}

function parse(text: string): Json {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
