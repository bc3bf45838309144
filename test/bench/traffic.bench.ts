/**
 * Traffic through what we render, side by side with what the peer renders (peer/*.cfg). Each has one HAProxy thread on
 * the first core; load and members are on the second one. The two take turns, and come before what else the machine
 * does. BENCH_ROUNDS (3), BENCH_ONLY (a part of scenarios' names) and AMPHORA_TEST_HAPROXY (2.6) say what is run.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { writeFiles } from "../../agent/files.ts";
import { layoutIn } from "../../templates/layout.ts";
import { HAPROXY_CFG, render, targetOf } from "../../templates/render.ts";
import { type AmphoraSpecInput, parseSpec } from "../../templates/spec.ts";
import { haproxyOf } from "../support/haproxy-programs.ts";
import { type Pair, TestAuthority } from "../support/pki.ts";
import { idOf, type ListenerInput, listener, member, monitor, type PoolInput, pool } from "../support/specs.ts";

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
/** of load on one of the two, in a round */
const SECONDS = 3;
const CONNECTIONS = 64;
/** bytes */
const LARGE = 2 ** 20;
const HOST = "127.0.0.1";
const OURS = 18_081;
const LOG_PORT = 18_514;
const MEMBERS = [18_091, 18_092];

interface Result {
  /** of HAProxy, µs each */
  readonly cpu: number;
  readonly perSecond: number;
  /** ms, when the load tells */
  readonly p99: number | null;
}

type LoadOf = (url: string, port: number) => Promise<{ count: number; p99: number | null }>;

interface Scenario {
  readonly name: string;
  readonly peer: string;
  readonly port: number;
  readonly listener: Partial<ListenerInput>;
  readonly pool: Partial<PoolInput>;
  readonly certificate?: "RSA" | "P-256";
  readonly load: LoadOf;
}

type Kind = Pick<Scenario, "peer" | "port" | "listener" | "pool">;

const TLS: ListenerInput["tls"] = {
  certificate_ids: [idOf("certificate")],
  alpn_protocols: ["h2", "http/1.1", "http/1.0"],
};
const ciphers = (text: string) => /ciphers (\S+)/.exec(text)?.[1] ?? "";
const PORT = { clear: 18_080, tls: 18_443 } as const;
const FORWARDED: ListenerInput["insert_headers"] = ["X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto"];

function scenarios(): Scenario[] {
  const http: Kind = { peer: "http", port: PORT.clear, listener: {}, pool: {} };
  const headers: Kind = {
    peer: "http-headers-cookie",
    port: PORT.clear,
    listener: { insert_headers: FORWARDED },
    pool: { session_persistence: { type: "HTTP_COOKIE" } },
  };
  const tcp: Kind = { peer: "tcp", port: PORT.clear, listener: { protocol: "TCP" }, pool: { protocol: "TCP" } };
  const tls: Kind = {
    peer: "tls",
    port: PORT.tls,
    listener: {
      protocol: "TERMINATED_HTTPS",
      tls: TLS,
      insert_headers: FORWARDED,
    },
    pool: {},
  };
  return [
    { ...http, name: "HTTP, kept", load: kept },
    { ...http, name: "HTTP, a connection each", load: each },
    { ...http, name: "HTTP, 1 MiB each", load: large },
    { ...headers, name: "headers and cookie, kept", load: kept },
    { ...headers, name: "headers and cookie, a connection each", load: each },
    { ...tcp, name: "TCP, kept", load: kept },
    { ...tcp, name: "TCP, a connection each", load: each },
    { ...tcp, name: "TCP, 1 MiB each", load: large },
    { ...tls, name: "TLS, P-256, kept", certificate: "P-256", load: kept },
    { ...tls, name: "TLS, RSA 2048, kept", certificate: "RSA", load: kept },
    { ...tls, name: "TLS, P-256, full handshakes", certificate: "P-256", load: handshakes("-new") },
    { ...tls, name: "TLS, RSA 2048, full handshakes", certificate: "RSA", load: handshakes("-new") },
    { ...tls, name: "TLS, P-256, resumed handshakes", certificate: "P-256", load: handshakes("-reuse", "-tls1_2") },
  ];
}

