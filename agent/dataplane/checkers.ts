/**
 * The keepalived that checks members, and keeps IPVS's table by what it finds. It leaves the table as it is when it ends
 * (-I): connections go on without it. On a reload, members that stay are neither removed nor checked anew.
 */
import { chown, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import writeFileAtomic from "write-file-atomic";
import { CHECK_MEMBER } from "../../templates/keepalived.ts";
import { CommandError, run } from "./inside.ts";
import { Keepalived, KeepalivedError, type KeepalivedOptions, keepalivedVersion } from "./keepalived.ts";

export interface CheckersOptions extends Pick<KeepalivedOptions, "binary" | "namespace" | "configFile" | "runDir"> {
  /** as whom checks run that are commands */
  readonly scriptUser: string;
}

export class Checkers {
  readonly #options: CheckersOptions;
  readonly #keepalived: Keepalived;
  /** of this keepalived, once it is known */
  #version: string | null = null;
  #scriptIds: readonly [number, number] | null = null;

  constructor(options: CheckersOptions) {
    this.#options = options;
    this.#keepalived = new Keepalived({ ...options, part: "checkers", words: ["--dont-release-ipvs"] });
  }

  /** Such as 2.3.3; null when there is no keepalived. */
  async version(): Promise<string | null> {
    this.#version ??= await keepalivedVersion(this.#options.binary);
    return this.#version;
  }

  /**
   * Has keepalived read a configuration without using it.
   * @throws {KeepalivedError} with keepalived's own words when it refuses
   */
  async check(text: string): Promise<void> {
    await this.#install();
    await this.#keepalived.check(text, "outside");
  }

  /** The process, or null when it does not run. */
  pid(): Promise<number | null> {
    return this.#keepalived.pid();
  }

  /** Starts it on the file in place. @throws {KeepalivedError} with its last words */
  async start(): Promise<void> {
    await this.#install();
    await this.#keepalived.start();
  }

  /** Has it read its file again. @throws {KeepalivedError} */
  reload(): Promise<void> {
    return this.#keepalived.reload();
  }

  /** Ends it, if it runs. IPVS's table stays. */
  stop(): Promise<void> {
    return this.#keepalived.stop();
  }

  /** Keeps its log from growing without end, and forgets what was counted of members that are gone. */
  async tidy(): Promise<void> {
    await this.#keepalived.trimLog();
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
    this.#scriptIds ??= await idsOf(scriptUser);
    await chown(folder, ...this.#scriptIds);
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
