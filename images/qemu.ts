/** QEMU: how a machine of an architecture is started, and whether this host's KVM really runs one. */
import { type ChildProcess, spawn } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { execa } from "execa";
import type { Architecture } from "./architectures.ts";
import { ownArchitecture } from "./architectures.ts";

/** A kernel says its first words under KVM well within a second (ms). */
const PROBE_LIMIT = 4000;

export type Accelerator = "kvm" | "tcg";

export interface MachineOptions {
  readonly architecture: Architecture;
  readonly accelerator: Accelerator;
  /** MiB */
  readonly memory: number;
  readonly cpus: number;
  /** where the first serial line goes */
  readonly consoleFile: string;
  /** whether a system that reboots starts again; else that is the machine's end */
  readonly restarts?: boolean;
  /** disks, networks, ports, a kernel */
  readonly devices: readonly string[];
}

/** The command of a machine without a display. It ends when the system in it halts. */
export function machineCommand(options: MachineOptions): [string, ...string[]] {
  const { architecture, accelerator, memory, cpus, consoleFile, restarts = false, devices } = options;
  const { program, machine, cpu } = architecture.qemu;
  return [
    program,
    ...["-nodefaults", "-no-user-config", "-display", "none"],
    ...(restarts ? [] : ["-no-reboot"]),
    ...["-machine", machine],
    ...(accelerator === "kvm" ? ["-accel", "kvm", "-cpu", "host"] : ["-accel", "tcg,thread=multi", "-cpu", cpu]),
    ...["-m", String(memory), "-smp", String(cpus)],
    ...["-chardev", `file,id=console,path=${consoleFile},append=on`, "-serial", "chardev:console"],
    ...["-device", "virtio-rng-pci"],
    ...devices,
  ];
}

/** Starts a machine that ends with this process, however that ends. Its standard input and output are pipes. */
export function startMachine(command: readonly [string, ...string[]]): ChildProcess {
  // PR_SET_PDEATHSIG: the kernel ends the machine with its parent
  return spawn("setpriv", ["--pdeathsig", "KILL", "--", ...command], { stdio: ["pipe", "pipe", "pipe"] });
}

/**
 * What runs machines of an architecture here: KVM when it boots this kernel, else emulation. That /dev/kvm exists says
 * little: under some hypervisors it is there, and machines hang.
 */
export async function chooseAccelerator(architecture: Architecture, kernel: string): Promise<Accelerator> {
  if (architecture.name !== ownArchitecture().name) return "tcg";
  const present = await access("/dev/kvm", constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
  return present && (await kvmBoots(architecture, kernel)) ? "kvm" : "tcg";
}

/** Whether the kernel comes so far under KVM as to miss its root file system, and panic. */
async function kvmBoots(architecture: Architecture, kernel: string): Promise<boolean> {
  const command = machineCommand({
    architecture,
    accelerator: "kvm",
    memory: 256,
    cpus: 1,
    consoleFile: "/dev/null",
    devices: ["-kernel", kernel, "-append", "panic=-1"],
  });
  const [program, ...args] = command;
  // panic=-1 reboots at once, and -no-reboot makes that the end
  const { failed } = await execa("setpriv", ["--pdeathsig", "KILL", "--", program, ...args], {
    timeout: PROBE_LIMIT,
    killSignal: "SIGKILL",
    reject: false,
    stdin: "ignore",
  });
  return !failed;
}
