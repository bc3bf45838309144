/**
 * Amphorae on the controller's own host: each is the real agent, with a management address of its own and its tenant's
 * side in a namespace of its own. Agents outlive the controller, which finds them again; one that dies is started again.
 */
import { chmod, mkdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Logger } from "pino";
import writeFileAtomic from "write-file-atomic";
import { AGENT_PORT } from "../../../agent/protocol.ts";
import { boundLog, endProcess, runningPid, startDetached } from "../../process.ts";
import type { Bootstrap, HostCompute, Instance, InstanceWish } from "../compute.ts";
import type { Port } from "../network.ts";
import { Instances } from "./instances.ts";
import { removeNamespace } from "./namespaces.ts";
import type { LocalNetwork } from "./network.ts";

/** As on an instance: images/files/usr/bin/amphora-agent. */
const NODE_FLAG = "--max-semi-space-size=4";

const AGENT_MAIN = join(import.meta.dirname, "../../../agent/main.ts");
const WATCH_INTERVAL = 250;
/** An agent that lives shorter than that is started again after a pause that doubles up to the limit (ms). */
const SHORT_LIFE = 5000;
const LONGEST_PAUSE = 10_000;

export interface LocalComputeOptions {
  readonly network: LocalNetwork;
  readonly deployment: string;
  /** amphorae get addresses from it, such as 127.77.0.0/16 */
  readonly managementNetwork: string;
  /** where the amphorae's folders are; several controllers on this host share it */
  readonly computeDir: string;
  readonly runDir: string;
  readonly log: Logger;
}

interface Watched {
  startedAt: number;
  pause: number;
}

/** Of the agent's settings, what is read here. */
interface Settings {
  readonly listen: { readonly address: string };
}

export class LocalCompute implements HostCompute {
  /** nothing is needed to speak with instances */
  readonly made = false;
  readonly #options: LocalComputeOptions;
  readonly #instances: Instances<Settings>;
  readonly #watched = new Map<string, Watched>();
  #timer: NodeJS.Timeout | null = null;
  #watching: Promise<void> = Promise.resolve();

