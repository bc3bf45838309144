/** A deployment on this test's own host: the real controller process, spoken to through its REST API. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import type { Scope } from "./scope.ts";

const ROOT = join(import.meta.dirname, "../..");
const CONTROLLER = join(ROOT, "controller/amphora-controller");
export const LBAAS = "/v2.0/lbaas";

export type Json = Record<string, unknown>;

export interface Reply {
  readonly status: number;
  readonly body: Record<string, Json> & { faultstring?: string };
}

export class Deployment {
  readonly dataDir: string;
  readonly base = "http://127.0.0.1:9876";
  #child: ChildProcess | null = null;
  output = "";

  private constructor(dataDir: string) {
    this.dataDir = dataDir;
  }

  /** A folder for the deployment's data; whatever it starts is ended and removed with the test. */
  static async make(t: Scope): Promise<Deployment> {
    const deployment = new Deployment(await mkdtemp(join(tmpdir(), "amphora-e2e-")));
    t.teardown(() => deployment.destroy());
    return deployment;
  }

  /** Starts `amphora-controller up`, and waits until it says that it is up. */
  async up(...options: readonly string[]): Promise<void> {
    this.spawn(CONTROLLER, ["up", "--data-dir", this.dataDir, ...options]);
    await this.#upOrGone();
  }

  /** Where an amphora's daemons run. */
  async runDir(amphoraId: string): Promise<string> {
    return JSON.parse(await readFile(join(this.dataDir, "amphorae", amphoraId, "agent.json"), "utf8")).run_dir;
  }

  /** The process of an amphora's agent. */
  async agentPid(amphoraId: string): Promise<number> {
    return JSON.parse(await readFile(join(await this.runDir(amphoraId), "agent.pid"), "utf8")).pid;
  }

  /** Starts the controller without a demo, ready to be asked. */
  start(...options: readonly string[]): Promise<void> {
    return this.up("--no-demo", ...options);
  }

  /** Starts a command as the foreground job of a terminal: in a process group of its own. */
  spawn(command: string, args: readonly string[]): void {
    this.output = "";
    // the test runner hooks into every Node process that it can: not into the product's
    const child = spawn("env", ["-u", "NODE_OPTIONS", command, ...args], {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        this.output += chunk.toString();
      });
    }
    this.#child = child;
  }

  async #upOrGone(): Promise<void> {
    await until("the controller is up", async () => {
      if (this.#child?.exitCode !== null) throw new Error(`the controller ended:\n${this.output}`);
      return this.output.includes("Ctrl-C stops everything");
    });
  }

  upOrGone(): Promise<void> {
    return this.#upOrGone();
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Signals the controller's whole process group, as Ctrl-C does, and waits for its end. @returns the exit code */
  async stop(signal: NodeJS.Signals = "SIGINT"): Promise<number | null> {
    const child = this.#child;
    if (child?.pid === undefined) return null;
    if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid, signal);
    return this.exit();
  }

  /** Waits until the controller has ended by itself. @returns the exit code */
  async exit(): Promise<number | null> {
    const child = this.#child;
    if (child === null) return null;
    await until("the controller has ended", async () => child.exitCode !== null || child.signalCode !== null, 30_000);
    return child.exitCode;
  }

  /** kill -9 of the controller alone. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child?.pid === undefined) return;
    process.kill(child.pid, "SIGKILL");
    await until("the controller is gone", async () => child.exitCode !== null || child.signalCode !== null);
  }

  async token(): Promise<string> {
    return (await readFile(join(this.dataDir, "admin-token"), "utf8")).trim();
  }

  async call(method: string, path: string, body?: unknown): Promise<Reply> {
    const response = await fetch(`${this.base}${path}`, {
      method,
      headers: { "x-auth-token": await this.token(), "content-type": "application/json" },
      signal: AbortSignal.timeout(20_000),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text === "" ? {} : JSON.parse(text) };
  }

  /** Creates, changes or removes; repeats while the load balancer is busy. @throws when the answer is an error */
  async change(method: "POST" | "PUT" | "DELETE", path: string, body?: unknown): Promise<Record<string, Json>> {
    for (let tries = 0; ; tries++) {
      const reply = await this.call(method, path, body);
      if (reply.status < 400) return reply.body;
      if (reply.status !== 409 || tries > 30) {
        throw new Error(`${method} ${path}: ${reply.status} ${reply.body.faultstring}`);
      }
    }
  }

  async create(kind: string, path: string, values: Json): Promise<Json> {
    const answer = (await this.change("POST", `${LBAAS}${path}`, { [kind]: values }))[kind];
    if (answer === undefined) throw new Error(`no ${kind} in the answer`);
    return answer;
  }

  async show(kind: string, path: string): Promise<Json> {
    const { status, body } = await this.call("GET", `${LBAAS}${path}`);
    const found = body[kind];
    if (status !== 200 || found === undefined) throw new Error(`GET ${path}: ${status} ${body.faultstring}`);
    return found;
  }

  /** Waits until the resource's attributes are these. */
  async becomes(kind: string, path: string, wanted: Json, limit?: number): Promise<Json> {
    let last: Json = {};
    await until(
      () => `${path} becomes ${JSON.stringify(wanted)}; it is ${JSON.stringify(last)}`,
      async () => {
        last = await this.show(kind, path);
        return Object.entries(wanted).every(([key, value]) => last[key] === value);
      },
      limit,
    );
    return last;
  }

  async destroy(): Promise<void> {
    const child = this.#child;
    if (child !== null && child.exitCode === null && child.signalCode === null) {
      await this.stop("SIGTERM").catch(() => undefined);
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, "SIGKILL");
    }
    await rm(this.dataDir, { recursive: true, force: true });
  }
}

