/**
 * One VIP on three replicas: how requests are spread, what they cost beside the same on one amphora, and what a death
 * does. BENCH_ROUNDS (10) is how often one dies of each kind, and a third of that how often load is measured.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { eventually } from "../support/agent.ts";
import { Flow, TellingMember } from "../support/flows.ts";
import { address, Group, VIP } from "../support/group.ts";
import { type Scope, withScope } from "../support/scope.ts";
import { idOf, listener, member, pool } from "../support/specs.ts";
import { Asking, type Gap, printGaps } from "./gap.ts";

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 10);
const REPLICAS = [0, 1, 2];
/** of load, each time */
const SECONDS = 3;
const CONNECTIONS = 48;
/** connections that are open when a replica dies */
const FLOWS = 90;
const TICKS = 100;

const SERVED = {
  listeners: [listener(1), listener(2, { protocol: "TCP", protocol_port: 7, default_pool_id: idOf("pool", 2) })],
  pools: [pool(1, [member(1)]), pool(2, [member(2)], { protocol: "TCP" })],
};

let revision = 0;

await withScope(async (scope) => {
  const group = await Group.make(scope, REPLICAS.length, { replicas: "DIRECT" });
  await startMember(scope, group.agents[0]?.folder ?? "");
  await TellingMember.start(scope, 2);
  await load(group);
  await spread(group);
  await deaths(scope, group);
});
process.exit();

/** A member that answers 1 KiB at once. */
async function startMember(scope: Scope, folder: string): Promise<void> {
  const file = join(folder, "member.cfg");
  await writeFile(
    file,
    `defaults
    mode http
    timeout client 60s
frontend member
    bind 10.77.0.21:8080
    http-request return status 200 content-type text/plain string ${"x".repeat(1024)}
`,
  );
  const haproxy = execa("haproxy", ["-db", "-f", file], { stdio: "ignore", reject: false });
  scope.teardown(() => haproxy.kill("SIGKILL"));
}

/** All three serve, and know of each other. */
async function spread(group: Group): Promise<void> {
  await group.apply(++revision, SERVED);
  await whole(group);
}

async function whole(group: Group): Promise<void> {
  await group.master(30_000);
  await eventually(
    "every replica serves, and knows of the others",
    async () => {
      const reports = await Promise.all(group.agents.map((agent) => agent.health()));
      return reports.every(({ replicas }) => Object.values(replicas ?? {}).filter(Boolean).length === 2);
    },
    30_000,
  );
}

/** The first of them serves alone, as an amphora without others does. */
async function single(group: Group): Promise<void> {
  revision++;
  const away = { ...SERVED, replicas: null };
  await Promise.all([1, 2].map((i) => group.agents[i]?.apply(group.spec(i, revision, away, true))));
  await group.agents[0]?.apply({ ...group.spec(0, revision, away), role: "STANDALONE", vrrp: null });
  await eventually("it has the VIPs alone", async () => (await group.holders()).join() === "0");
}

interface Rate {
  readonly perSecond: number;
  /** of everything on the machine, µs a request */
  readonly cpu: number;
  readonly shares: readonly number[];
}

/** The same load on one and on three, in turns. */
async function load(group: Group): Promise<void> {
  const kinds = { "kept connections": [], "a connection each": ["-H", "Connection: close"] };
  for (const [kind, options] of Object.entries(kinds)) {
    const rates: Record<"SINGLE" | "3 replicas", Rate[]> = { SINGLE: [], "3 replicas": [] };
    for (let round = 0; round < Math.ceil(ROUNDS / 3); round++) {
      await single(group);
      rates.SINGLE.push(await rate(group, options));
      await spread(group);
      rates["3 replicas"].push(await rate(group, options));
    }
    for (const [who, some] of Object.entries(rates)) {
      const best = (values: readonly number[]) => [...values].sort((a, b) => a - b)[0] ?? 0;
      const shares = REPLICAS.map((i) => {
        const of = some.map((each) => each.shares[i] ?? 0);
        return `${((of.reduce((sum, each) => sum + each, 0) / of.length) * 100).toFixed(1)} %`;
      });
      console.log(
        `  ${kind}, ${who}`.padEnd(36) +
          `${(-best(some.map(({ perSecond }) => -perSecond))).toFixed(0).padStart(7)}/s   ` +
          `CPU of all ${best(some.map(({ cpu }) => cpu))
            .toFixed(0)
            .padStart(4)} µs (the best of ${some.length})   ` +
          `connections ${shares.join(", ")}`,
      );
    }
  }
}