  constructor(options: LocalComputeOptions) {
    this.#options = options;
    this.#instances = new Instances({
      ...options,
      recordFile: "agent.json",
      addressIn: ({ listen }) => listen.address,
      mark: (id) => this.#instances.recordFile(id),
      pidFile: "agent.pid",
    });
  }

  async prepare(): Promise<void> {}

  async start(): Promise<void> {
    this.#schedule();
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    await this.#watching;
  }

  async shutDown(): Promise<void> {
    await this.stop();
    await Promise.all((await this.list()).map((id) => this.#end(id)));
    await this.#instances.clear();
  }

  async create(amphoraId: string, _wish: InstanceWish, bootstrap: () => Promise<Bootstrap>): Promise<Instance> {
    const known = await this.#instances.record(amphoraId);
    const address = known?.listen.address ?? (await this.#prepareAgent(amphoraId, await bootstrap()));
    await this.#startAgent(amphoraId);
    return {
      compute_id: this.#instances.folder(amphoraId),
      lb_network_ip: address,
      cached_zone: "",
      image_id: null,
      compute_flavor: null,
      // an agent is there at once, and HAProxy has gone on without it
      boots: false,
    };
  }

  async plug(_amphoraId: string, port: Port): Promise<void> {
    await this.#options.network.attach(port);
  }

  async unplug(_amphoraId: string, port: Port): Promise<void> {
    await this.#options.network.detach(port);
  }

  remove(amphoraId: string): Promise<void> {
    return this.#instances.remove(amphoraId, () => this.#end(amphoraId));
  }

  list(): Promise<string[]> {
    return this.#instances.list();
  }

  running(): Promise<string[]> {
    return this.#instances.running();
  }

  #namespace(amphoraId: string): string {
    return `amphora-${this.#options.deployment}-${amphoraId.slice(0, 13)}`;
  }

  /** Writes what the agent needs; the settings last, so that they are there only when everything is. */
  #prepareAgent(amphoraId: string, bootstrap: Bootstrap): Promise<string> {
    return this.#instances.claimAddress(amphoraId, async (address) => {
      const folder = this.#instances.folder(amphoraId);
      const private_ = { mode: 0o600 };
      await writeFileAtomic(join(folder, "identity.json"), JSON.stringify(bootstrap.identity), private_);
      await writeFileAtomic(join(folder, "heartbeat.key"), bootstrap.heartbeatKey, private_);
      const settings = {
        amphora_id: amphoraId,
        listen: { address, port: AGENT_PORT },
        ...bootstrap.reporting,
        heartbeat_key_file: join(folder, "heartbeat.key"),
        identity_file: join(folder, "identity.json"),
        namespace: this.#namespace(amphoraId),
        config_dir: join(folder, "etc"),
        run_dir: this.#instances.runFolder(amphoraId),
        state_dir: join(folder, "state"),
      };
      await writeFileAtomic(this.#instances.recordFile(amphoraId), JSON.stringify(settings, null, 2), private_);
    });
  }

  /** Starts the agent unless it runs, or has been removed meanwhile. */
  #startAgent(amphoraId: string): Promise<void> {
    const instances = this.#instances;
    return instances.alone(amphoraId, async () => {
      if ((await instances.record(amphoraId)) === null || (await instances.runs(amphoraId))) return;
      const runFolder = instances.runFolder(amphoraId);
      await mkdir(runFolder, { recursive: true });
      // keepalived's checks have no privileges, and pass through here to what the agent has put there for them
      for (const each of [dirname(runFolder), runFolder]) await chmod(each, 0o711);
      const watched = this.#watched.get(amphoraId);
      this.#watched.set(amphoraId, { startedAt: Date.now(), pause: watched?.pause ?? 0 });
      const command = [
        process.execPath,
        NODE_FLAG,
        AGENT_MAIN,
        "run",
        "--config",
        instances.recordFile(amphoraId),
      ] as const;
      await startDetached(instances.pidFile(amphoraId), this.#log(amphoraId), [...command]);
    });
  }

  #end(amphoraId: string): Promise<void> {
    this.#watched.delete(amphoraId);
    return this.#instances.alone(amphoraId, async () => {
      await this.#instances.runs(amphoraId);
      await endProcess(this.#instances.pidFile(amphoraId));
      await removeNamespace(this.#namespace(amphoraId));
      await rm(this.#instances.runFolder(amphoraId), { recursive: true, force: true });
    });
  }

  #log(amphoraId: string): string {
    return join(this.#instances.folder(amphoraId), "agent.log");
  }

  #schedule(): void {
    this.#timer = setTimeout(() => {
      this.#watching = this.#watch();
      void this.#watching.then(() => {
        if (this.#timer !== null) this.#schedule();
      });
    }, WATCH_INTERVAL);
  }

  /** Starts agents again that have died, and keeps their logs bounded. */
  async #watch(): Promise<void> {
    for (const id of await this.list()) {
      try {
        await boundLog(this.#log(id));
        // one that was never started here is somebody's who is about to
        const watched = this.#watched.get(id) ?? { startedAt: Date.now(), pause: 0 };
        this.#watched.set(id, watched);
        if ((await runningPid(this.#instances.pidFile(id))) !== null) continue;
        if ((await this.#instances.record(id)) === null) continue;
        const age = Date.now() - watched.startedAt;
        if (age < Math.max(watched.pause, WATCH_INTERVAL)) continue;
        watched.pause = age < SHORT_LIFE ? Math.min(Math.max(watched.pause * 2, WATCH_INTERVAL), LONGEST_PAUSE) : 0;
        this.#options.log.warn({ amphora: id }, "the agent has died: starting it again");
        await this.#startAgent(id);
      } catch (error) {
        this.#options.log.error({ err: error, amphora: id }, "watching over the agent failed");
      }
    }
  }
}
