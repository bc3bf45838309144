/**
 * All that knows how the keepalived that checks members is started, reloaded and asked. It runs in the tenant's
 * namespace and outlives the agent. It leaves IPVS's table as it is when it ends (-I): connections go on without it.
 */
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { chown, mkdir, readdir, readFile, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import writeFileAtomic from "write-file-atomic";
import { CHECK_MEMBER } from "../../templates/keepalived.ts";
import { CommandError, run, wordsInside } from "./inside.ts";

/** keepalived did not start, or refuses a configuration; the message holds what it said. */
export class KeepalivedError extends Error {
  override readonly name = "KeepalivedError";
}

/** It reads thousands of members within this, or never (ms). */
const START_LIMIT = 10_000;
const POLL = 20;
/** Its log lies in memory: what is longer is cut off. */
const MAX_LOG = 4 * 1024 * 1024;

export interface KeepalivedOptions {
  readonly binary: string;
  readonly namespace: string;
  readonly configFile: string;
  readonly runDir: string;
  /** as whom checks run that are commands */
  readonly scriptUser: string;
}

export class Keepalived {
  readonly #options: KeepalivedOptions;
  readonly #pidFile: string;
  readonly #log: string;

  constructor(options: KeepalivedOptions) {
    this.#options = options;
    this.#pidFile = join(options.runDir, "keepalived-checkers.pid");
    this.#log = join(options.runDir, "keepalived-checkers.log");
  }

  /** Such as 2.3.3; null when there is no keepalived. */
  async version(): Promise<string | null> {
    // it writes its version to standard error
    const { stderr } = await execa(this.#options.binary, ["--version"], { reject: false, timeout: 5000 });
    return /^Keepalived v(\S+)/m.exec(stderr ?? "")?.[1] ?? null;
  }

  /**
   * Has keepalived read a configuration without using it.
   * @throws {KeepalivedError} with keepalived's own words when it refuses
   */
  async check(text: string): Promise<void> {
    await this.#install();
    const { binary, runDir, scriptUser } = this.#options;
    const candidate = join(runDir, "checkers.conf.new");
    // 2.2 ends itself in a mere check when a command is to run as somebody else (notify.c, check_script_secure)
    const checked = text.replace(`script_user ${scriptUser}\n`, "script_user root\n");
    try {
      await writeFileAtomic(candidate, checked, { mode: 0o600 });
      const result = await execa(binary, ["-t", "-C", "-f", candidate], {
        reject: false,
        timeout: 30_000,
        stdin: "ignore",
        all: true,
      });
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

  /** Starts it on the file in place. @throws {KeepalivedError} with its last words */
  async start(): Promise<void> {
    await this.#install();
    const { binary, namespace, configFile, runDir } = this.#options;
    const offset = await this.#logLength();
    const log = openSync(this.#log, "a", 0o600);
    const [file, ...args] = wordsInside(namespace, [
      binary,
      "--check",
      "--dont-release-ipvs",
      "--dont-fork",
      "--log-console",
      "--no-syslog",
      `--use-file=${configFile}`,
      `--pid=${this.#pidFile}`,
      `--checkers_pid=${join(runDir, "keepalived-checkers-child.pid")}`,
    ]);
    await rm(this.#pidFile, { force: true });
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

  /** Has it read its file again. Members that stay are neither removed nor checked anew. @throws {KeepalivedError} */
  async reload(): Promise<void> {
    const pid = await this.pid();
    if (pid === null) throw new KeepalivedError("keepalived is gone");
    const offset = await this.#logLength();
    process.kill(pid, "SIGHUP");
    await this.#awaitWords("Reload complete", offset, () => false);
  }

  /** Ends it, if it runs. IPVS's table stays. */
  async stop(): Promise<void> {
    const pid = await this.pid();
    if (pid === null) return;
    process.kill(pid, "SIGTERM");
    const deadline = Date.now() + START_LIMIT;
    while (Date.now() < deadline) {
      if ((await this.pid()) === null) return;
      await sleep(POLL);
    }
    process.kill(pid, "SIGKILL");
  }

  /** Keeps its log from growing without end, and forgets what was counted of members that are gone. */
  async tidy(): Promise<void> {
    if ((await this.#logLength()) > MAX_LOG) await truncate(this.#log);
    const config = await readFile(this.#options.configFile, "utf8").catch(() => null);
    if (config === null) return;
    const folder = join(this.#options.runDir, "checks");
    for (const name of await readdir(folder).catch(() => [])) {
      if (!config.includes(`/${name}"`)) await rm(join(folder, name), { force: true });
    }
  }

  /** The command for checks, and the folder for what it counts. */
  async #install(): Promise<void> {
    const { runDir, scriptUser } = this.#options;
    await writeFileAtomic(join(runDir, "check-member"), CHECK_MEMBER, { mode: 0o755 });
    const folder = join(runDir, "checks");
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await chown(folder, ...(await idsOf(scriptUser)));
  }

  async #awaitWords(words: string, offset: number, ended: () => boolean): Promise<void> {
    const deadline = Date.now() + START_LIMIT;
    for (;;) {
      const over = ended() || Date.now() > deadline;
      const said = await this.#said(offset);
      if (said.includes(words)) return;
      if (over) throw new KeepalivedError(complaints(said) || `keepalived never said "${words}"`);
      await sleep(POLL);
    }
  }

  async #said(offset: number): Promise<string> {
    const log = await readFile(this.#log).catch(() => Buffer.alloc(0));
    return log.subarray(offset).toString("utf8");
  }

  async #logLength(): Promise<number> {
    return (await stat(this.#log).catch(() => null))?.size ?? 0;
  }
}

async function idsOf(user: string): Promise<[number, number]> {
  const id = async (option: string) => Number((await run(["id", option, user])).trim());
  try {
    return [await id("-u"), await id("-g")];
  } catch (error) {
    if (error instanceof CommandError) throw new KeepalivedError(`there is no user ${user} to run checks as`);
    throw error;
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
