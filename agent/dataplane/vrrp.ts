/** The keepalived that speaks VRRP: who of the group holds the VIPs. It decides without the agent, and outlives it. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import writeFileAtomic from "write-file-atomic";
import { CHECK_SERVING, NOTE_STATE } from "../../templates/vrrp.ts";
import type { VrrpState } from "../protocol.ts";
import { Keepalived, type KeepalivedOptions } from "./keepalived.ts";

export type VrrpOptions = Pick<KeepalivedOptions, "binary" | "namespace" | "configFile" | "runDir">;

/** Why this amphora must not hold the VIPs: it is on its way out, or may have missed changes while it was away. */
export type Restraint = "STANDBY" | "WAITING";

export class Vrrp {
  readonly #options: VrrpOptions;
  readonly #keepalived: Keepalived;
  readonly #standbyFile: string;
  readonly #stateFile: string;

  constructor(options: VrrpOptions) {
    this.#options = options;
    this.#keepalived = new Keepalived({ ...options, part: "vrrp" });
    this.#standbyFile = join(options.runDir, "vrrp-standby");
    this.#stateFile = join(options.runDir, "vrrp-state");
  }

  /** The process, or null when it does not run. */
  pid(): Promise<number | null> {
    return this.#keepalived.pid();
  }

  /** Has keepalived read a configuration, where the interfaces are that it names. @throws {KeepalivedError} */
  async check(text: string): Promise<void> {
    await this.#install();
    await this.#keepalived.check(text, "inside");
  }

  /** Starts it on the file in place; VIPs that an earlier one left behind go. @throws {KeepalivedError} */
  async start(): Promise<void> {
    await this.#install();
    await this.#note("");
    await this.#keepalived.start();
  }

  /** Has it read its file again; who holds the VIPs stays as it is. @throws {KeepalivedError} */
  reload(): Promise<void> {
    return this.#keepalived.reload();
  }

  /** Ends it, if it runs: the VIPs go, to another one if there is one. */
  async stop(): Promise<void> {
    await this.#keepalived.stop();
  }

  trimLog(): Promise<void> {
    return this.#keepalived.trimLog();
  }

  /** Keeps the amphora from holding the VIPs, or no longer: it gives them up at once. */
  async restrain(why: Restraint | null): Promise<void> {
    // keepalived takes the number in front, and reads the file when it is written to, or put in its place
    await writeFileAtomic(this.#standbyFile, why === null ? "0\n" : `1 ${why}\n`, { mode: 0o600 });
  }

  async restraint(): Promise<Restraint | null> {
    const [, why] = (await readFile(this.#standbyFile, "utf8").catch(() => "")).trim().split(" ");
    return why === "STANDBY" || why === "WAITING" ? why : null;
  }

  async state(): Promise<VrrpState> {
    if ((await this.pid()) === null) return "DOWN";
    const why = await this.restraint();
    if (why !== null) return why;
    const said = await this.#said();
    return said === "MASTER" || said === "BACKUP" ? said : "FAULT";
  }

  /** Whether it held the VIPs when it was last heard of: one that was killed has left them on the interface. */
  async wasMaster(): Promise<boolean> {
    return (await this.#said()) === "MASTER";
  }

  async #said(): Promise<string> {
    return (await readFile(this.#stateFile, "utf8").catch(() => "")).trim();
  }

  /** The commands that keepalived runs. */
  async #install(): Promise<void> {
    const { runDir } = this.#options;
    await writeFileAtomic(join(runDir, "check-serving"), CHECK_SERVING, { mode: 0o755 });
    await writeFileAtomic(join(runDir, "note-state"), NOTE_STATE, { mode: 0o755 });
  }

  #note(state: string): Promise<void> {
    // the command that asks HAProxy reads it, too, and has no privileges
    return writeFileAtomic(this.#stateFile, `${state}\n`, { mode: 0o644 });
  }
}
