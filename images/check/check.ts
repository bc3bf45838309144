/**
 * Checks an image as a cloud and a controller would use it: boots it with a config drive, pushes a spec, sends traffic,
 * shuts it down, and boots it again without the drive.
 */
import { access, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { execa } from "execa";
import { messageOf } from "../../agent/faults.ts";
import type { AgentInfo } from "../../agent/protocol.ts";
import { UnreachableError } from "../../controller/amphorae/client.ts";
import { ARCHITECTURES, type Architecture } from "../architectures.ts";
import { BuildError } from "../build-error.ts";
import { acceleratorFor, identify } from "../built.ts";
import { type Firmware, firmwaresOf } from "./firmware.ts";
import { Guest } from "./guest.ts";
import type { Group } from "./spec.ts";
import { World } from "./world.ts";

/** From power-on to the agent's first answer, with room for a busy machine that emulates another architecture (ms). */
const BOOT_LIMIT = 600_000;
const STEP_LIMIT = 120_000;
/** Of the whole idle instance (bytes). */
const MEMORY_LIMIT = 200_000_000;
const REQUESTS = 100;

/**
 * @param say receives a line for each step: PASS or FAIL, what, how long it took, and what went wrong
 * @returns whether every step passed; after one that did not, no other is tried
 * @throws {BuildError} when the file is no image, or QEMU is not there
 */
export async function checkImage(image: string, say: (line: string) => void): Promise<boolean> {
  const architecture = await architectureOf(image);
  await execa("which", [architecture.qemu.program], { timeout: 10_000 }).catch(() => {
    throw new BuildError(`${architecture.qemu.program} is not installed`);
  });
  const check = await Check.prepare(image, architecture);
  try {
    for (const [name, step] of check.steps()) {
      const begun = performance.now();
      const time = () => `${((performance.now() - begun) / 1000).toFixed(1)} s`;
      try {
        const figure = await step();
        say(`PASS ${name}${figure ? `: ${figure}` : ""} (${time()})`);
      } catch (error) {
        say(`FAIL ${name} (${time()}): ${messageOf(error)}`);
        return false;
      }
    }
    return true;
  } finally {
    await check.close();
  }
}

type Step = readonly [name: string, work: () => Promise<string | undefined>];

class Check {
  readonly #image: string;
  readonly #architecture: Architecture;
  readonly #scratch: string;
  readonly #world: World;
  #guest: Guest | null = null;

  private constructor(image: string, architecture: Architecture, scratch: string, world: World) {
    this.#image = image;
    this.#architecture = architecture;
    this.#scratch = scratch;
    this.#world = world;
  }

  static async prepare(image: string, architecture: Architecture): Promise<Check> {
    const scratch = await mkdtemp(join(tmpdir(), "amphora-check-"));
    return new Check(image, architecture, scratch, await World.make());
  }

  *steps(): Generator<Step> {
    yield ["the image is the one of its manifest", () => this.#compare()];
    const [first, second = first] = firmwaresOf(this.#architecture);
    if (first === undefined || second === undefined) return;
    yield [`boots (${first}, config drive), and the agent answers its controller`, () => this.#boot(first, true)];
    yield ["the kernel has IPVS", () => this.#hasIpvs()];
    yield ["the idle instance is small", () => this.#memory()];
    yield ["heartbeats come, sealed with its key", () => this.#heartbeat()];
    yield ["another authority's controller is refused", () => this.#stranger()];
    yield ["a spec is applied, of a pair's first", () => this.#apply(1, "pair")];
    yield ["traffic passes, when VRRP has brought the VIP", () => this.#traffic(STEP_LIMIT)];
    yield ["a spec is applied, of one of several replicas", () => this.#apply(2, "replicas")];
    yield ["traffic passes, though the others are gone", () => this.#traffic(STEP_LIMIT)];
    yield ["shuts down when the power button is pressed", () => this.#powerDown()];
    yield [`boots again (${second}, no config drive), and traffic passes by itself`, () => this.#bootAgain(second)];
  }

  async close(): Promise<void> {
    await this.#guest?.kill();
    this.#world.close();
    await rm(this.#scratch, { recursive: true, force: true });
  }

  get #running(): Guest {
    if (this.#guest === null) throw new BuildError("the machine is off");
    return this.#guest;
  }

  async #compare(): Promise<string | undefined> {
    return (await identify(this.#image)).named ? undefined : "it has none beside it";
  }

  async #boot(firmware: Firmware, withDrive: boolean): Promise<string> {
    const disk = join(this.#scratch, "disk.qcow2");
    const folder = join(this.#scratch, "drive");
    if (withDrive) {
      const backing = ["-b", this.#image, "-F", this.#image.endsWith(".raw") ? "raw" : "qcow2"];
      await execa("qemu-img", ["create", "-q", "-f", "qcow2", ...backing, disk, "4G"], { timeout: 30_000 }).catch(
        (error: Error) => {
          throw new BuildError(`it is no image: ${"stderr" in error ? String(error.stderr).trim() : error.message}`);
        },
      );
      await this.#world.writeConfigDrive(folder);
    }
    const accelerator = await acceleratorFor(this.#architecture);
    const begun = performance.now();
    const guest = await Guest.boot({
      architecture: this.#architecture,
      accelerator,
      firmware,
      disk,
      configDrive: withDrive ? { folder } : null,
      scratch: this.#scratch,
      address: this.#world.address,
    });
    this.#guest = guest;
    const info = await guest.until("the agent answers", BOOT_LIMIT, () => this.#infoOrNull());
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    return `${seconds} s after power-on under ${accelerator}, ${info.host.uptime.toFixed(0)} s after the kernel's start`;
  }

  async #infoOrNull(): Promise<AgentInfo | null> {
    return this.#world.info(5000).catch((error: unknown) => {
      if (error instanceof UnreachableError) return null;
      throw error;
    });
  }

  async #hasIpvs(): Promise<string> {
    const info = await this.#world.info(STEP_LIMIT);
    if (info.capabilities.ip_vs !== true) throw new BuildError(`the agent says: ${JSON.stringify(info.capabilities)}`);
    return Object.entries(info.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", ");
  }

  async #memory(): Promise<string> {
    const { memory } = (await this.#world.info(STEP_LIMIT)).host;
    const used = memory.total - memory.available;
    const text = `${Math.round(used / 1e6)} MB of ${Math.round(memory.total / 1e6)} in use`;
    if (used > MEMORY_LIMIT) throw new BuildError(`${text}, which is more than ${MEMORY_LIMIT / 1e6}`);
    return text;
  }

  async #heartbeat(): Promise<undefined> {
    await this.#world.heartbeat(STEP_LIMIT);
    return undefined;
  }

  async #stranger(): Promise<undefined> {
    if (await this.#world.answersStrangers(STEP_LIMIT)) throw new BuildError("it was answered");
    return undefined;
  }

  async #apply(revision: number, group: Group): Promise<string> {
    const { how, duration_ms } = await this.#world.putSpec(revision, group, STEP_LIMIT);
    return `${how} in ${duration_ms.toFixed(0)} ms`;
  }

  async #traffic(limit: number): Promise<string> {
    for (const protocol of ["HTTP", "FORWARD_TCP", "UDP"] as const) {
      await this.#running.until(`the member answers over ${protocol}`, limit, () =>
        this.#world.request(protocol, 5000).then(
          () => true,
          () => null,
        ),
      );
      for (let i = 0; i < REQUESTS; i++) await this.#world.request(protocol, STEP_LIMIT);
    }
    return `${REQUESTS} requests from client to member over each of HTTP, FORWARD_TCP and UDP`;
  }

  async #powerDown(): Promise<undefined> {
    await this.#running.powerDown();
    this.#guest = null;
    return undefined;
  }

  async #bootAgain(firmware: Firmware): Promise<string> {
    const figure = await this.#boot(firmware, false);
    await this.#traffic(STEP_LIMIT);
    const { revision } = await this.#world.info(STEP_LIMIT);
    if (revision !== 2) throw new BuildError(`revision ${revision} runs, not 2`);
    return figure;
  }
}

/** By the image's name, as the build gave it. */
async function architectureOf(image: string): Promise<Architecture> {
  await access(image).catch((error: Error) => {
    throw new BuildError(error.message);
  });
  const found = ARCHITECTURES.find(({ name }) => basename(image).includes(name));
  if (found !== undefined) return found;
  const names = ARCHITECTURES.map(({ name }) => name).join(" or ");
  throw new BuildError(`${image}: its name says no architecture (${names})`);
}
