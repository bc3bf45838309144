/**
 * Test machines: a real kernel with IPVS, and a scenario of this project running in it. Every check of the scenario
 * becomes a test here, at the moment when it is done.
 */
import type { ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { ownArchitecture } from "../../../images/architectures.ts";
import { writeCpio } from "../../../images/cpio.ts";
import { type Accelerator, machineCommand, startMachine } from "../../../images/qemu.ts";
import { FileTree } from "../../../images/tree.ts";
import { until } from "../deployment.ts";
import type { Scope } from "../scope.ts";
import { accelerator } from "./accelerator.ts";
import { base, CACHE } from "./base.ts";
import { type Lan, setLink } from "./lan.ts";
import { type Order, PORT_NAME, type Report, TASK_FILE, type Task } from "./messages.ts";
import { projectTree } from "./project.ts";

/** Where the console's output of machines that failed is kept. */
export const LOGS = join(CACHE, "logs");
const MOST_BOOTS = 3;
/** Lines of the console that a failure shows. */
const LAST_LINES = 60;

export interface VmOptions {
  /** what the scenario finds in `args` */
  readonly args?: Readonly<Record<string, string>>;
  /** MiB */
  readonly memory?: number;
  readonly cpus?: number;
  /** eth0, eth1, … in this order; none by default: a scenario makes namespaces of its own */
  readonly lans?: readonly Lan[];
  /** ms from power-on to the scenario's end */
  readonly limit?: number;
}

/**
 * Boots a machine, runs a scenario in it to its end, and stops it. Call it with the file's own `t`, so that each check
 * counts as a test.
 * @param scenario path in the project of a module that exports a `Scenario`
 */
export async function inVm(t: Verdicts, scenario: string, options: VmOptions = {}): Promise<void> {
  await inLab(t, async (lab) => {
    const vm = await Vm.start(lab, scenario, options);
    await vm.ended();
  });
}

/** For a test of several machines, or of what happens when one is switched off. All of them are, when `work` is done. */
export async function inLab(t: Verdicts, work: (lab: Lab) => Promise<void>): Promise<void> {
  const lab = new Lab(t);
  try {
    await work(lab);
  } finally {
    await lab.close();
  }
}

/** Where the outcomes go: a test of tap's. */
export interface Verdicts {
  pass(name: string): unknown;
  fail(name: string, extra: { diff: string; stack: string }): unknown;
  comment(text: string): unknown;
}

/** What machines and networks belong to. It has teardowns of its own: with those of a file's `t`, tap ends it at once. */
export class Lab implements Scope {
  readonly t: Verdicts;
  readonly #cleanups: (() => unknown)[] = [];

  constructor(t: Verdicts) {
    this.t = t;
  }

  teardown(cleanup: () => unknown): void {
    this.#cleanups.push(cleanup);
  }

  async close(): Promise<void> {
    for (const cleanup of this.#cleanups.splice(0).reverse()) await cleanup();
  }
}

export class Vm {
  readonly #t: Verdicts;
  readonly #name: string;
  readonly #folder: string;
  readonly #accelerator: Accelerator;
  readonly #taps: readonly string[];
  readonly #boot: () => ChildProcess;
  #child: ChildProcess;
  #boots = 1;
  #begun = false;
  readonly #startedAt = performance.now();
  readonly #words = new Set<string>();
  readonly #exited: Promise<void>;
  #errors = "";
  #checks = 0;
  #end: Extract<Report, { kind: "end" }> | null = null;
  #killed = false;
  #late = false;

  private constructor(
    t: Verdicts,
    {
      name,
      folder,
      accelerator,
      taps,
      boot,
      limit,
    }: {
      name: string;
      folder: string;
      accelerator: Accelerator;
      taps: readonly string[];
      boot: () => ChildProcess;
      limit: number;
    },
  ) {
    this.#t = t;
    this.#name = name;
    this.#folder = folder;
    this.#accelerator = accelerator;
    this.#taps = taps;
    this.#boot = boot;
    this.#child = boot();
    const timer = setTimeout(() => {
      this.#late = true;
      this.#child.kill("SIGKILL");
    }, limit);
    this.#exited = this.#run().finally(() => clearTimeout(timer));
  }

  /**
   * Until the machine has ended. A kernel that dies before the scenario begins is booted again: under emulation a core may
   * execute an instruction that another one is just rewriting (int3 in sched_clock_cpu, seen once in ten boots).
   */
  async #run(): Promise<void> {
    for (;;) {
      const child = this.#child;
      child.stderr?.on("data", (chunk: Buffer) => {
        this.#errors += chunk.toString();
      });
      if (child.stdout !== null) createInterface({ input: child.stdout }).on("line", (line) => this.#take(line));
      await new Promise<void>((resolve) => {
        child.on("error", (error) => {
          this.#errors += error.message;
          resolve();
        });
        child.on("close", () => resolve());
      });
      const isOver = this.#begun || this.#killed || this.#late || this.#boots >= MOST_BOOTS;
      if (isOver || !(await this.#console()).includes("Kernel panic")) return;
      this.#t.comment(`${this.#name}: the kernel died before the scenario began: booting again`);
      this.#boots++;
      this.#child = this.#boot();
    }
  }

  /** Boots a machine that runs the scenario. It is switched off with the lab, if it is still on then. */
  static async start(lab: Lab, scenario: string, options: VmOptions = {}): Promise<Vm> {
    const { args = {}, memory = 1024, cpus = 2, lans = [], limit = 240_000 } = options;
    const { kernel, initramfs } = await base();
    const name = basename(scenario).replace(/\.ts$/, "");
    const folder = await mkdtemp(join(tmpdir(), "amphora-vm-"));
    lab.teardown(() => rm(folder, { recursive: true, force: true }));
    const ownInitramfs = join(folder, "initramfs");
    await copyFile(initramfs, ownInitramfs);
    const task: Task = { scenario, args };
    await writeCpio(await projectTree("amphora"), ownInitramfs, { append: true });
    await writeCpio(new FileTree().file(TASK_FILE, JSON.stringify(task)), ownInitramfs, { append: true });
    const architecture = ownArchitecture();
    const chosen = await accelerator(kernel);
    const taps: string[] = [];
    for (const lan of lans) taps.push(await lan.plug(lab));
    const command = machineCommand({
      architecture,
      accelerator: chosen,
      memory,
      cpus,
      consoleFile: join(folder, "console"),
      devices: [
        ...["-kernel", kernel, "-initrd", ownInitramfs],
        ...["-append", `${kernelArguments(architecture.qemu.serialConsole)}`],
        ...["-device", "virtio-serial-pci", "-chardev", "stdio,id=report,signal=off"],
        ...["-device", `virtserialport,chardev=report,name=${PORT_NAME}`],
        ...taps.flatMap((tap, i) => [
          ...["-netdev", `tap,id=net${i},ifname=${tap},script=no,downscript=no`],
          ...["-device", `virtio-net-pci,netdev=net${i},mac=${macAddress()},romfile=`],
        ]),
      ],
    });
    const vm = new Vm(lab.t, { name, folder, accelerator: chosen, taps, boot: () => startMachine(command), limit });
    // teardowns run last to first: the machine ends before its files go
    lab.teardown(() => vm.kill());
    return vm;
  }

  /** Waits until the scenario says a word. @throws when the machine ends first */
  async says(word: string, limit = 120_000): Promise<void> {
    let over = false;
    void this.#exited.then(() => {
      over = true;
    });
    await until(
      `${this.#name} says ${word}`,
      async () => {
        if (this.#words.has(word)) return true;
        if (over) {
          throw new Error(`${this.#name} ended before it said ${word}\n${await this.#lastWords()}`);
        }
        return false;
      },
      limit,
    );
  }

  /** Says a word to the scenario, which waits for it with `hears`. */
  tell(word: string): void {
    const order: Order = { word };
    this.#child.stdin?.write(`${JSON.stringify(order)}\n`);
  }

  /** As when the power fails. Nothing happens when it is off. */
  async kill(): Promise<void> {
    this.#killed = true;
    this.#child.kill("SIGKILL");
    await this.#exited;
  }

  /** Pulls out the cable of an interface, or puts it back. */
  async setLink(index: number, state: "up" | "down"): Promise<void> {
    const tap = this.#taps[index];
    if (tap === undefined) throw new Error(`${this.#name} has no interface ${index}`);
    await setLink(tap, state);
  }

  /** Waits for the end of the scenario. One that did not come to it is a failed test, with the last lines of the console. */
  async ended(): Promise<void> {
    await this.#exited;
    if (this.#killed) return;
    const failure = this.#late ? "took too long" : this.#end === null ? "died" : this.#end.failure;
    const none = failure === null && this.#checks === 0 ? "checked nothing" : null;
    const problem = failure ?? none;
    if (problem === null) return;
    await mkdir(LOGS, { recursive: true });
    const log = join(LOGS, `${this.#name}.log`);
    await copyFile(join(this.#folder, "console"), log).catch(() => undefined);
    const detail = [problem, await this.#lastWords(), `the whole console: ${log}`].join("\n");
    this.#t.fail(`the scenario ${this.#name} comes to its end`, faultOf(detail));
  }

  #take(line: string): void {
    const said = parseReport(line);
    if (said === null) {
      this.#errors += `not a report: ${line}\n`;
      return;
    }
    if (said.kind === "start") {
      this.#begun = true;
      void rm(join(this.#folder, "initramfs"), { force: true });
      const seconds = ((performance.now() - this.#startedAt) / 1000).toFixed(1);
      this.#t.comment(`${this.#name}: ${seconds} s from power-on to the scenario, under ${this.#accelerator}`);
    } else if (said.kind === "check") {
      this.#checks++;
      this.#t.comment(`${said.name}: ${said.ms} ms`);
      if (said.ok) this.#t.pass(said.name);
      else this.#t.fail(said.name, faultOf(said.detail));
    } else if (said.kind === "note") this.#t.comment(`${this.#name}: ${said.text}`);
    else if (said.kind === "word") this.#words.add(said.word);
    else this.#end = said;
  }

  #console(): Promise<string> {
    return readFile(join(this.#folder, "console"), "utf8").catch(() => "");
  }

  async #lastWords(): Promise<string> {
    const lines = (await this.#console()).replaceAll("\r", "").trimEnd().split("\n");
    return [this.#errors.trim(), ...lines.slice(-LAST_LINES)].filter((line) => line !== "").join("\n");
  }
}

function parseReport(line: string): Report | null {
  try {
    return JSON.parse(line) as Report;
  } catch {
    return null;
  }
}

/** panic=-1: a kernel that panics ends its machine. Interfaces are eth0, eth1, … in the order they are plugged in. */
function kernelArguments(console: string): string {
  return `panic=-1 console=${console} net.ifnames=0 mitigations=off random.trust_cpu=on lsm=capability loglevel=6`;
}

function macAddress(): string {
  // locally administered, unicast
  return ["52:54:00", ...(randomBytes(3).toString("hex").match(/../g) ?? [])].join(":");
}

/** What a failure shows: tap takes frames from a stack, and drops the words before them. */
function faultOf(detail: string): { diff: string; stack: string } {
  const lines = detail.split("\n");
  const frames = lines.findIndex((line) => /^\s+at /.test(line));
  return { diff: lines.slice(0, frames < 0 ? lines.length : frames).join("\n"), stack: detail };
}