/** A load balancer in its usual form: HTTP listener on port 80, pool, members. */
export interface Site {
  readonly id: string;
  readonly vip: string;
  readonly listener: string;
  readonly pool: string;
  readonly members: readonly string[];
}

/** Makes a load balancer for members, and waits until it is ACTIVE. @param options of the load balancer itself */
export async function makeSite(
  deployment: Deployment,
  addresses: readonly { readonly address: string; readonly port: number }[],
  monitor?: Json,
  options: Json = {},
): Promise<Site> {
  const loadBalancer = await deployment.create("loadbalancer", "/loadbalancers", { name: "site", ...options });
  const id = String(loadBalancer.id);
  const listener = await deployment.create("listener", "/listeners", {
    loadbalancer_id: id,
    protocol: "HTTP",
    protocol_port: 80,
  });
  const pool = await deployment.create("pool", "/pools", {
    listener_id: listener.id,
    protocol: "HTTP",
    lb_algorithm: "ROUND_ROBIN",
  });
  const members: string[] = [];
  for (const { address, port } of addresses) {
    const member = await deployment.create("member", `/pools/${pool.id}/members`, { address, protocol_port: port });
    members.push(String(member.id));
  }
  if (monitor !== undefined)
    await deployment.create("healthmonitor", "/healthmonitors", { pool_id: pool.id, ...monitor });
  await deployment.becomes("loadbalancer", `/loadbalancers/${id}`, { provisioning_status: "ACTIVE" });
  return { id, vip: String(loadBalancer.vip_address), listener: String(listener.id), pool: String(pool.id), members };
}

/** A flavor with a profile of its own. @param data of the profile @returns the flavor's id */
export async function makeFlavor(deployment: Deployment, data: Json): Promise<string> {
  const profile = await deployment.create("flavorprofile", "/flavorprofiles", {
    name: "profile",
    provider_name: "amphora",
    flavor_data: JSON.stringify(data),
  });
  const flavor = await deployment.create("flavor", "/flavors", {
    name: `flavor ${profile.id}`,
    flavor_profile_id: profile.id,
    enabled: true,
  });
  return String(flavor.id);
}

/** Polls until `condition` holds. @throws after `limit` ms, saying what did not happen */
export async function until(
  what: string | (() => string),
  condition: () => Promise<boolean>,
  limit = 20_000,
): Promise<void> {
  const deadline = Date.now() + limit;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${limit} ms: ${typeof what === "string" ? what : what()}`);
    await sleep(20);
  }
}

/** What a deployment could leave on the host: its processes, links, namespaces and rules. */
export async function hostState(): Promise<{
  links: string[];
  rules: string;
  namespaces: string[];
  processes: string[];
}> {
  const [links, rules, names] = await Promise.all([
    execa("ip", ["-br", "link"]),
    execa("nft", ["list", "ruleset"]),
    readdir("/run/netns").catch(() => []),
  ]);
  return {
    links: links.stdout.split("\n").map((line) => line.split(/[ @]/)[0] ?? ""),
    rules: rules.stdout,
    namespaces: names.filter((name) => !name.startsWith("amphora-test-")),
    processes: await amphoraProcesses(),
  };
}

/** Command lines of agents, HAProxy and demo members that run in this enclosure. */
export async function amphoraProcesses(): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    const text = command.replaceAll("\0", " ").trim();
    if (/agent\/main\.ts run|^\S*haproxy |up\/web\.ts/.test(text)) found.push(text);
  }
  return found.sort();
}
