/** The scenario of ipvs.bench.ts: client, amphora with its agent, and members that are a HAProxy, in one machine. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { execa } from "execa";
import { eventually, startAgent } from "../support/agent.ts";
import { refusal } from "../support/flows.ts";
import { idOf, listener, member, pool } from "../support/specs.ts";
import { plugTenant, tenantSpec, VIP } from "../support/tenant.ts";
import type { Inside } from "../support/vm/inside.ts";
import { loadNftables } from "../support/vm/rules.ts";

const ROUNDS = 3;
/** of load, in a round */
const SECONDS = 5;
const LARGE = 2 ** 20;
const MEMBERS = ["10.77.0.21", "10.77.0.22"];
/** Of the members: where answers are small, and where they are large, from a HAProxy with buffers for that. */
const SMALL = 8080;
const BIG = 8081;
/** Listeners, by way and by the port of the members behind. */
const PORTS = { IPVS: { [SMALL]: 80, [BIG]: 81 }, HAProxy: { [SMALL]: 8000, [BIG]: 8001 } } as const;
type Way = keyof typeof PORTS;
const WAYS = ["IPVS", "HAProxy"] as const satisfies readonly Way[];

interface Load {
  readonly to: typeof SMALL | typeof BIG;
  readonly connections: number;
  readonly words: readonly string[];
}

interface Result {
  readonly perSecond: number;
  /** of the whole machine, client and members included, µs for each request */
  readonly cpu: number;
}

const LOADS: Readonly<Record<string, Load>> = {
  "1 KiB, kept": { to: SMALL, connections: 64, words: [] },
  "1 KiB, a connection each": { to: SMALL, connections: 64, words: ["-H", "Connection: close"] },
  "1 MiB, kept": { to: BIG, connections: 8, words: [] },
};

export default async ({ check, note, ...vm }: Inside): Promise<void> => {
  await loadNftables();
  await plugTenant(vm);
  await startMembers(vm);
  const agent = await startAgent(vm);
  const places = [SMALL, BIG].flatMap((to) => WAYS.map((way) => ({ way, to })));
  await agent.apply(
    tenantSpec(agent, 1, {
      listeners: places.map(({ way, to }, n) =>
        listener(n, { protocol: PROTOCOLS[way], protocol_port: portOf(way, to), default_pool_id: idOf("pool", n) }),
      ),
      pools: places.map(({ way, to }, n) => {
        const members = MEMBERS.map((address, i) => member(n * 10 + i, { address, protocol_port: to }));
        return pool(n, members, { protocol: PROTOCOLS[way] });
      }),
    }),
  );
  for (const { way, to } of places) {
    await eventually("the VIP answers", async () => (await refusal(vm, VIP, portOf(way, to))) === null);
  }
  // a connection each needs many ports
  await writeFile("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535");
  for (const [name, load] of Object.entries(LOADS)) {
    await check(
      name,
      async () => {
        const results: Record<Way, Result[]> = { IPVS: [], HAProxy: [] };
        for (let round = 0; round < ROUNDS; round++) {
          for (const way of round % 2 === 0 ? WAYS : WAYS.toReversed())
            results[way].push(await measured(portOf(way, load.to), load));
        }
        note(name);
        for (const way of WAYS) note(`  ${way.padEnd(8)}${text(results[way])}`);
      },
      300_000,
    );
  }
};

const PROTOCOLS = { IPVS: "FORWARD_TCP", HAProxy: "TCP" } as const;

function portOf(way: Way, to: number): number {
  return to === BIG ? PORTS[way][BIG] : PORTS[way][SMALL];
}

async function startMembers(vm: Pick<Inside, "teardown">): Promise<void> {
  for (const [port, size] of [
    [SMALL, 1024],
    [BIG, LARGE],
  ] as const) {
    await writeFile(`/tmp/${port}`, Buffer.alloc(size, "x"));
    await writeFile(
      `/tmp/${port}.cfg`,
      `global
    tune.bufsize ${Math.max(16_384, size * 2)}
defaults
    mode http
    timeout client 60s
frontend members
${MEMBERS.map((address) => `    bind ${address}:${port}`).join("\n")}
    http-request return status 200 content-type text/plain file /tmp/${port}
`,
    );
    const child = spawn("haproxy", ["-db", "-f", `/tmp/${port}.cfg`], { stdio: "inherit" });
    vm.teardown(() => child.kill("SIGKILL"));
  }
}

async function measured(port: number, { connections, words }: Load): Promise<Result> {
  const before = await busy();
  const args = ["-t", "1", "-c", String(connections), "-d", `${SECONDS}s`, ...words, `http://${VIP}:${port}/`];
  const { stdout } = await execa("wrk", args);
  const cpu = (await busy()) - before;
  const [, count = "0", seconds = "1"] = /(\d+) requests in ([\d.]+)s/.exec(stdout) ?? [];
  assert.doesNotMatch(stdout, /Non-2xx or 3xx/);
  assert.ok(Number(count) > 0, stdout);
  return { perSecond: Number(count) / Number(seconds), cpu: cpu / Number(count) };
}

/** What all processors have worked so far, µs (proc_stat(5): user, nice, system, irq, softirq; in ticks of 10 ms). */
async function busy(): Promise<number> {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] =
    (await readFile("/proc/stat", "utf8")).split("\n", 1)[0]?.trim().split(/\s+/).slice(1).map(Number) ?? [];
  return (user + nice + system + irq + softirq) * 10_000;
}

/** The median of each figure. */
function text(results: readonly Result[]): string {
  const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
  const [perSecond, cpu] = [median(results.map((each) => each.perSecond)), median(results.map((each) => each.cpu))];
  return `${perSecond.toFixed(0).padStart(6)}/s   CPU ${cpu.toFixed(0).padStart(7)} µs`;
}