const cleanups: (() => unknown)[] = [];
try {
  const folder = await mkdtemp(join(tmpdir(), "amphora-bench-"));
  cleanups.unshift(() => rm(folder, { recursive: true, force: true }));
  await comeFirst();
  const haproxy = await haproxyOf(process.env.AMPHORA_TEST_HAPROXY === "3.0" ? "3.0" : "2.6");
  console.log(`  ${(await execa(haproxy, ["-v"])).stdout.split("\n")[0]}`);
  await startMembers(haproxy, folder);
  startLog();
  const authority = await TestAuthority.make("authority");
  const pairs = {
    RSA: await authority.issue("CN=a.example", [], "RSA"),
    "P-256": await authority.issue("CN=a.example"),
  };
  const wanted = process.env.BENCH_ONLY ?? "";
  for (const scenario of scenarios().filter(({ name }) => name.includes(wanted))) {
    const pair = pairs[scenario.certificate ?? "P-256"];
    const peer = await startPeer(haproxy, folder, scenario, pair);
    const ours = await startOurs(haproxy, folder, scenario, pair);
    const results: Record<"peer" | "ours", Result[]> = { peer: [], ours: [] };
    for (let round = 0; round < ROUNDS; round++) {
      const turns = [
        async () => results.peer.push(await measured(peer, scenario, scenario.port)),
        async () => results.ours.push(await measured(ours, scenario, OURS)),
      ];
      // each is first in every second round
      for (const turn of round % 2 === 0 ? turns : turns.reverse()) await turn();
    }
    console.log(`  ${scenario.name}`);
    for (const who of ["peer", "ours"] as const) console.log(`    ${who}  ${text(results[who])}`);
    await Promise.all([peer, ours].map(end));
  }
} finally {
  for (const cleanup of cleanups) await cleanup();
}

/** Has the kernel prefer this session to all others, where it schedules by session (sched(7), "The autogroup feature"). */
async function comeFirst(): Promise<void> {
  const file = "/proc/self/autogroup";
  const before = /nice (-?\d+)/.exec(await readFile(file, "utf8").catch(() => ""))?.[1];
  if (before === undefined) return;
  await writeFile(file, "-20");
  cleanups.unshift(() => writeFile(file, before));
}

/** Members that answer 1 KiB at once, and 1 MiB at /large. */
async function startMembers(haproxy: string, folder: string): Promise<void> {
  const file = join(folder, "members.cfg");
  const large = join(folder, "large");
  await writeFile(large, Buffer.alloc(LARGE, "x"));
  const config = `global
    tune.bufsize ${LARGE * 2}
defaults
    mode http
    timeout client 60s
frontend members
${MEMBERS.map((port) => `    bind ${HOST}:${port}`).join("\n")}
    http-request return status 200 content-type text/plain file ${large} if { path /large }
    http-request return status 200 content-type text/plain string ${"x".repeat(1024)}
`;
  await writeFile(file, config);
  start(1, haproxy, file);
  await answers(MEMBERS[0] ?? 0);
}

/** Takes in what the peer logs, as its log daemon does. */
function startLog(): void {
  const socket = createSocket("udp4");
  socket.bind(LOG_PORT, HOST);
  cleanups.unshift(() => socket.close());
}

async function startPeer(haproxy: string, folder: string, { peer, port }: Scenario, pair: Pair): Promise<ChildProcess> {
  await writeFile(join(folder, "peer.pem"), pair.certificate + pair.private_key);
  await writeFile(join(folder, "crt-list"), `${join(folder, "peer.pem")}\n`);
  const config = await readFile(join(import.meta.dirname, `peer/${peer}.cfg`), "utf8");
  const file = join(folder, "peer.cfg");
  await writeFile(file, config.replaceAll("FOLDER", folder).replaceAll("LOG", `${HOST}:${LOG_PORT}`));
  const child = start(0, haproxy, file);
  await answers(port);
  return child;
}

async function startOurs(haproxy: string, folder: string, scenario: Scenario, pair: Pair): Promise<ChildProcess> {
  const theirs = await readFile(join(import.meta.dirname, "peer/tls.cfg"), "utf8");
  const tls = scenario.listener.tls ? { tls: { ...scenario.listener.tls, ciphers: ciphers(theirs) } } : {};
  const spec: AmphoraSpecInput = {
    revision: 1,
    amphora_id: idOf("amphora"),
    loadbalancer_id: idOf("loadBalancer"),
    role: "STANDALONE",
    vips: [HOST],
    certificates: [{ id: idOf("certificate"), certificate: pair.certificate, private_key: pair.private_key }],
    listeners: [listener(1, { ...scenario.listener, ...tls, protocol_port: OURS })],
    pools: [
      pool(
        1,
        MEMBERS.map((protocol_port, i) => member(i + 1, { address: HOST, protocol_port })),
        { health_monitor: monitor({ delay: 5, url_path: "/healthcheck" }), ...scenario.pool },
      ),
    ],
  };
  const layout = layoutIn(join(folder, "etc"), folder);
  await writeFiles(render(parseSpec(spec), layout), layout);
  const child = start(0, haproxy, targetOf(HAPROXY_CFG, layout));
  await answers(OURS);
  return child;
}

