/** Controllers of one deployment: real processes on one PostgreSQL, each started again when it has died. */
import { type ChildProcess, spawn } from "node:child_process";
import { openSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import YAML from "yaml";
import type { Cable } from "./cable.ts";

const PROGRAM = join(import.meta.dirname, "../../controller/amphora-controller");
export const TOKEN = "chaos";

export interface ControllerFiles {
  /** what is this one's alone */
  readonly folder: string;
  /** what they share */
  readonly shared: string;
  readonly database: string;
}

export class ControllerProcess {
  readonly index: number;
  readonly cable: Cable;
  readonly #files: ControllerFiles;
  readonly #more: Readonly<Record<string, unknown>>;
  #child: ChildProcess | null = null;
  #wanted = false;
  /** how it ended by itself, each time, with the last it said */
  readonly crashes: string[] = [];

  /** @param more settings that are not as usual here */
  constructor(index: number, files: ControllerFiles, cable: Cable, more: Readonly<Record<string, unknown>> = {}) {
    this.index = index;
    this.#files = files;
    this.cable = cable;
    this.#more = more;
  }

  get base(): string {
    return `http://127.0.0.1:${9876 + this.index}`;
  }

  get heartbeatPort(): number {
    return 5555 + this.index;
  }

  get logFile(): string {
    return join(this.#files.folder, "log");
  }

  async start(): Promise<void> {
    await this.cable.mend();
    await this.#writeSettings();
    this.#wanted = true;
    this.#run();
  }

  async #writeSettings(): Promise<void> {
    const { folder, shared, database } = this.#files;
    await mkdir(folder, { recursive: true });
    const settings = {
      port: 9876 + this.index,
      "data-dir": join(folder, "data"),
      "compute-dir": join(shared, "compute"),
      "secrets-key-file": join(shared, "secrets.key"),
      "admin-token": TOKEN,
      database: `postgresql:///${database}?host=${encodeURIComponent(this.cable.folder)}&user=postgres`,
      "heartbeat-port": this.heartbeatPort,
      "heartbeat-interval-ms": 500,
      "silence-limit-ms": 3000,
      "metrics-port": 0,
      demo: false,
      ...this.#more,
    };
    await writeFile(this.#settingsFile, YAML.stringify(settings));
  }

  kill(): void {
    this.#signal("SIGKILL");
  }

  freeze(): void {
    this.#signal("SIGSTOP");
  }

  thaw(): void {
    this.#signal("SIGCONT");
  }

  /** Ends it, as an operator does; one that has to be killed, or complains, has crashed. */
  async stop(): Promise<void> {
    this.#wanted = false;
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await Promise.race([ended, sleep(20_000, undefined, { ref: false })]);
    if (child.exitCode !== 0) await this.#crashed(`asked to stop: ${child.exitCode ?? "goes on"}`);
    child.kill("SIGKILL");
  }

  /** Ends every amphora of the deployment, with all that was made on the host for them. */
  async removeAll(): Promise<void> {
    await this.#writeSettings();
    const args = ["-u", "NODE_OPTIONS", PROGRAM, "up", "--no-demo", "--config", this.#settingsFile];
    const child = spawn("env", args, { stdio: ["ignore", "pipe", "inherit"] });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.stdout.on("data", (chunk: Buffer) => {
      if (chunk.includes("Ctrl-C stops everything")) child.kill("SIGINT");
    });
    await Promise.race([ended, sleep(60_000, undefined, { ref: false })]);
    child.kill("SIGKILL");
  }

  get #settingsFile(): string {
    return join(this.#files.folder, "settings.yaml");
  }

  /** The last lines of its log, for a failure's report. */
  async lastLines(count: number): Promise<string> {
    const text = await readFile(this.logFile, "utf8").catch(() => "");
    return text.trimEnd().split("\n").slice(-count).join("\n");
  }

  #signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  async #crashed(how: string): Promise<void> {
    this.crashes.push(`controller ${this.index} ${how}\n${await this.lastLines(10)}`);
  }

  #run(): void {
    const log = openSync(this.logFile, "a");
    const args = ["-u", "NODE_OPTIONS", PROGRAM, "run", "--config", this.#settingsFile];
    const child = spawn("env", args, { stdio: ["ignore", log, log] });
    this.#child = child;
    child.once("exit", (code, signal) => {
      if (!this.#wanted) return;
      if (signal !== "SIGKILL") void this.#crashed(`ended by itself: ${signal ?? code}`);
      setTimeout(() => this.#wanted && this.#run(), 500 + (code === null ? 500 : 1500));
    });
  }
}
