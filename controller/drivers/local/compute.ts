/**
 * Amphorae on the controller's own host: each is the real agent, with a management address of its own and its tenant's
 * side in a namespace of its own. Agents outlive the controller, which finds them again; one that dies is started again.
 */
import { mkdir, readdir, readFile, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import writeFileAtomic from "write-file-atomic";
import { AGENT_PORT } from "../../../agent/protocol.ts";
import { adopt, endProcess, runningPid, startDetached } from "../../process.ts";
import type { Bootstrap, ComputeDriver, Instance, InstanceWish } from "../compute.ts";
import type { Port } from "../network.ts";
import { rangeOf, toAddress, toNumber } from "./addresses.ts";
import { withHostLock } from "./lock.ts";
import { namespaces, removeNamespace } from "./namespaces.ts";
import type { LocalNetwork } from "./network.ts";

const AGENT_MAIN = join(import.meta.dirname, "../../../agent/main.ts");
const WATCH_INTERVAL = 250;
/** An agent that lives shorter than that is started again after a pause that doubles up to the limit (ms). */
const SHORT_LIFE = 5000;
const LONGEST_PAUSE = 10_000;
const MAX_LOG_BYTES = 10 * 1024 * 1024;

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

export class LocalCompute implements ComputeDriver {
  readonly #options: LocalComputeOptions;
  readonly #watched = new Map<string, Watched>();
  #timer: NodeJS.Timeout | null = null;
  #watching: Promise<void> = Promise.resolve();

  constructor(options: LocalComputeOptions) {
    this.#options = options;
  }

  /** Begins to watch over the agents that there are, whoever started them. */
  async start(): Promise<void> {
    this.#schedule();
  }

  /** Stops watching. Agents and traffic go on. */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    await this.#watching;
  }

  /** Ends every amphora's processes and removes every namespace of the deployment; what is on disk stays. */
  async shutDown(): Promise<void> {
    await this.stop();
    await Promise.all((await this.list()).map((id) => this.#end(id)));
    for (const name of await namespaces(this.#namespacePrefix)) await removeNamespace(name);
    await rm(this.#options.runDir, { recursive: true, force: true });
  }

  async create(amphoraId: string, _wish: InstanceWish, bootstrap: () => Promise<Bootstrap>): Promise<Instance> {
    const folder = this.#folder(amphoraId);
    const address = (await this.#addressOf(amphoraId)) ?? (await this.#prepare(amphoraId, await bootstrap()));
    await this.#startAgent(amphoraId);
    return { compute_id: folder, lb_network_ip: address, cached_zone: "", image_id: null, compute_flavor: null };
  }

  async plug(_amphoraId: string, port: Port): Promise<void> {
    await this.#options.network.attach(port);
  }

  async unplug(_amphoraId: string, port: Port): Promise<void> {
    await this.#options.network.detach(port);
  }

  async remove(amphoraId: string): Promise<void> {
    // nobody starts its agent again
    await rm(this.#settingsFile(amphoraId), { force: true });
    await this.#end(amphoraId);
    await rm(this.#folder(amphoraId), { recursive: true, force: true });
  }

  async list(): Promise<string[]> {
    return await readdir(join(this.#options.computeDir, "amphorae")).catch(() => []);
  }

  async running(): Promise<string[]> {
    const ids = await this.list();
    const pids = await Promise.all(ids.map((id) => runningPid(this.#pidFile(id))));
    return ids.filter((_, i) => pids[i] !== null);
  }

  #settingsFile(amphoraId: string): string {
    return join(this.#folder(amphoraId), "agent.json");
  }

  #folder(amphoraId: string): string {
    return join(this.#options.computeDir, "amphorae", amphoraId);
  }

  /** Short: the path of a UNIX socket has at most 107 bytes (unix(7)). */
  #runFolder(amphoraId: string): string {
    return join(this.#options.runDir, amphoraId.slice(0, 13));
  }

  #pidFile(amphoraId: string): string {
    return join(this.#runFolder(amphoraId), "agent.pid");
  }

  get #namespacePrefix(): string {
    return `amphora-${this.#options.deployment}-`;
  }

  #namespace(amphoraId: string): string {
    return `${this.#namespacePrefix}${amphoraId.slice(0, 13)}`;
  }

  /** Writes what the agent needs; the settings last, so that they are there only when everything is. */
  #prepare(amphoraId: string, bootstrap: Bootstrap): Promise<string> {
    // two must not find the same address free
    return withHostLock(`amphora-${this.#options.deployment}-addresses`, async () => {
      const folder = this.#folder(amphoraId);
      const address = await this.#freeAddress();
      await mkdir(folder, { recursive: true, mode: 0o700 });
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
        run_dir: this.#runFolder(amphoraId),
        state_dir: join(folder, "state"),
      };
      await writeFileAtomic(this.#settingsFile(amphoraId), JSON.stringify(settings, null, 2), private_);
      return address;
    });
  }

  async #addressOf(amphoraId: string): Promise<string | null> {
    const text = await readFile(this.#settingsFile(amphoraId), "utf8").catch(() => null);
    return text === null ? null : (JSON.parse(text) as { listen: { address: string } }).listen.address;
  }

  async #freeAddress(): Promise<string> {
    const addresses = await Promise.all((await this.list()).map((id) => this.#addressOf(id)));
    const taken = new Set(addresses.flatMap((address) => (address === null ? [] : [toNumber(address)])));
    const { first, last, family } = rangeOf(this.#options.managementNetwork);
    for (let value = first + 2n; value < last; value++) if (!taken.has(value)) return toAddress(value, family);
    throw new Error(`management-network: ${this.#options.managementNetwork} has no address left`);
  }

  /** Starts the agent unless it runs, or has been removed meanwhile. */
  #startAgent(amphoraId: string): Promise<void> {
    return this.#alone(amphoraId, async () => {
      if ((await this.#addressOf(amphoraId)) === null) return;
      await adopt(this.#pidFile(amphoraId), this.#settingsFile(amphoraId));
      if ((await runningPid(this.#pidFile(amphoraId))) !== null) return;
      await mkdir(this.#runFolder(amphoraId), { recursive: true, mode: 0o700 });
      const watched = this.#watched.get(amphoraId);
      this.#watched.set(amphoraId, { startedAt: Date.now(), pause: watched?.pause ?? 0 });
      const command = [process.execPath, AGENT_MAIN, "run", "--config", this.#settingsFile(amphoraId)] as const;
      await startDetached(this.#pidFile(amphoraId), join(this.#folder(amphoraId), "agent.log"), [...command]);
    });
  }

  #end(amphoraId: string): Promise<void> {
    this.#watched.delete(amphoraId);
    return this.#alone(amphoraId, async () => {
      await adopt(this.#pidFile(amphoraId), this.#settingsFile(amphoraId));
      await endProcess(this.#pidFile(amphoraId));
      await removeNamespace(this.#namespace(amphoraId));
      await rm(this.#runFolder(amphoraId), { recursive: true, force: true });
    });
  }

  /** One at a time for each amphora: another controller may be at it too. */
  #alone(amphoraId: string, work: () => Promise<void>): Promise<void> {
    return withHostLock(`amphora-${this.#options.deployment}-${amphoraId}`, work);
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
        await boundLog(join(this.#folder(id), "agent.log"));
        // one that was never started here is somebody's who is about to
        const watched = this.#watched.get(id) ?? { startedAt: Date.now(), pause: 0 };
        this.#watched.set(id, watched);
        if ((await runningPid(this.#pidFile(id))) !== null || (await this.#addressOf(id)) === null) continue;
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

/** Empties a log that has grown too large; its writer appends, and goes on at the start. */
async function boundLog(file: string): Promise<void> {
  const size = await stat(file).then(
    (found) => found.size,
    () => 0,
  );
  if (size > MAX_LOG_BYTES) await truncate(file);
}