function start(core: number, haproxy: string, file: string): ChildProcess {
  const child = spawn("taskset", ["-c", String(core), haproxy, "-db", "-f", file], { stdio: "ignore" });
  cleanups.unshift(() => child.kill("SIGKILL"));
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}

async function answers(port: number): Promise<void> {
  const isOpen = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect(port, HOST, () => resolve(socket.destroy() !== undefined));
      socket.on("error", () => resolve(false));
    });
  for (let tries = 0; !(await isOpen()); tries++) {
    if (tries > 500) throw new Error(`nobody listens on ${port}`);
    await sleep(10);
  }
}

async function measured(haproxy: ChildProcess, { load, listener }: Scenario, port: number): Promise<Result> {
  const before = await cpuOf(haproxy.pid ?? 0);
  const started = performance.now();
  const { count, p99 } = await load(`${listener.tls ? "https" : "http"}://${HOST}:${port}/`, port);
  const seconds = (performance.now() - started) / 1000;
  if (count === 0) throw new Error("nothing was answered");
  return { cpu: ((await cpuOf(haproxy.pid ?? 0)) - before) / 1000 / count, perSecond: count / seconds, p99 };
}

/** What a process with one thread has used, in ns (Documentation/scheduler/sched-stats.rst). */
async function cpuOf(pid: number): Promise<number> {
  return Number((await readFile(`/proc/${pid}/schedstat`, "utf8")).split(" ")[0]);
}

function kept(url: string) {
  return wrk(url, []);
}

function each(url: string) {
  return wrk(url, ["-H", "Connection: close"]);
}

/** Few connections: what a member holds back for each is large, too. */
function large(url: string) {
  return wrk(`${url}large`, [], 8);
}

async function wrk(url: string, options: string[], connections = CONNECTIONS) {
  const args = ["-t", "1", "-c", String(connections), "-d", `${SECONDS}s`, "--latency", ...options, url];
  const { stdout } = await execa("taskset", ["-c", "1", "wrk", ...args]);
  const [, number = "0", unit = "ms"] = /99%\s+([\d.]+)(us|ms|s)/.exec(stdout) ?? [];
  const failed = /Non-2xx or 3xx responses: (\d+)/.exec(stdout)?.[1];
  if (failed !== undefined) throw new Error(`${failed} requests were not served:\n${stdout}`);
  return {
    count: Number(/(\d+) requests in/.exec(stdout)?.[1] ?? 0),
    p99: Number(number) * { us: 0.001, ms: 1, s: 1000 }[unit as "ms"],
  };
}

function handshakes(...options: string[]): LoadOf {
  return async (_, port) => {
    const args = ["-c", "1", "openssl", "s_time", "-connect", `${HOST}:${port}`, "-time", String(SECONDS), ...options];
    const { stdout } = await execa("taskset", args);
    return { count: Number(/(\d+) connections in [\d.]+ real/.exec(stdout)?.[1] ?? 0), p99: null };
  };
}

/** The median of each figure; of the CPU, the least as well. */
function text(results: readonly Result[]): string {
  const sorted = (values: number[]) => values.sort((a, b) => a - b);
  const median = (values: number[]) => sorted(values)[Math.floor(values.length / 2)] ?? 0;
  const cpu = results.map((each) => each.cpu);
  const p99 = results.flatMap((each) => each.p99 ?? []);
  return [
    `CPU ${median(cpu).toFixed(1).padStart(7)} µs (least ${Math.min(...cpu).toFixed(1)})`,
    `${median(results.map((each) => each.perSecond))
      .toFixed(0)
      .padStart(7)}/s`,
    ...(p99.length > 0 ? [`p99 ${median(p99).toFixed(1)} ms`] : []),
  ].join("   ");
}
