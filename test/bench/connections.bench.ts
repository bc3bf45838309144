/**
 * Listing connections out of a large kernel table: a listener's 100 among all others, and all 100,000 of one. Entries are
 * made up, and loaded into a namespace of their own; the agent's code reads them as it does on an instance.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { runInside } from "../../agent/dataplane/inside.ts";
import { agentName } from "../../agent/protocol.ts";
import { Authority } from "../../controller/amphorae/authority.ts";
import { marksOf } from "../../templates/ipvs.ts";
import { hexMark } from "../../templates/nftables.ts";
import { parseSpec } from "../../templates/spec.ts";
import { dropNamespace, makeNamespace } from "../support/namespaces.ts";
import { idOf, listener, member, pool, specInput } from "../support/specs.ts";
import type { Figures, Start } from "./connections-server.ts";
import { print } from "./figures.ts";

const SIZES = (process.env.BENCH_SIZES ?? "100000,1000000").split(",").map(Number);
const ROUNDS = 5;
const FEW = 100;
const MANY = 100_000;
const VIP = "10.77.0.5";
const MEMBER = "10.77.0.21";
const PLACE = { address: "127.0.0.1", port: 9443 } as const;
/** Beyond what is loaded, for those that the test itself makes. */
const SPARE = 10_000;

/** Entries that are written at a time. */
const CHUNK = 1000;
/** ms */
const LOAD_LIMIT = 300_000;

/** Listener 1 has few connections, listener 2 many, listener 3 the rest. */
const SPEC = specInput({
  interfaces: [{ name: "eth1", mac: "fa:16:3e:00:00:01", addresses: ["10.77.0.10/24"] }],
  vips: [VIP],
  listeners: [1, 2, 3].map((n) => listener(n, { protocol: "FORWARD_TCP", protocol_port: n })),
  pools: [pool(1, [member(1, { address: MEMBER })], { protocol: "FORWARD_TCP" })],
});

const cleanups: (() => unknown)[] = [];
try {
  await makeRoom(Math.max(...SIZES) + SPARE);
  for (const size of SIZES) await measured(size);
} finally {
  for (const cleanup of cleanups) await cleanup();
}

async function measured(size: number): Promise<void> {
  const namespace = await makeNamespace();
  const [server, ask] = await startServer(namespace);
  try {
    await load(namespace, size);
    console.log(`  ${size.toLocaleString("en")} entries`);
    const questions = [
      { what: `the ${FEW} of one listener`, query: `listener=${idOf("listener", 1)}`, expected: FEW },
      {
        what: "one of another, by client_src_ip",
        query: `listener=${idOf("listener", 2)}&client_src_ip=172.16.1.0`,
        expected: 1,
      },
      {
        what: `the ${MANY.toLocaleString("en")} of one listener`,
        query: `listener=${idOf("listener", 2)}`,
        expected: Math.min(MANY, size - FEW),
      },
      { what: "a page of 1,000 of those", query: `listener=${idOf("listener", 2)}&limit=1000`, expected: 1000 },
    ];
    for (const { what, query, expected } of questions) {
      // the first time has code compiled
      await ask(query);
      await told(server, "begin");
      const times: number[] = [];
      for (let i = 0; i < ROUNDS; i++) {
        const began = performance.now();
        const found = await ask(query);
        times.push(performance.now() - began);
        if (found !== expected) throw new Error(`${found} connections, not ${expected}`);
      }
      const { before, most, stall, work, cpu } = (await told(server, "end")) as Figures;
      print(what, times);
      const growth = `memory ${mib(before)} and ${mib(most - before)} MiB more at most`;
      console.log(
        `      ${growth}, longest stall ${stall.toFixed(1)} ms (of work ${work.toFixed(1)}), CPU of the agent ${(cpu / ROUNDS).toFixed(0)} ms each`,
      );
    }
  } finally {
    server.kill("SIGKILL");
    await dropNamespace(namespace);
  }
}

function mib(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}

/** Entries as IPVS leaves them, each of a client's own. */
async function load(namespace: string, size: number): Promise<void> {
  const marks = marksOf(parseSpec(SPEC));
  const line = (i: number) => {
    const n = i < FEW ? 1 : i < FEW + MANY ? 2 : 3;
    const client = `172.${16 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;
    return [
      `-A -p tcp -s ${client} -d ${VIP} --sport 40000 --dport ${n}`,
      `-r ${MEMBER} -q ${client} --reply-port-src 8080 --reply-port-dst 40000`,
      `--state ESTABLISHED -u ASSURED,SEEN_REPLY -t 86400 -m ${hexMark(marks.get(idOf("listener", n)) ?? 0)}\n`,
    ].join(" ");
  };
  const chunks = function* () {
    for (let i = 0; i < size; i += CHUNK) {
      yield Array.from({ length: Math.min(CHUNK, size - i) }, (_, n) => line(i + n)).join("");
    }
  };
  const folder = await mkdtemp(join(tmpdir(), "amphora-bench-"));
  try {
    const file = join(folder, "entries");
    await writeFile(file, chunks());
    await runInside(namespace, ["conntrack", "--load-file", file], { timeout: LOAD_LIMIT });
  } finally {
    await rm(folder, { recursive: true });
  }
  const count = Number((await runInside(namespace, ["conntrack", "-C"])).trim());
  if (count !== size) throw new Error(`${count} entries were loaded, not ${size}`);
}

/** The limit is the whole kernel's. */
async function makeRoom(entries: number): Promise<void> {
  const set = (value: number) =>
    execa("nsenter", [
      `--net=${process.env.AMPHORA_TEST_OUTSIDE ?? "/proc/1/ns/net"}`,
      "--",
      "sysctl",
      "-q",
      "-w",
      `net.netfilter.nf_conntrack_max=${value}`,
    ]);
  const before = Number(await readFile("/proc/sys/net/netfilter/nf_conntrack_max", "utf8"));
  if (before >= entries) return;
  await set(entries);
  cleanups.push(() => set(before));
}

/** @returns a process that serves connections, and how it is asked: the number of those that it answers with */
async function startServer(namespace: string): Promise<[ChildProcess, (query: string) => Promise<number>]> {
  const authority = await Authority.make();
  const id = idOf("amphora");
  const { bundle: identity } = await authority.issueAmphora(id, 1);
  const { bundle: controller } = await authority.issueController();
  const server = fork(join(import.meta.dirname, "connections-server.ts"), {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    // as on an instance: images/files/usr/bin/amphora-agent, agent/main.ts
    execArgv: ["--max-semi-space-size=4", "--semi-space-growth-factor=1"],
  });
  const start: Start = { spec: SPEC, namespace, identity, ...PLACE };
  await told(server, start);
  const ask = async (query: string) => {
    const call = request({
      ...PLACE,
      host: PLACE.address,
      agent: false,
      servername: agentName(id),
      ca: authority.certificate,
      cert: controller.certificate,
      key: controller.key,
      path: `/v1/connections?${query}`,
    });
    call.end();
    const [response] = (await once(call, "response")) as [AsyncIterable<Buffer>];
    let lines = 0;
    for await (const chunk of response) for (const byte of chunk) if (byte === 10) lines++;
    // the last line is the end
    return lines - 1;
  };
  return [server, ask];
}

async function told(server: ChildProcess, message: Start | "begin" | "end"): Promise<unknown> {
  const answer = once(server, "message");
  server.send(message);
  const [said] = await answer;
  return said;
}
