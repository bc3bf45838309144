/**
 * All that knows how a keepalived is started, reloaded and ended. It runs in the tenant's namespace and outlives the
 * agent.
 */
import { spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import writeFileAtomic from "write-file-atomic";
import { signal } from "../process.ts";
import { DaemonLog } from "./daemon-log.ts";
import { CommandError, wordsInside } from "./inside.ts";

/** keepalived did not start, or refuses a configuration; the message holds what it said. */
export class KeepalivedError extends Error {
  override readonly name = "KeepalivedError";
}

/** It reads thousands of members within this (ms). */
const START_LIMIT = 20_000;
const POLL = 20;

export interface KeepalivedOptions {
  readonly binary: string;
  readonly namespace: string;
  readonly configFile: string;
  readonly runDir: string;
  /** which of its parts runs */
  readonly part: "checkers" | "vrrp";
  /** further words of its command line */
  readonly words?: readonly string[];
}

const PARTS = { checkers: "--check", vrrp: "--vrrp" } as const;

/** Such as 2.3.3; null when there is no such program. */
export async function keepalivedVersion(binary: string): Promise<string | null> {
  // it writes its version to standard error
  const { stderr } = await execa(binary, ["--version"], { reject: false, timeout: 30_000 });
  return /^Keepalived v(\S+)/m.exec(stderr ?? "")?.[1] ?? null;
}

export class Keepalived {
  readonly #options: KeepalivedOptions;
  readonly #pidFile: string;
  readonly #log: DaemonLog;

  constructor(options: KeepalivedOptions) {
    this.#options = options;
    this.#pidFile = join(options.runDir, `keepalived-${options.part}.pid`);
    this.#log = new DaemonLog(join(options.runDir, `keepalived-${options.part}.log`));
  }

  /**
   * Has keepalived read a configuration without using it.
   * @param where it is read: among the tenant's interfaces, or outside of any tenant's namespace
   * @throws {KeepalivedError} with keepalived's own words when it refuses
   */
  async check(text: string, where: "inside" | "outside"): Promise<void> {
    const { binary, namespace, part, runDir } = this.#options;
    const candidate = join(runDir, `${part}.conf.new`);
    // 2.2 ends itself in a mere check when a command is to run as somebody else (notify.c, check_script_secure)
    const checked = text.replace(/^( *script_user) .*$/m, "$1 root");
    const words = [binary, "--config-test", PARTS[part], `--use-file=${candidate}`];
    const [command = binary, ...args] = where === "inside" ? wordsInside(namespace, words) : words;
    try {
      await writeFileAtomic(candidate, checked, { mode: 0o600 });
      const result = await execa(command, args, { reject: false, timeout: 30_000, stdin: "ignore", all: true });
      const said = complaints(result.all ?? "");
      if (result.failed && (result.exitCode !== 5 || said !== "")) {
        throw new KeepalivedError(said || result.shortMessage || "keepalived failed");
      }
    } finally {
      await rm(candidate, { force: true });
    }
  }

  /** The process, or null when it does not run. */
  async pid(): Promise<number | null> {
    const pid = Number(await readFile(this.#pidFile, "utf8").catch(() => ""));
    if (!(pid > 1)) return null;
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    return command.includes(this.#options.configFile) ? pid : null;
  }

  /** Starts it on the file in place. @throws {KeepalivedError} with its last words @throws {CommandError} it takes too long */
  async start(): Promise<void> {
    const { binary, namespace, configFile, runDir, part, words = [] } = this.#options;
    const offset = await this.#log.length();
    const log = this.#log.openToWrite();
    const childFile = join(runDir, `keepalived-${part}-child.pid`);
    const [file, ...args] = wordsInside(namespace, [
      binary,
      PARTS[part],
      ...words,
      "--dont-fork",
      "--log-console",
      "--no-syslog",
      `--use-file=${configFile}`,
      `--pid=${this.#pidFile}`,
      `--${part}_pid=${childFile}`,
    ]);
    for (const each of [this.#pidFile, childFile]) await rm(each, { force: true });
    // not execa: it ties a child to the life of its parent, and keepalived is to outlive the agent
    const child = spawn(file, args, { detached: true, stdio: ["ignore", log, log], cwd: "/" });
    closeSync(log);
    child.unref();
    let ended = false;
    child.on("error", () => {
      ended = true;
    });
    child.on("exit", () => {
      ended = true;
    });
    await this.#awaitWords("Startup complete", offset, () => ended);
  }

  /** Has it read its file again. @throws {KeepalivedError} @throws {CommandError} it takes too long, or is gone */
  async reload(): Promise<void> {
    const offset = await this.#log.length();
    const pid = await this.pid();
    if (pid === null || !signal(pid, "SIGHUP")) throw new CommandError("keepalived is gone");
    await this.#awaitWords("Reload complete", offset, () => false);
  }

  /** Ends it, if it runs. */
  async stop(): Promise<void> {
    const pid = await this.pid();
    if (pid === null) return;
    signal(pid, "SIGTERM");
    const deadline = Date.now() + START_LIMIT;
    while (Date.now() < deadline) {
      if ((await this.pid()) === null) return;
      await sleep(POLL);
    }
    signal(pid, "SIGKILL");
  }

  /** Keeps its log from growing without end. */
  async trimLog(): Promise<void> {
    await this.#log.trim();
  }

  async #awaitWords(words: string, offset: number, ended: () => boolean): Promise<void> {
    const deadline = Date.now() + START_LIMIT;
    for (;;) {
      // before its words are read: what it said last is among them
      const [isGone, isLate] = [ended(), Date.now() > deadline];
      const said = await this.#log.since(offset);
      if (said.includes(words)) return;
      if (isGone || isLate) {
        const complaint = complaints(said);
        if (isGone || complaint !== "") throw new KeepalivedError(complaint || "keepalived ended at once");
        throw new CommandError(`keepalived has not said "${words}" within ${START_LIMIT} ms`);
      }
      await sleep(POLL);
    }
  }
}

/** What is said of a service whose members all have weight 0: nothing is wrong with it. */
const HARMLESS = [
  /^Warning - quorum 1 for \S+ exceeds total weight of real servers 0, /,
  /: hysteresis 0 >= quorum 0; /,
];

/** The lines that tell what is wrong, without the time in front of each. */
export function complaints(text: string): string {
  return text
    .split("\n")
    .map((line) => line.replace(/^\w{3} \w{3} +\d+ [\d:]{8} \d{4}: /, "").trim())
    .filter((line) => line !== "" && !HARMLESS.some((each) => each.test(line)))
    .slice(-8)
    .join("; ");
}
