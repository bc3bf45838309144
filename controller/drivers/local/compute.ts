/**
 * Amphorae on the controller's own host: each is the real agent, with a management address of its own and its tenant's
 * side in a namespace of its own. Agents outlive the controller, which finds them again; one that dies is started again.
 */
import { mkdir, readdir, readFile, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import writeFileAtomic from "write-file-atomic";
import { AGENT_PORT } from "../../../agent/protocol.ts";
import { endProcess, runningPid, startDetached } from "../../process.ts";
import type { Bootstrap, ComputeDriver, Instance, InstanceWish } from "../compute.ts";
import type { Port } from "../network.ts";
import { rangeOf, toAddress, toNumber } from "./addresses.ts";
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
  readonly dataDir: string;
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
  #addresses: Promise<unknown> = Promise.resolve();

  constructor(options: LocalComputeOptions) {
    this.#options = options;
  }

  /** Takes up the agents that an earlier controller left, and begins to watch over them. */
  async start(): Promise<void> {
    for (const id of await this.running()) this.#watched.set(id, { startedAt: Date.now(), pause: 0 });
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
    if ((await runningPid(this.#pidFile(amphoraId))) === null) await this.#startAgent(amphoraId);
    return { compute_id: folder, lb_network_ip: address, cached_zone: "", image_id: null, compute_flavor: null };
  }

  async plug(_amphoraId: string, port: Port): Promise<void> {
    await this.#options.network.attach(port);
  }

  async unplug(_amphoraId: string, port: Port): Promise<void> {
    await this.#options.network.detach(port);
  }

  async remove(amphoraId: string): Promise<void> {
    await this.#end(amphoraId);
    await rm(this.#folder(amphoraId), { recursive: true, force: true });
  }

  async list(): Promise<string[]> {
    return await readdir(join(this.#options.dataDir, "amphorae")).catch(() => []);
  }

  async running(): Promise<string[]> {
    const ids = await this.list();
    const pids = await Promise.all(ids.map((id) => runningPid(this.#pidFile(id))));
    return ids.filter((_, i) => pids[i] !== null);
  }

  #folder(amphoraId: string): string {
    return join(this.#options.dataDir, "amphorae", amphoraId);
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
    const work = async () => {
      const folder = this.#folder(amphoraId);
      const address = await this.#freeAddress();
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const private_ = { mode: 0o600 };
      await writeFileAtomic(join(folder, "identity.json"), JSON.stringify(bootstrap.identity), private_);
      await writeFileAtomic(join(folder, "heartbeat.key"), bootstrap.heartbeatKey, private_);
      const settings = {
        amphora_id: amphoraId,
        listen: { address, port: AGENT_PORT },
        controllers: bootstrap.controllers,
        heartbeat_interval_ms: bootstrap.heartbeatIntervalMs,
        heartbeat_key_file: join(folder, "heartbeat.key"),
        identity_file: join(folder, "identity.json"),
        namespace: this.#namespace(amphoraId),
        config_dir: join(folder, "etc"),
        run_dir: this.#runFolder(amphoraId),
        state_dir: join(folder, "state"),
      };
      await writeFileAtomic(join(folder, "agent.json"), JSON.stringify(settings, null, 2), private_);
      return address;
    };
    // one at a time: two must not find the same address free
    const result = this.#addresses.then(work);
    this.#addresses = result.catch(() => undefined);
    return result;
  }

  async #addressOf(amphoraId: string): Promise<string | null> {
    const text = await readFile(join(this.#folder(amphoraId), "agent.json"), "utf8").catch(() => null);
    return text === null ? null : (JSON.parse(text) as { listen: { address: string } }).listen.address;
  }

  async #freeAddress(): Promise<string> {
    const addresses = await Promise.all((await this.list()).map((id) => this.#addressOf(id)));
    const taken = new Set(addresses.flatMap((address) => (address === null ? [] : [toNumber(address)])));
    const { first, last, family } = rangeOf(this.#options.managementNetwork);
    for (let value = first + 2n; value < last; value++) if (!taken.has(value)) return toAddress(value, family);
    throw new Error(`management-network: ${this.#options.managementNetwork} has no address left`);
  }

  async #startAgent(amphoraId: string): Promise<void> {
    const folder = this.#folder(amphoraId);
    const log = join(folder, "agent.log");
    await mkdir(this.#runFolder(amphoraId), { recursive: true, mode: 0o700 });
    const watched = this.#watched.get(amphoraId);
    this.#watched.set(amphoraId, { startedAt: Date.now(), pause: watched?.pause ?? 0 });
    const command = [process.execPath, AGENT_MAIN, "run", "--config", join(folder, "agent.json")] as const;
    await startDetached(this.#pidFile(amphoraId), log, [...command]);
  }

  async #end(amphoraId: string): Promise<void> {
    this.#watched.delete(amphoraId);
    await this.#watching;
    await endProcess(this.#pidFile(amphoraId));
    await removeNamespace(this.#namespace(amphoraId));
    await rm(this.#runFolder(amphoraId), { recursive: true, force: true });
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
    for (const [id, watched] of [...this.#watched]) {
      try {
        await boundLog(join(this.#folder(id), "agent.log"));
        if ((await runningPid(this.#pidFile(id))) !== null) continue;
        const age = Date.now() - watched.startedAt;
        if (age < watched.pause || !this.#watched.has(id)) continue;
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
