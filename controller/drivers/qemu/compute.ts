/**
 * Amphorae as machines on the controller's own host, booted from images. They outlive the controller, which finds them
 * again. One that ends is not started again by itself: its silence is noticed, and another takes its place.
 */
import { access, chmod, copyFile, mkdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import writeFileAtomic from "write-file-atomic";
import { type Architecture, architecture, ownArchitecture } from "../../../images/architectures.ts";
import { acceleratorFor } from "../../../images/built.ts";
import type { Accelerator } from "../../../images/qemu.ts";
import { boundLog, endProcess, runningPid, startDetached } from "../../process.ts";
import { type Settings, SettingsError } from "../../settings.ts";
import { type Bootstrap, ComputeRefusedError, type HostCompute, type Instance, type InstanceWish } from "../compute.ts";
import { rangeOf, toNumber } from "../local/addresses.ts";
import { run } from "../local/command.ts";
import { Instances } from "../local/instances.ts";
import type { LocalNetwork } from "../local/network.ts";
import type { Port } from "../network.ts";
import { writeConfigDrive } from "./config-drive.ts";
import { isInstalled, requireEmulator } from "./emulator.ts";
import { Images } from "./images.ts";
import {
  commandOf,
  freeSlot,
  inSlots,
  type MachinePlaces,
  type MachineRecord,
  managementMac,
  type Plugged,
  plugCommands,
  qmpWord,
  SLOTS,
  userOf,
} from "./machine.ts";
import { ManagementNetwork } from "./management.ts";
import { QmpError, type QmpEvent, tell } from "./qmp.ts";

/** Logs are kept from growing without end, so often (ms). */
const LOG_INTERVAL = 10_000;
/** A system that was asked to shut down has done so within this; under emulation it is slower (ms). */
const SHUTDOWN_LIMIT: Readonly<Record<Accelerator, number>> = { kvm: 20_000, tcg: 120_000 };
const PROGRAMS = ["qemu-img", "genisoimage"];
const TUN = "/dev/net/tun";

export interface QemuComputeOptions {
  readonly network: LocalNetwork;
  readonly deployment: string;
  /** machines get addresses from it, such as 10.76.0.0/16; the first is the host's */
  readonly managementNetwork: string;
  readonly heartbeatPort: number;
  readonly settings: Settings["qemu"];
  readonly computeFlavors: Settings["compute-flavors"];
  /** where the machines' folders are; several controllers on this host share it */
  readonly computeDir: string;
  readonly runDir: string;
  readonly log: Logger;
}

export class QemuCompute implements HostCompute {
  readonly #options: QemuComputeOptions;
  readonly #instances: Instances<MachineRecord>;
  readonly #images: Images;
  readonly #management: ManagementNetwork;
  readonly #accelerators = new Map<Architecture, Promise<Accelerator>>();
  #timer: NodeJS.Timeout | null = null;

  constructor(options: QemuComputeOptions) {
    this.#options = options;
    this.#instances = new Instances({
      ...options,
      recordFile: "machine.json",
      addressIn: ({ address }) => address,
      mark: (id) => qmpWord(this.#qmp(id)),
      pidFile: "machine.pid",
    });
    this.#images = new Images(options.settings, join(options.computeDir, "images"));
    this.#management = new ManagementNetwork(options);
  }

  /** @throws {SettingsError} when programs or the image are missing */
  async prepare(): Promise<void> {
    const own = ownArchitecture();
    for (const program of [own.qemu.program, ...PROGRAMS]) {
      if (await isInstalled(program)) continue;
      throw new SettingsError(`compute: qemu needs ${program}: \`.setup/ensure image\` installs it`);
    }
    await this.#images.prepare();
    await this.#openTaps();
    await this.#management.start();
    const accelerator = await this.#accelerator(own);
    this.#options.log.info({ accelerator }, "machines run under");
  }

  get made(): boolean {
    return this.#management.made;
  }

  /**
   * A machine that is given another interface opens its tap as its own user. udev lets everybody open the device, and the
   * kernel gives nobody a tap but its owner (50-udev-default.rules); hosts without udev, such as containers, have it closed.
   */
  async #openTaps(): Promise<void> {
    const { mode } = await stat(TUN);
    if ((mode & 0o666) === 0o666) return;
    this.#options.log.info({ device: TUN }, "opened to all users, as udev has it");
    await chmod(TUN, 0o666);
  }

  async start(): Promise<void> {
    this.#timer = setInterval(() => {
      this.#boundLogs().catch((error: unknown) => this.#options.log.warn({ err: error }, "bounding logs failed"));
    }, LOG_INTERVAL);
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  async shutDown(): Promise<void> {
    await this.stop();
    await Promise.all((await this.list()).map((id) => this.#end(id, true)));
    await this.#instances.clear();
    await this.#management.stop();
  }

  async create(amphoraId: string, wish: InstanceWish, bootstrap: () => Promise<Bootstrap>): Promise<Instance> {
    const instances = this.#instances;
    if ((await instances.record(amphoraId)) === null) await this.#make(amphoraId, wish, await bootstrap());
    const boots = await this.#startMachine(amphoraId, wish.ports);
    const record = await this.#require(amphoraId);
    return {
      compute_id: instances.folder(amphoraId),
      lb_network_ip: record.address,
      cached_zone: "",
      image_id: record.image.slice(record.image.lastIndexOf("/") + 1),
      compute_flavor: record.flavor,
      boots,
    };
  }

  plug(amphoraId: string, port: Port): Promise<void> {
    return this.#instances.alone(amphoraId, async () => {
      const record = await this.#require(amphoraId);
      if (record.ports.some((each) => each.port.id === port.id)) return;
      const slot = freeSlot(record.ports);
      if (slot === null) throw new ComputeRefusedError(`amphora ${amphoraId} is on ${SLOTS} subnets: there is no room`);
      const plugged = { slot, port };
      await this.#options.network.attachTap(port, record.user);
      // one whose plugging was interrupted may hold the slot
      await this.#takeOut(amphoraId, plugged);
      await tell(this.#qmp(amphoraId), plugCommands(plugged, this.#options.network.tap(port)));
      await this.#write(amphoraId, { ...record, ports: [...record.ports, plugged] });
    });
  }

  unplug(amphoraId: string, port: Port): Promise<void> {
    return this.#instances.alone(amphoraId, async () => {
      const record = await this.#instances.record(amphoraId);
      const plugged = record?.ports.find((each) => each.port.id === port.id);
      if (record !== null && plugged !== undefined) {
        if (await this.#instances.runs(amphoraId)) await this.#takeOut(amphoraId, plugged);
        await this.#write(amphoraId, { ...record, ports: record.ports.filter((each) => each !== plugged) });
      }
      await this.#options.network.detach(port);
    });
  }

  async remove(amphoraId: string): Promise<void> {
    const ports = (await this.#instances.record(amphoraId))?.ports ?? [];
    await this.#instances.remove(amphoraId, () => this.#end(amphoraId, false));
    for (const { port } of ports) await this.#options.network.detach(port);
    await this.#management.detach(amphoraId);
  }

  list(): Promise<string[]> {
    return this.#instances.list();
  }

  running(): Promise<string[]> {
    return this.#instances.running();
  }

  /** Makes the disk and the config drive; what is remembered comes last, so that it is there only when everything is. */
  async #make(amphoraId: string, wish: InstanceWish, bootstrap: Bootstrap): Promise<void> {
    const { managementNetwork, deployment } = this.#options;
    const chosen = this.#images.choose(wish.cpuArch);
    const firmware = await requireEmulator(chosen);
    const { name: flavor, cpus, "memory-mib": memory } = this.#flavor(wish.computeFlavor);
    await this.#instances.claimAddress(amphoraId, async (address) => {
      // nobody else writes a machine down meanwhile: images that none is based on can go
      await this.#forgetImages();
      const image = await this.#images.take(chosen);
      const { configDrive, disk } = this.#places(amphoraId);
      const number = toNumber(address);
      const mac = managementMac(number);
      const length = managementNetwork.split("/")[1];
      await writeConfigDrive(configDrive, { amphoraId, address: `${address}/${length}`, mac, bootstrap });
      await rm(disk, { force: true });
      await run("qemu-img", ["create", "-q", "-f", "qcow2", "-b", image, "-F", "qcow2", disk]);
      if (firmware !== null) await copyFile(firmware.variables, this.#firmwareVariables(amphoraId));
      const user = userOf(deployment, number - rangeOf(managementNetwork).first);
      const name = chosen.name;
      await this.#write(amphoraId, { architecture: name, image, flavor, cpus, memory, address, mac, user, ports: [] });
    });
  }

  /** @returns whether it did not run, and is there still */
  #startMachine(amphoraId: string, ports: readonly Port[]): Promise<boolean> {
    return this.#instances.alone(amphoraId, async () => {
      const known = await this.#require(amphoraId);
      if (await this.#instances.runs(amphoraId)) return false;
      const record = { ...known, ports: inSlots(known.ports, ports) };
      await this.#write(amphoraId, record);
      for (const { port } of record.ports) await this.#options.network.attachTap(port, record.user);
      await this.#management.attach(amphoraId, record.user);
      await this.#launch(amphoraId, record);
      return true;
    });
  }

  async #launch(amphoraId: string, record: MachineRecord): Promise<void> {
    const instances = this.#instances;
    const chosen = architecture(record.architecture);
    const accelerator = await this.#accelerator(chosen);
    const variables = this.#firmwareVariables(amphoraId);
    const code = (await requireEmulator(chosen))?.code;
    await mkdir(instances.runFolder(amphoraId), { recursive: true, mode: 0o700 });
    await rm(this.#qmp(amphoraId), { force: true });
    const command = commandOf(record, this.#places(amphoraId), {
      accelerator,
      firmware: code === undefined ? null : { code, variables },
      vhost: accelerator === "kvm" && (await exists("/dev/vhost-net")),
    });
    await startDetached(instances.pidFile(amphoraId), this.#log(amphoraId), command);
  }

  /** Nothing happens when nothing is in the slot. */
  async #takeOut(amphoraId: string, { slot }: Plugged): Promise<void> {
    const isGone = (device: unknown) => (device as { device?: string }).device === `nic${slot}`;
    const nic = { execute: "device_del", arguments: { id: `nic${slot}` } };
    const netdev = { execute: "netdev_del", arguments: { id: `net${slot}` } };
    // the system in the machine lets go of it in its own time
    const deleted = ({ event, data }: QmpEvent) => event === "DEVICE_DELETED" && isGone(data);
    for (const [command, until] of [[nic, deleted], [netdev]] as const) {
      await tell(this.#qmp(amphoraId), [command], until).catch((error: unknown) => {
        if (!(error instanceof QmpError) || !/not found/.test(error.message)) throw error;
      });
    }
  }

  /** @param orderly whether the system is to shut down by itself: what is on its disk is needed again */
  #end(amphoraId: string, orderly: boolean): Promise<void> {
    const instances = this.#instances;
    return instances.alone(amphoraId, async () => {
      const runs = await instances.runs(amphoraId);
      if (runs && orderly) await this.#powerDown(amphoraId);
      await endProcess(instances.pidFile(amphoraId));
      await rm(instances.runFolder(amphoraId), { recursive: true, force: true });
    });
  }

  async #powerDown(amphoraId: string): Promise<void> {
    const record = await this.#instances.record(amphoraId);
    const accelerator = await this.#accelerator(
      record === null ? ownArchitecture() : architecture(record.architecture),
    );
    try {
      await tell(this.#qmp(amphoraId), [{ execute: "system_powerdown" }]);
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      return;
    }
    const deadline = Date.now() + SHUTDOWN_LIMIT[accelerator];
    const pidFile = this.#instances.pidFile(amphoraId);
    while (Date.now() < deadline && (await runningPid(pidFile)) !== null) await sleep(50);
  }

  /** Null: the smallest. */
  #flavor(name: string | null): Settings["compute-flavors"][number] {
    const all = [...this.#options.computeFlavors].sort((a, b) => a["memory-mib"] - b["memory-mib"]);
    const found = name === null ? all[0] : all.find((each) => each.name === name);
    if (found !== undefined) return found;
    throw new ComputeRefusedError(`compute-flavors: there is no ${name}`);
  }

  #accelerator(of: Architecture): Promise<Accelerator> {
    const { acceleration } = this.#options.settings;
    if (acceleration === "kvm" || acceleration === "tcg") {
      return Promise.resolve(of === ownArchitecture() ? acceleration : "tcg");
    }
    const known = this.#accelerators.get(of) ?? acceleratorFor(of);
    this.#accelerators.set(of, known);
    return known;
  }

  async #require(amphoraId: string): Promise<MachineRecord> {
    const record = await this.#instances.record(amphoraId);
    if (record === null) throw new Error(`amphora ${amphoraId} has no machine any more`);
    return record;
  }

  async #write(amphoraId: string, record: MachineRecord): Promise<void> {
    await writeFileAtomic(this.#instances.recordFile(amphoraId), JSON.stringify(record, null, 2), { mode: 0o600 });
  }

  async #forgetImages(): Promise<void> {
    const records = await Promise.all((await this.list()).map((id) => this.#instances.record(id)));
    await this.#images.keep(new Set(records.flatMap((record) => (record === null ? [] : [record.image]))));
  }

  async #boundLogs(): Promise<void> {
    for (const id of await this.list()) {
      for (const file of [this.#log(id), this.#places(id).console]) await boundLog(file);
    }
  }

  #places(amphoraId: string): MachinePlaces {
    const folder = this.#instances.folder(amphoraId);
    return {
      disk: join(folder, "disk.qcow2"),
      configDrive: join(folder, "config-drive.iso"),
      console: join(folder, "console.log"),
      qmp: this.#qmp(amphoraId),
      managementTap: this.#management.tap(amphoraId),
      tap: (port) => this.#options.network.tap(port),
    };
  }

  #firmwareVariables(amphoraId: string): string {
    return join(this.#instances.folder(amphoraId), "firmware-variables");
  }

  #log(amphoraId: string): string {
    return join(this.#instances.folder(amphoraId), "machine.log");
  }

  #qmp(amphoraId: string): string {
    return join(this.#instances.runFolder(amphoraId), "qmp.sock");
  }
}

function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
