/** An amphora's machine: what is remembered of it, and the command that it is. Pure. */
import { architecture } from "../../../images/architectures.ts";
import { type Accelerator, machineCommand } from "../../../images/qemu.ts";
import type { Port } from "../network.ts";
import type { QmpCommand } from "./qmp.ts";

/** Tenants' interfaces that a machine has room for: each needs a slot of its own, or it could not be plugged while the machine runs. */
export const SLOTS = 16;

/** What the machine is made from again, whenever it starts. */
export interface MachineRecord {
  readonly architecture: "x86_64" | "aarch64";
  /** the file that its disk is based on */
  readonly image: string;
  /** the size's name */
  readonly flavor: string;
  readonly cpus: number;
  /** MiB */
  readonly memory: number;
  /** in the management network */
  readonly address: string;
  readonly mac: string;
  /** numeric: the machine's own, so that one that breaks out of QEMU can do nothing to others */
  readonly user: number;
  readonly ports: readonly Plugged[];
}

/** An interface in a slot. */
export interface Plugged {
  readonly slot: number;
  readonly port: Port;
}

export interface MachinePlaces {
  readonly disk: string;
  readonly configDrive: string;
  readonly console: string;
  readonly qmp: string;
  readonly managementTap: string;
  /** of a port */
  readonly tap: (port: Port) => string;
}

export interface Start {
  readonly accelerator: Accelerator;
  /** firmware files, or null for what QEMU has by itself */
  readonly firmware: { readonly code: string; readonly variables: string } | null;
  /** whether the kernel moves packets by itself (vhost) */
  readonly vhost: boolean;
}

/** The word of the command line that no other process has. */
export function qmpWord(socketFile: string): string {
  return `unix:${socketFile},server=on,wait=off`;
}

/** The interface in the management network. Locally administered, and as unique as the address. */
export function managementMac(address: bigint): string {
  const low = (address & 0xffffffn).toString(16).padStart(6, "0");
  return `02:61:6d:${low.slice(0, 2)}:${low.slice(2, 4)}:${low.slice(4)}`;
}

/**
 * The user that a machine runs as: nobody else's. systemd leaves the numbers from 0x70000000 on to nobody (its
 * UIDS-GIDS.md).
 * @param deployment four hexadecimal digits @param index of the machine in its management network
 */
export function userOf(deployment: string, index: bigint): number {
  return 0x70000000 + Number.parseInt(deployment, 16) * 4096 + Number(index % 4096n);
}

export function commandOf(
  record: MachineRecord,
  places: MachinePlaces,
  { accelerator, firmware, vhost }: Start,
): [string, ...string[]] {
  const { user, mac } = record;
  return machineCommand({
    architecture: architecture(record.architecture),
    accelerator,
    memory: record.memory,
    cpus: record.cpus,
    consoleFile: places.console,
    restarts: true,
    devices: [
      ...["-qmp", qmpWord(places.qmp)],
      ...(firmware === null ? [] : firmwareWords(firmware)),
      ...["-drive", `file=${escaped(places.disk)},if=none,id=disk,format=qcow2,discard=unmap`],
      ...["-device", "virtio-blk-pci,drive=disk,bootindex=1"],
      ...["-drive", `file=${escaped(places.configDrive)},if=none,id=config,format=raw,readonly=on`],
      ...["-device", "virtio-blk-pci,drive=config"],
      ...Array.from({ length: SLOTS }, (_, slot) => ["-device", rootPort(slot)]).flat(),
      // the first interface is the management network's
      ...["-netdev", `tap,id=management,ifname=${places.managementTap},script=no,downscript=no`],
      ...["-device", `virtio-net-pci,netdev=management,mac=${mac},romfile=`],
      ...record.ports.flatMap(({ slot, port }) => [
        ...[
          "-netdev",
          `tap,id=net${slot},ifname=${places.tap(port)},script=no,downscript=no${vhost ? ",vhost=on" : ""}`,
        ],
        ...["-device", `virtio-net-pci,id=nic${slot},netdev=net${slot},bus=slot${slot},mac=${port.mac},romfile=`],
      ]),
      // all files are open by then; no program is to be started, and nobody else's priority changed
      ...["-runas", `${user}:${user}`],
      ...["-sandbox", "on,obsolete=deny,spawn=deny,resourcecontrol=deny"],
    ],
  });
}

/** The commands that give a running machine an interface. */
export function plugCommands({ slot, port }: Plugged, tap: string): QmpCommand[] {
  const netdev = { type: "tap", id: `net${slot}`, ifname: tap, script: "no", downscript: "no" };
  const nic = { driver: "virtio-net-pci", id: `nic${slot}`, netdev: `net${slot}`, bus: `slot${slot}`, mac: port.mac };
  return [
    { execute: "netdev_add", arguments: netdev },
    { execute: "device_add", arguments: { ...nic, romfile: "" } },
  ];
}

/** Those that are plugged, and the others where there is room: an interface without a slot is told when it is plugged. */
export function inSlots(plugged: readonly Plugged[], ports: readonly Port[]): Plugged[] {
  const all = [...plugged];
  for (const port of ports) {
    const slot = freeSlot(all);
    if (slot !== null && !all.some((each) => each.port.id === port.id)) all.push({ slot, port });
  }
  return all;
}

/** The slot for one more interface; null: there is none. */
export function freeSlot(ports: readonly Plugged[]): number | null {
  const taken = new Set(ports.map(({ slot }) => slot));
  const found = Array.from({ length: SLOTS }, (_, slot) => slot).find((slot) => !taken.has(slot));
  return found ?? null;
}

/** Eight to a device of the machine's own bus, behind those that QEMU places by itself. */
function rootPort(slot: number): string {
  const device = 0x10 + Math.floor(slot / 8);
  const first = slot % 8 === 0 ? ",multifunction=on" : "";
  return `pcie-root-port,id=slot${slot},chassis=${slot + 1},port=${slot},addr=0x${device.toString(16)}.${slot % 8}${first}`;
}

function firmwareWords({ code, variables }: { readonly code: string; readonly variables: string }): string[] {
  return [
    ...["-drive", `if=pflash,format=raw,readonly=on,file=${escaped(code)}`],
    ...["-drive", `if=pflash,format=raw,file=${escaped(variables)}`],
  ];
}

/** A comma ends a value in QEMU's options, and two are one. */
function escaped(path: string): string {
  return path.replaceAll(",", ",,");
}
