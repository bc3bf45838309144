/** All that knows how HAProxy is started, reloaded and asked. It runs in the tenant's namespace and outlives the agent. */
import { spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import writeFileAtomic from "write-file-atomic";
import { REPLICAS_BACKEND } from "../../templates/haproxy/group.ts";
import type { AmphoraSpec } from "../../templates/spec.ts";
import { hasEnded, signal } from "../process.ts";
import { DaemonLog } from "./daemon-log.ts";
import { ask, type Command, HaproxyError, type Processes, showProcesses, tell } from "./haproxy-socket.ts";
import { parseChecks, parseStat, SHOW_STAT, type StatRow, stateForReload } from "./haproxy-stats.ts";
import { CommandError } from "./inside.ts";
import { type Endpoint, strangersOn } from "./sockets.ts";

/** A new worker binds and answers well within this (ms). */
const START_LIMIT = 20_000;
/** A master that reloads hears nobody until it has read its configuration, and tried for 2 s to bind (ms). */
const DEAF_LIMIT = 5000;
const POLL = 10;
/** Nobody's spec is at fault: the next one starts HAProxy again. */
const GONE = "HAProxy is gone";
/** HAProxy 2.6 waits 5 s for tables of a predecessor that do not come, and 5 s for those of others (ms). */
const HANDOVER_LIMIT = 11_000;
/** Learnt from the local peer and from remote ones, or waited long enough (HAProxy's PEERS_RESYNC_STATEMASK). */
const RESYNC_FINISHED = 3;

export interface HaproxyOptions {
  readonly binary: string;
  readonly namespace: string;
  readonly configFile: string;
  readonly runDir: string;
}

/** Counters of each worker that lives, old ones included, by process id; of IPVS by the name of the service. */
export type WorkerStats = ReadonlyMap<number | string, readonly StatRow[]>;

export class Haproxy {
  readonly #options: HaproxyOptions;
  /** where the master listens */
  readonly masterSocket: string;
  readonly #pidFile: string;
  readonly #log: DaemonLog;

  constructor(options: HaproxyOptions) {
    this.#options = options;
    this.masterSocket = `${options.runDir}/haproxy-master.sock`;
    this.#pidFile = `${options.runDir}/haproxy.pid`;
    this.#log = new DaemonLog(`${options.runDir}/haproxy.log`);
  }

  /** HAProxy's version, such as 2.6.12. @throws {HaproxyError} when there is no HAProxy */
  async version(): Promise<string> {
    const { stdout } = await this.#run([this.#options.binary, "-v"]);
    return /version (\S+?)[ -]/.exec(stdout)?.[1] ?? "unknown";
  }

  /**
   * Has HAProxy read a configuration without using it.
   * @throws {HaproxyError} with HAProxy's own words when it refuses
   */
  async check(configFile: string): Promise<void> {
    await this.#run([this.#options.binary, "-c", "-f", configFile]);
  }

  /** The processes now, or null when there is no master, or one that does not answer even in `DEAF_LIMIT` ms. */
  async processes(): Promise<Processes | null> {
    const deadline = Date.now() + DEAF_LIMIT;
    for (;;) {
      const found = await this.#processesNow();
      if (found !== null || Date.now() > deadline || (await this.#masterPid()) === null) return found;
      await sleep(POLL);
    }
  }

  async #processesNow(): Promise<Processes | null> {
    try {
      return await showProcesses(this.masterSocket, 2000);
    } catch (error) {
      if (error instanceof HaproxyError) return null;
      throw error;
    }
  }

  /**
   * Which of these addresses another process listens on. A reload would only find out after it has made the running
   * worker deaf for 2 s: HAProxy takes whoever holds a port for its own predecessor, and has it step aside.
   * @throws {CommandError} HAProxy ends meanwhile
   */
  async taken(wanted: readonly Endpoint[]): Promise<Endpoint[]> {
    const processes = await this.processes();
    if (processes === null || wanted.length === 0) return [];
    const pids = [processes.master, ...(processes.worker === null ? [] : [processes.worker]), ...processes.oldWorkers];
    const strangers = await strangersOn(wanted, processes.master, pids);
    // workers outlive a master that was killed for a moment
    if (strangers.length > 0 && (await hasEnded(processes.master))) throw new CommandError(GONE);
    return strangers;
  }

  /**
   * Starts the master on the file in place, in the namespace.
   * @throws {HaproxyError} with its last words @throws {CommandError} it takes too long
   */
  async start(): Promise<void> {
    await this.#endStray();
    await this.#saveState("1\n");
    const offset = await this.#log.length();
    const log = this.#log.openToWrite();
    const { binary, namespace, configFile } = this.#options;
    const args = [
      `--net=/run/netns/${namespace}`,
      "--",
      binary,
      "-W",
      "-f",
      configFile,
      "-S",
      `${this.masterSocket},mode,600`,
    ];
    // not execa: it ties a child to the life of its parent, and HAProxy is to outlive the agent
    const child = spawn("nsenter", args, { detached: true, stdio: ["ignore", log, log], cwd: "/" });
    closeSync(log);
    child.unref();
    // nsenter becomes HAProxy: the process id stays
    await writeFileAtomic(this.#pidFile, String(child.pid ?? ""));
    let ended = false;
    child.on("error", () => {
      ended = true;
    });
    child.on("exit", () => {
      ended = true;
    });
    const deadline = Date.now() + START_LIMIT;
    while (!ended && Date.now() < deadline) {
      const worker = (await this.#processesNow())?.worker;
      if (worker && (await this.#serves())) return;
      await sleep(POLL);
    }
    await this.#endStray();
    throw await this.#failure("HAProxy did not start", offset, ended);
  }

  /**
   * Puts the file in place into use: a new worker takes over the listening sockets, the old one finishes its
   * connections. Health states of members that stay are handed over, and tables of clients and their members.
   * @throws {HaproxyError} when the new worker failed, with its words; then the old worker still serves
   * @throws {CommandError} it takes too long, or HAProxy is gone
   */
  async reload(next: AmphoraSpec): Promise<void> {
    const before = await this.processes();
    if (before === null) throw new CommandError(GONE);
    const handsOver = await this.#canHandOver();
    await this.#saveState(stateForReload(await this.#hear("@1 show servers state"), next));
    const offset = await this.#log.length();
    if (!signal(before.master, "SIGUSR2")) throw new CommandError(GONE);
    const what = "HAProxy kept its old configuration";
    const deadline = Date.now() + START_LIMIT;
    while (Date.now() < deadline) {
      await sleep(POLL);
      const now = await this.#processesNow();
      if (now === null && (await hasEnded(before.master))) throw new CommandError(GONE);
      if (now === null || now.reloads === before.reloads) continue;
      if (now.failed > 0) throw await this.#failure(what, offset, true);
      if (now.worker === null || now.worker === before.worker || !(await this.#serves())) continue;
      // another reload before would hand over only a part
      if (handsOver) await this.#tablesComplete();
      return;
    }
    throw await this.#failure(what, offset, false);
  }

  /**
   * Whether the serving worker will hand its tables to the next one. It does not as long as it waits for others itself,
   * which HAProxy 2.6 does for some seconds after it was started: then that is waited for, unless there is nothing to hand over.
   */
  async #canHandOver(): Promise<boolean> {
    const state = await this.#tables();
    if (state !== "awaited") return state === "complete";
    const tables = await this.#hear("@1 show table");
    return /used:[1-9]/.test(tables) && (await this.#tablesComplete());
  }

  /** The serving worker's answer, before anything has changed. @throws {CommandError} when there is none */
  #hear(question: string): Promise<string> {
    return ask(this.masterSocket, question).catch((error: unknown) => {
      throw error instanceof HaproxyError ? new CommandError(error.message) : error;
    });
  }

  /** Waits until the worker has its predecessor's tables. False: they do not come. */
  async #tablesComplete(): Promise<boolean> {
    const deadline = Date.now() + HANDOVER_LIMIT;
    while ((await this.#tables()) === "awaited") {
      if (Date.now() > deadline) return false;
      await sleep(POLL);
    }
    return true;
  }

  /** Whether the serving worker still waits for others' tables; null when there is no answer. */
  async #tables(): Promise<"awaited" | "complete" | null> {
    const answer = await ask(this.masterSocket, "@1 show peers").catch(() => "");
    const flags = /id=amphora .*?flags=0x([0-9a-f]+)/s.exec(answer)?.[1];
    if (flags === undefined) return null;
    return (Number.parseInt(flags, 16) & RESYNC_FINISHED) === RESYNC_FINISHED ? "complete" : "awaited";
  }

  /** Ends HAProxy, and with it every connection. */
  async stop(): Promise<void> {
    await this.#endStray();
  }

  /** Changes the running worker. @throws {HaproxyError} when a command was refused; earlier ones have taken effect */
  async change(commands: readonly Command[]): Promise<void> {
    await tell(this.masterSocket, commands);
  }

  /** Statistics of every worker. @throws {HaproxyError} when the master or the serving worker does not answer */
  async stats(): Promise<{ worker: number; rows: WorkerStats }> {
    const processes = await showProcesses(this.masterSocket);
    if (processes.worker === null) throw new HaproxyError("HAProxy has no worker");
    const rows = new Map([
      [processes.worker, parseStat(await ask(this.masterSocket, `@!${processes.worker} ${SHOW_STAT}`))],
    ]);
    for (const old of processes.oldWorkers) {
      const answer = await ask(this.masterSocket, `@!${old} ${SHOW_STAT}`).catch(() => "");
      rows.set(old, parseStat(answer));
    }
    return { worker: processes.worker, rows };
  }

  /**
   * Whether each of the other replicas serves, by amphora id; null: it has not been checked yet. Empty when HAProxy does
   * not answer.
   */
  async replicas(): Promise<Map<string, boolean | null>> {
    const answer = await ask(this.masterSocket, `@1 show servers state ${REPLICAS_BACKEND}`).catch((error: unknown) => {
      if (error instanceof HaproxyError) return "";
      throw error;
    });
    return parseChecks(answer);
  }

  /** Ends a master that runs but does not answer: two at once would share the listening ports. */
  async #endStray(): Promise<void> {
    const pid = await this.#masterPid();
    if (pid !== null) signal(pid, "SIGKILL");
  }

  /** The master's process, whether it answers or not. */
  async #masterPid(): Promise<number | null> {
    const pid = Number(await readFile(this.#pidFile, "utf8").catch(() => ""));
    if (!(pid > 1)) return null;
    for (let tries = 0; tries < 10; tries++) {
      const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => null);
      if (command === null) return null;
      if (command !== "") return command.includes(this.masterSocket) ? pid : null;
      // it is a zombie, or in the midst of execve(2), as a master is twice in each reload
      await sleep(POLL);
    }
    return null;
  }

  /** Whether the newest worker answers a request on the socket that every configuration listens on. */
  #serves(): Promise<boolean> {
    return new Promise((resolve) => {
      const call = request(
        { socketPath: `${this.#options.runDir}/idle.sock`, path: "/", timeout: 1000 },
        (response) => {
          response.resume();
          resolve(response.statusCode === 200);
        },
      );
      call.on("timeout", () => call.destroy());
      call.on("error", () => resolve(false));
      call.end();
    });
  }

  async #saveState(text: string): Promise<void> {
    await writeFileAtomic(`${this.#options.runDir}/servers.state`, text, { mode: 0o600 });
  }

  /** Keeps its log from growing without end: each member that goes up or down is told there. */
  trimLog(): Promise<void> {
    return this.#log.trim();
  }

  /**
   * What went wrong, in the words that HAProxy's log holds since it had that length.
   * @param failed false: it may only be slow, which is nobody's fault, unless it complains
   */
  async #failure(what: string, offset: number, failed: boolean): Promise<HaproxyError | CommandError> {
    const text = await this.#log.since(offset);
    if (!failed && !/^\[ALERT\]/m.test(text)) return new CommandError(`${what} within ${START_LIMIT} ms`);
    const said = complaints(text);
    return new HaproxyError(`${what}: ${said.join("; ")}`, said);
  }

  async #run(command: readonly [string, ...string[]]): Promise<{ stdout: string }> {
    const [file, ...args] = command;
    const result = await execa(file, args, { reject: false, timeout: 30_000, stdin: "ignore" });
    if (!result.failed) return { stdout: result.stdout };
    if (result.timedOut) throw new CommandError(result.shortMessage);
    const said = complaints(result.stderr);
    throw new HaproxyError(said.join("; ") || result.shortMessage || `${file} failed`, said);
  }
}

const COMPLAINTS = 20;

/** The alerts in what HAProxy printed, or all of it when there are none. */
export function complaints(text: string): string[] {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  const alerts = lines.filter((line) => line.startsWith("[ALERT]"));
  return (alerts.length > 0 ? alerts : lines)
    .map((line) => line.replace(/^\[\w+\]\s*\(\d+\)\s*:\s*/, ""))
    .slice(0, COMPLAINTS);
}
