/** An image under QEMU, with the two networks of an amphora: management and a tenant's. No rights are needed for it. */
import type { ChildProcess } from "node:child_process";
import { copyFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Architecture } from "../architectures.ts";
import { BuildError } from "../build-error.ts";
import { type Accelerator, machineCommand, startMachine } from "../qemu.ts";
import { type Firmware, firmwareFiles } from "./firmware.ts";

/** A minute under emulation on a busy machine, and as much again (ms). */
const SHUTDOWN_LIMIT = 120_000;
const LAST_LINES = 15;
/** The networks that QEMU makes up: in each, the host is .2 and the first guest .15. */
export const MANAGEMENT = { network: "10.0.2.0/24", host: "10.0.2.2", mac: "52:54:00:00:02:01" };
export const TENANT = {
  network: "10.0.3.0/24",
  host: "10.0.3.2",
  address: "10.0.3.20/24",
  vip: "10.0.3.100",
  /** nobody is there */
  peer: "10.0.3.21",
};
export const TENANT_MAC = "52:54:00:00:03:01";

export type Protocol = "HTTP" | "FORWARD_TCP" | "UDP";
/** Of the VIP's listeners. */
export const VIP_PORTS: Readonly<Record<Protocol, number>> = { HTTP: 80, FORWARD_TCP: 81, UDP: 82 };
/** Where they are reached on the host. */
export const FORWARDED: Readonly<Record<Protocol, number>> = { HTTP: 8080, FORWARD_TCP: 8081, UDP: 8082 };

export interface GuestOptions {
  readonly architecture: Architecture;
  readonly accelerator: Accelerator;
  readonly firmware: Firmware;
  /** written to */
  readonly disk: string;
  /** a folder that becomes the config drive, or the file of one; null for none */
  readonly configDrive: { readonly folder: string } | { readonly file: string } | null;
  /** for the console and the firmware's variables */
  readonly scratch: string;
  /** a loopback address of the host, at whose port 9443 the agent is, and at those of FORWARDED the VIP's listeners */
  readonly address: string;
  /** MiB */
  readonly memory?: number;
}

export class Guest {
  readonly #child: ChildProcess;
  readonly #console: string;
  #errors = "";

  private constructor(child: ChildProcess, console: string) {
    this.#child = child;
    this.#console = console;
    child.stderr?.on("data", (chunk: Buffer) => {
      this.#errors += chunk.toString();
    });
    child.stdout?.resume();
    child.on("error", (error) => {
      this.#errors += error.message;
    });
  }

  static async boot(options: GuestOptions): Promise<Guest> {
    const { architecture, accelerator, firmware, disk, scratch, address, memory = 1024 } = options;
    const consoleFile = join(scratch, "console");
    const forward = `hostfwd=tcp:${address}:9443-:9443`;
    const vip = (["HTTP", "FORWARD_TCP", "UDP"] as const).map((protocol) => {
      const transport = protocol === "UDP" ? "udp" : "tcp";
      return `hostfwd=${transport}:${address}:${FORWARDED[protocol]}-${TENANT.vip}:${VIP_PORTS[protocol]}`;
    });
    const command = machineCommand({
      architecture,
      accelerator,
      memory,
      cpus: 2,
      consoleFile,
      devices: [
        ...["-monitor", "stdio"],
        ...(await firmwareDevices(architecture, firmware, scratch)),
        ...["-drive", `file=${disk},if=none,id=disk,format=qcow2`],
        ...["-device", "virtio-blk-pci,drive=disk,bootindex=1"],
        ...["-netdev", `user,id=management,net=${MANAGEMENT.network},${forward}`],
        ...["-device", `virtio-net-pci,netdev=management,mac=${MANAGEMENT.mac},romfile=`],
        ...["-netdev", `user,id=tenant,net=${TENANT.network},${vip.join(",")}`],
        ...["-device", `virtio-net-pci,netdev=tenant,mac=${TENANT_MAC},romfile=`],
        ...configDevices(options.configDrive),
      ],
    });
    return new Guest(startMachine(command), consoleFile);
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** What the system has said on its serial line. */
  async console(): Promise<string> {
    return (await readFile(this.#console, "utf8").catch(() => "")).replaceAll("\r", "");
  }

  async lastWords(): Promise<string> {
    const lines = (await this.console()).trimEnd().split("\n");
    return [this.#errors.trim(), ...lines.slice(-LAST_LINES)].filter((line) => line !== "").join("\n");
  }

  /** Polls until there is something. @throws {BuildError} when the guest ends, or after `limit` ms */
  async until<T>(what: string, limit: number, look: () => Promise<T | null>): Promise<T> {
    const deadline = Date.now() + limit;
    for (;;) {
      const found = await look();
      if (found !== null) return found;
      if (!this.running) throw new BuildError(`the machine ended:\n${await this.lastWords()}`);
      if (Date.now() > deadline)
        throw new BuildError(`not within ${limit / 1000} s: ${what}\n${await this.lastWords()}`);
      await sleep(200);
    }
  }

  /** Presses the power button, and waits until the system has shut down. @throws {BuildError} when it does not */
  async powerDown(): Promise<void> {
    this.#child.stdin?.write("system_powerdown\n");
    const deadline = Date.now() + SHUTDOWN_LIMIT;
    while (this.running) {
      if (Date.now() > deadline) throw new BuildError(`it runs on:\n${await this.lastWords()}`);
      await sleep(100);
    }
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    while (this.running) await sleep(20);
  }
}

async function firmwareDevices(architecture: Architecture, firmware: Firmware, scratch: string): Promise<string[]> {
  const files = firmwareFiles(architecture, firmware);
  if (files === null) return [];
  const variables = join(scratch, "firmware-variables");
  await copyFile(files.variables, variables);
  return [
    ...["-drive", `if=pflash,format=raw,readonly=on,file=${files.code}`],
    ...["-drive", `if=pflash,format=raw,file=${variables}`],
  ];
}

function configDevices(drive: GuestOptions["configDrive"]): string[] {
  if (drive === null) return [];
  if ("folder" in drive) {
    const disk = `driver=vvfat,node-name=config,dir=${drive.folder},label=config-2,read-only=on`;
    return ["-blockdev", disk, "-device", "virtio-blk-pci,drive=config"];
  }
  const bus = ["-device", "virtio-scsi-pci", "-drive", `file=${drive.file},if=none,id=config,format=raw,readonly=on`];
  return [...bus, "-device", "scsi-cd,drive=config"];
}
