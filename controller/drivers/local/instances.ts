/** What compute drivers on this host have in common: where an instance's things are, its address, and its process. */
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { adopt, runningPid } from "../../process.ts";
import { rangeOf, toAddress, toNumber } from "./addresses.ts";
import { withHostLock } from "./lock.ts";
import { namespaces, removeNamespace } from "./namespaces.ts";

export interface InstancesOptions<Record> {
  /** four hexadecimal digits that tell this deployment's things from others' */
  readonly deployment: string;
  /** instances get addresses from it */
  readonly managementNetwork: string;
  /** where the instances' folders are; several controllers on this host share it */
  readonly computeDir: string;
  readonly runDir: string;
  /** the file in an instance's folder that is there only when everything else is */
  readonly recordFile: string;
  readonly addressIn: (record: Record) => string;
  /** a word of the process's command line that no other process has */
  readonly mark: (id: string) => string;
  /** the process's pid file, in the run folder */
  readonly pidFile: string;
}

/** @template Record what is in the record file */
export class Instances<Record> {
  readonly #options: InstancesOptions<Record>;

  constructor(options: InstancesOptions<Record>) {
    this.#options = options;
  }

  async list(): Promise<string[]> {
    return await readdir(join(this.#options.computeDir, "amphorae")).catch(() => []);
  }

  async running(): Promise<string[]> {
    const ids = await this.list();
    const pids = await Promise.all(ids.map((id) => runningPid(this.pidFile(id))));
    return ids.filter((_, i) => pids[i] !== null);
  }

  folder(id: string): string {
    return join(this.#options.computeDir, "amphorae", id);
  }

  /** Short: the path of a UNIX socket has at most 107 bytes (unix(7)). */
  runFolder(id: string): string {
    return join(this.#options.runDir, id.slice(0, 13));
  }

  pidFile(id: string): string {
    return join(this.runFolder(id), this.#options.pidFile);
  }

  recordFile(id: string): string {
    return join(this.folder(id), this.#options.recordFile);
  }

  /** Null: there is no such instance, or not yet all of it. */
  async record(id: string): Promise<Record | null> {
    const text = await readFile(this.recordFile(id), "utf8").catch(() => null);
    return text === null ? null : (JSON.parse(text) as Record);
  }

  /** Has an instance written down, at an address that no other one has. */
  claimAddress(id: string, write: (address: string) => Promise<void>): Promise<string> {
    // two must not find the same address free
    return withHostLock(`amphora-${this.#options.deployment}-addresses`, async () => {
      const address = await this.#freeAddress();
      await mkdir(this.folder(id), { recursive: true, mode: 0o700 });
      await write(address);
      return address;
    });
  }

  /** One at a time for each instance: another controller may be at it too. */
  alone<T>(id: string, work: () => Promise<T>): Promise<T> {
    return withHostLock(`amphora-${this.#options.deployment}-${id}`, work);
  }

  /** Whether its process runs, whoever started it. */
  async runs(id: string): Promise<boolean> {
    await adopt(this.pidFile(id), this.#options.mark(id));
    return (await runningPid(this.pidFile(id))) !== null;
  }

  /** Removes the instance's folder. Nobody starts it again, though it may run until `end` is done. */
  async remove(id: string, end: () => Promise<void>): Promise<void> {
    await rm(this.recordFile(id), { force: true });
    await end();
    await rm(this.folder(id), { recursive: true, force: true });
  }

  /** What no process of the deployment needs any more: namespaces, and the run folder. */
  async clear(): Promise<void> {
    const prefix = `amphora-${this.#options.deployment}-`;
    for (const name of await namespaces(prefix)) await removeNamespace(name);
    await rm(this.#options.runDir, { recursive: true, force: true });
  }

  async #freeAddress(): Promise<string> {
    const records = await Promise.all((await this.list()).map((id) => this.record(id)));
    const taken = new Set(records.flatMap((each) => (each === null ? [] : [toNumber(this.#options.addressIn(each))])));
    const { managementNetwork } = this.#options;
    const { first, last, family } = rangeOf(managementNetwork);
    for (let value = first + 2n; value < last; value++) if (!taken.has(value)) return toAddress(value, family);
    throw new Error(`management-network: ${managementNetwork} has no address left`);
  }
}
