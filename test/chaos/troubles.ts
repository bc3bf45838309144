/** What befalls a deployment: deaths, stops and cuts of controllers, agents, data planes and the database. */
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { signal } from "../../agent/process.ts";
import type { Postgres } from "../support/postgres.ts";
import type { ControllerProcess } from "./controllers.ts";
import type { Random } from "./random.ts";

export interface Victims {
  readonly controllers: readonly ControllerProcess[];
  readonly database: Postgres;
  /** where the amphorae of the host keep what is theirs */
  readonly computeDir: string;
}

export interface Trouble {
  readonly at: number;
  readonly what: string;
  /** the amphora whose data plane died */
  readonly amphora: string | null;
  /** one whose agent hung: it may be replaced, and what goes through it then is cut */
  readonly hung?: string | null;
}

type Kind = (victims: Victims, random: Random) => Promise<Omit<Trouble, "at">>;

const TABLE = "chaos";

const KINDS: Readonly<Record<string, Kind>> = {
  async "a controller is killed"({ controllers }, random) {
    const victim = random.of(controllers);
    victim.kill();
    return told(`controller ${victim.index} killed`);
  },
  async "a controller is stopped for a while"({ controllers }, random) {
    const victim = random.of(controllers);
    // some for longer than a lease
    const time = random.next() < 0.3 ? random.between(16_000, 20_000) : random.between(1000, 6000);
    victim.freeze();
    setTimeout(() => victim.thaw(), time);
    return told(`controller ${victim.index} stopped for ${time} ms`);
  },
  async "a controller loses the database"({ controllers }, random) {
    const victim = random.of(controllers);
    const time = random.between(1000, 6000);
    const quietly = random.next() < 0.5;
    if (quietly) victim.cable.swallow();
    else await victim.cable.cut();
    setTimeout(() => void victim.cable.mend(), time);
    return told(`controller ${victim.index} without the database for ${time} ms${quietly ? ", quietly" : ""}`);
  },
  async "a controller hears no heartbeats"({ controllers }, random) {
    const { index, heartbeatPort } = random.of(controllers);
    const time = random.between(3000, 8000);
    const rule = `add rule inet ${TABLE} input udp dport ${heartbeatPort} drop`;
    await execa("nft", [
      `add table inet ${TABLE}; add chain inet ${TABLE} input { type filter hook input priority 0; }; ${rule}`,
    ]);
    setTimeout(() => void hear(), time);
    return told(`controller ${index} deaf for ${time} ms`);
  },
  async "an agent is killed"({ computeDir }, random) {
    const victim = await anAgent(computeDir, random);
    if (victim !== null) signal(victim.pid, "SIGKILL");
    return told(`agent of ${victim?.id} killed`);
  },
  async "an agent is stopped for a while"({ computeDir }, random) {
    const victim = await anAgent(computeDir, random);
    const time = random.between(1000, 12_000);
    if (victim !== null) {
      signal(victim.pid, "SIGSTOP");
      setTimeout(() => signal(victim.pid, "SIGCONT"), time);
    }
    return { ...told(`agent of ${victim?.id} stopped for ${time} ms`), hung: victim?.id ?? null };
  },
  async "a data plane dies"({ computeDir }, random) {
    const victim = await anAgent(computeDir, random);
    if (victim === null) return told("there is no data plane");
    for (const { id, pid } of await processesOf(computeDir, /haproxy/)) if (id === victim.id) signal(pid, "SIGKILL");
    return { what: `HAProxy of ${victim.id} killed`, amphora: victim.id };
  },
  async "the database dies"({ database }, random) {
    const time = random.between(500, 5000);
    await database.fail();
    await sleep(time);
    await database.back();
    return told(`the database was gone for ${time} ms`);
  },
  async "the database does not answer"({ database }, random) {
    const time = random.between(500, 8000);
    await database.freeze();
    await sleep(time);
    await database.thaw();
    return told(`the database did not answer for ${time} ms`);
  },
};

/** One trouble after the other, until the signal. @returns what there was */
export async function troubles(
  victims: Victims,
  random: Random,
  pause: number,
  signal: AbortSignal,
): Promise<Trouble[]> {
  const all: Trouble[] = [];
  while (!signal.aborted) {
    const at = Date.now();
    const kind = KINDS[random.of(Object.keys(KINDS))];
    if (kind !== undefined) all.push({ at, ...(await kind(victims, random)) });
    await sleep(random.between(pause / 2, pause * 1.5));
  }
  return all;
}

/** Everything is as it was, or comes back by itself. */
export async function heal({ controllers, database, computeDir }: Victims): Promise<void> {
  await hear();
  await database.thaw().catch(() => undefined);
  await database.back();
  for (const each of controllers) {
    each.thaw();
    await each.cable.mend();
  }
  for (const { pid } of await agents(computeDir)) signal(pid, "SIGCONT");
}

async function hear(): Promise<void> {
  await execa("nft", ["delete", "table", "inet", TABLE], { reject: false });
}

function told(what: string): Omit<Trouble, "at"> {
  return { what, amphora: null };
}

interface AgentProcess {
  readonly id: string;
  readonly pid: number;
}

async function anAgent(computeDir: string, random: Random): Promise<AgentProcess | null> {
  const all = await agents(computeDir);
  return all.length === 0 ? null : random.of(all);
}

/** Those that run, by amphora. */
function agents(computeDir: string): Promise<AgentProcess[]> {
  return processesOf(computeDir, /agent\/main\.ts/);
}

/** Processes that were started with a file of an amphora's folder. */
async function processesOf(computeDir: string, program: RegExp): Promise<AgentProcess[]> {
  const found: AgentProcess[] = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    const [, id] = command.split(`${computeDir}/amphorae/`)[1]?.match(/^([0-9a-f-]{36})\//) ?? [];
    if (id !== undefined && program.test(command)) found.push({ id, pid: Number(pid) });
  }
  return found.sort((a, b) => (a.id < b.id ? -1 : 1));
}
