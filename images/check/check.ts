/**
 * Checks an image as a cloud and a controller would use it: boots it with a config drive, pushes a spec, sends traffic,
 * shuts it down, and boots it again without the drive.
 */
import { randomBytes, randomInt, randomUUID } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { access, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { execa } from "execa";
import type { BootstrapDocument } from "../../agent/bootstrap/document.ts";
import { openHeartbeat } from "../../agent/protocol.ts";
import { Authority } from "../../controller/amphorae/authority.ts";
import { AgentClient, UnreachableError } from "../../controller/amphorae/client.ts";
import type { AmphoraSpecInput } from "../../templates/spec.ts";
import { ARCHITECTURES, type Architecture } from "../architectures.ts";
import { kernelFile, sha256 } from "../build.ts";
import { BuildError } from "../build-error.ts";
import { imageOf } from "../manifest.ts";
import { type Accelerator, chooseAccelerator } from "../qemu.ts";
import { firmwaresOf } from "./firmware.ts";
import { Guest, MANAGEMENT, TENANT, TENANT_MAC } from "./guest.ts";

/** From power-on to the agent's first answer, with room for a busy machine that emulates another architecture (ms). */
const BOOT_LIMIT = 600_000;
const STEP_LIMIT = 120_000;
/** Of the whole idle instance (bytes). */
const MEMORY_LIMIT = 200_000_000;

/** As Nova says it: one address by DHCP, one fixed. */
const MANAGEMENT_NETWORK = {
  links: [{ id: "tap0", type: "ovs", ethernet_mac_address: MANAGEMENT.mac, mtu: 1500, vif_id: "tap0" }],
  networks: [
    { id: "network0", link: "tap0", type: "ipv4_dhcp", network_id: "management" },
    {
      id: "network1",
      link: "tap0",
      type: "ipv6",
      ip_address: "fec0::20",
      netmask: "ffff:ffff:ffff:ffff::",
      routes: [],
    },
  ],
  services: [],
};

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
        say(`FAIL ${name} (${time()}): ${error instanceof Error ? error.message : String(error)}`);
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
  readonly #authority: Authority;
  readonly #client: AgentClient;
  readonly #member: Server;
  readonly #heartbeats: Socket;
  readonly #amphoraId = randomUUID();
  readonly #heartbeatKey = randomBytes(32);
  /** a loopback address of this check alone, so that two may run at once */
  readonly #address = `127.${randomInt(1, 255)}.${randomInt(0, 256)}.${randomInt(1, 255)}`;
  #guest: Guest | null = null;

  private constructor(
    image: string,
    architecture: Architecture,
    scratch: string,
    authority: Authority,
    client: AgentClient,
  ) {
    this.#image = image;
    this.#architecture = architecture;
    this.#scratch = scratch;
    this.#authority = authority;
    this.#client = client;
    this.#member = createServer((_, response) => response.end("member\n"));
    this.#heartbeats = createSocket("udp4");
  }

  static async prepare(image: string, architecture: Architecture): Promise<Check> {
    const scratch = await mkdtemp(join(tmpdir(), "amphora-check-"));
    const authority = await Authority.open(join(scratch, "authority"));
    const client = new AgentClient((await authority.issueController()).bundle);
    const check = new Check(image, architecture, scratch, authority, client);
    await once(check.#member.listen(0, "127.0.0.1"), "listening");
    check.#heartbeats.bind(0, "127.0.0.1");
    await once(check.#heartbeats, "listening");
    return check;
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
    yield ["a spec is applied", () => this.#apply()];
    yield ["traffic passes", () => this.#traffic(STEP_LIMIT)];
    yield ["shuts down when the power button is pressed", () => this.#powerDown()];
    yield [`boots again (${second}, no config drive), and traffic passes by itself`, () => this.#bootAgain(second)];
  }

  async close(): Promise<void> {
    await this.#guest?.kill();
    this.#client.close();
    this.#member.close();
    this.#member.closeAllConnections();
    this.#heartbeats.close();
    await rm(this.#scratch, { recursive: true, force: true });
  }

  get #to() {
    return { amphoraId: this.#amphoraId, address: this.#address };
  }

  get #running(): Guest {
    if (this.#guest === null) throw new BuildError("the machine is off");
    return this.#guest;
  }

  async #compare(): Promise<string | undefined> {
    const text = await readFile(`${this.#image}.cdx.json`, "utf8").catch(() => null);
    if (text === null) return "it has none beside it";
    const { name, sha256: wanted } = imageOf(text);
    const found = await sha256(this.#image);
    if (found !== wanted) throw new BuildError(`sha256 is ${found}, not ${wanted} as for ${name}`);
    return undefined;
  }

  async #boot(firmware: "bios" | "uefi", withDrive: boolean): Promise<string> {
    const disk = join(this.#scratch, "disk.qcow2");
    const folder = join(this.#scratch, "drive");
    if (withDrive) {
      const backing = ["-b", this.#image, "-F", this.#image.endsWith(".raw") ? "raw" : "qcow2"];
      await execa("qemu-img", ["create", "-q", "-f", "qcow2", ...backing, disk, "4G"], { timeout: 30_000 }).catch(
        (error: Error) => {
          throw new BuildError(`it is no image: ${"stderr" in error ? String(error.stderr).trim() : error.message}`);
        },
      );
      await mkdir(join(folder, "openstack/latest"), { recursive: true });
      await writeFile(join(folder, "openstack/latest/user_data"), JSON.stringify(await this.#bootstrap()));
      await writeFile(join(folder, "openstack/latest/network_data.json"), JSON.stringify(MANAGEMENT_NETWORK));
    }
    const accelerator = await this.#accelerator();
    const begun = performance.now();
    const guest = await Guest.boot({
      architecture: this.#architecture,
      accelerator,
      firmware,
      disk,
      configDrive: withDrive ? { folder } : null,
      scratch: this.#scratch,
      address: this.#address,
    });
    this.#guest = guest;
    const info = await guest.until("the agent answers", BOOT_LIMIT, () => this.#info());
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    return `${seconds} s after power-on under ${accelerator}, ${info.host.uptime.toFixed(0)} s after the kernel's start`;
  }

  /** What runs the machine is found out with a kernel: the one of the last image that was built here, or this host's. */
  async #accelerator(): Promise<Accelerator> {
    const installed = (await readdir("/boot").catch(() => [])).filter((name) => name.startsWith("vmlinuz-"));
    const kernels = [kernelFile(this.#architecture), ...installed.map((name) => join("/boot", name))];
    const kernel = kernels.find((file) => existsSync(file));
    return kernel === undefined ? "tcg" : chooseAccelerator(this.#architecture, kernel);
  }

  async #bootstrap(): Promise<BootstrapDocument> {
    const { port } = this.#heartbeats.address();
    return {
      amphora_id: this.#amphoraId,
      controllers: [{ address: MANAGEMENT.host, port }],
      heartbeat_interval_ms: 1000,
      heartbeat_key: this.#heartbeatKey.toString("base64"),
      time_servers: [],
      identity: (await this.#authority.issueAmphora(this.#amphoraId, 1)).bundle,
    };
  }

  async #info() {
    return this.#client.info(this.#to, 5000).catch((error: unknown) => {
      if (error instanceof UnreachableError) return null;
      throw error;
    });
  }

  async #hasIpvs(): Promise<string> {
    const info = await this.#client.info(this.#to, STEP_LIMIT);
    if (info.capabilities.ip_vs !== true) throw new BuildError(`the agent says: ${JSON.stringify(info.capabilities)}`);
    return Object.entries(info.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", ");
  }

  async #memory(): Promise<string> {
    const { memory } = (await this.#client.info(this.#to, STEP_LIMIT)).host;
    const used = memory.total - memory.available;
    const text = `${Math.round(used / 1e6)} MB of ${Math.round(memory.total / 1e6)} in use`;
    if (used > MEMORY_LIMIT) throw new BuildError(`${text}, which is more than ${MEMORY_LIMIT / 1e6}`);
    return text;
  }

  async #heartbeat(): Promise<undefined> {
    const deadline = AbortSignal.timeout(STEP_LIMIT);
    for (;;) {
      const [datagram] = (await once(this.#heartbeats, "message", { signal: deadline })) as [Buffer];
      if (openHeartbeat(datagram, this.#heartbeatKey)?.amphoraId === this.#amphoraId) return undefined;
    }
  }

  async #stranger(): Promise<undefined> {
    const other = await Authority.open(join(this.#scratch, "other-authority"));
    const { certificate, key } = (await other.issueController()).bundle;
    const stranger = new AgentClient({ certificate, key, ca: this.#authority.certificate });
    try {
      await stranger.info(this.#to, STEP_LIMIT);
    } catch (error) {
      if (error instanceof UnreachableError) return undefined;
      throw error;
    } finally {
      stranger.close();
    }
    throw new BuildError("it was answered");
  }

  async #apply(): Promise<string> {
    const { how, duration_ms } = await this.#client.putSpec(this.#to, this.#spec());
    return `${how} in ${duration_ms.toFixed(0)} ms`;
  }

  #spec(): AmphoraSpecInput {
    const { port } = this.#member.address() as AddressInfo;
    const [pool, listener, member] = [randomUUID(), randomUUID(), randomUUID()];
    return {
      revision: 1,
      amphora_id: this.#amphoraId,
      loadbalancer_id: randomUUID(),
      role: "STANDALONE",
      vips: [TENANT.vip],
      interfaces: [{ name: "eth1", mac: TENANT_MAC, mtu: 1500, addresses: [TENANT.address], routes: [] }],
      listeners: [{ id: listener, protocol: "HTTP", protocol_port: 80, default_pool_id: pool }],
      pools: [
        {
          id: pool,
          protocol: "HTTP",
          lb_algorithm: "ROUND_ROBIN",
          members: [{ id: member, address: TENANT.host, protocol_port: port }],
        },
      ],
    };
  }

  async #traffic(limit: number): Promise<string> {
    const url = `http://${this.#address}:8080/`;
    await this.#running.until(`${url} is answered by the member`, limit, async () => {
      const answer = await fetch(url, { signal: AbortSignal.timeout(5000) }).catch(() => null);
      return answer?.status === 200 && (await answer.text()) === "member\n" ? true : null;
    });
    const count = 100;
    for (let i = 0; i < count; i++) {
      const answer = await fetch(url, { signal: AbortSignal.timeout(STEP_LIMIT) });
      if (answer.status !== 200) throw new BuildError(`request ${i + 1}: status ${answer.status}`);
      await answer.text();
    }
    return `${count} requests from client to member`;
  }

  async #powerDown(): Promise<undefined> {
    await this.#running.powerDown();
    this.#guest = null;
    return undefined;
  }

  async #bootAgain(firmware: "bios" | "uefi"): Promise<string> {
    const figure = await this.#boot(firmware, false);
    await this.#traffic(STEP_LIMIT);
    const { revision } = await this.#client.info(this.#to, STEP_LIMIT);
    if (revision !== 1) throw new BuildError(`revision ${revision} runs, not 1`);
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