async function rate(group: Group, options: readonly string[]): Promise<Rate> {
  // the load balancer of before has been told from this one, and its last connections are gone
  await sleep(1500);
  const before = await connections(group);
  const used = await busy();
  const args = ["-t", "1", "-c", String(CONNECTIONS), "-d", `${SECONDS}s`, ...options, `http://${VIP}/`];
  const { stdout } = await execa("wrk", args);
  const cpu = (await busy()) - used;
  const [, count = "0"] = /(\d+) requests in/.exec(stdout) ?? [];
  if (/Non-2xx/.test(stdout) || count === "0") throw new Error(`requests were not served:\n${stdout}`);
  // agents count once a second
  await sleep(1500);
  const taken = (await connections(group)).map((each, i) => each - (before[i] ?? 0));
  const sum = taken.reduce((all, each) => all + each, 0);
  return { perSecond: Number(count) / SECONDS, cpu: cpu / Number(count), shares: taken.map((each) => each / sum) };
}

async function connections(group: Group): Promise<number[]> {
  const stats = await Promise.all(group.agents.map((agent) => agent.stats()));
  return stats.map(({ listeners }) => listeners[idOf("listener")]?.total_connections ?? 0);
}

/** What all processors have worked so far, µs: user, nice, system, irq, softirq (proc_stat(5)). */
async function busy(): Promise<number> {
  const times = (await readFile("/proc/stat", "utf8")).split("\n")[0]?.split(/\s+/).slice(1).map(Number) ?? [];
  return ([0, 1, 2, 5, 6].reduce((sum, i) => sum + (times[i] ?? 0), 0) / TICKS) * 1_000_000;
}

/** One that dies with all that it has: its link is cut. */
async function deaths(scope: Scope, group: Group): Promise<void> {
  const victims = {
    "one of them dies": (master: number) => (master + 1) % 3,
    "the master of them dies": (master: number) => master,
  };
  for (const [death, victimOf] of Object.entries(victims)) {
    const gaps: Gap[] = [];
    let [cut, ofVictim, lost, ofOthers] = [0, 0, 0, 0];
    for (let round = 0; round < ROUNDS; round++) {
      const victim = victimOf(await group.master());
      const flows = await open(scope, FLOWS);
      const asking = Asking.start(VIP);
      await asking.calm(200);
      await sleep(Math.random() * 1000);
      const at = performance.now();
      await group.cable(victim, "down");
      await asking.calm(500, 1500);
      gaps.push(await asking.stop(at));
      const answers = await Promise.allSettled(flows.map(({ flow }) => flow.ask()));
      flows.forEach(({ replica, flow }, i) => {
        const isAlive = answers[i]?.status === "fulfilled";
        if (replica === victim) [ofVictim, cut] = [ofVictim + 1, cut + (isAlive ? 0 : 1)];
        else [ofOthers, lost] = [ofOthers + 1, lost + (isAlive ? 0 : 1)];
        flow.reset();
      });
      await group.cable(victim, "up");
      await whole(group);
    }
    printGaps(death, gaps);
    console.log(`    open connections: of its own ${cut} of ${ofVictim} cut, of the others ${lost} of ${ofOthers}`);
  }
}

/** Connections, each with the replica that serves it: the member sees its address. */
async function open(scope: Scope, count: number): Promise<{ flow: Flow; replica: number }[]> {
  const flows: { flow: Flow; replica: number }[] = [];
  for (let i = 0; i < count; i++) {
    const flow = await Flow.open(scope, VIP, 7);
    const { address: from } = await flow.ask();
    flows.push({ flow, replica: REPLICAS.findIndex((n) => from === address(n)) });
  }
  return flows;
}
