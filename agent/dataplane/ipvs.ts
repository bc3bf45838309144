/** The kernel's IPVS table, read and put right by ipvsadm(8). */
import { access } from "node:fs/promises";
import { CommandError, run, runInside } from "./inside.ts";
import {
  parseTable,
  parseTimeouts,
  parseTraffic,
  type TableService,
  type Timeouts,
  type Traffic,
} from "./ipvs-table.ts";

export interface IpvsState {
  readonly table: readonly TableService[];
  /** by the key of the service */
  readonly traffic: ReadonlyMap<string, Traffic>;
}

/** Whether this kernel has IPVS, having loaded its module if that was all that was missing. */
export async function hasIpvs(): Promise<boolean> {
  if (await isThere("/proc/net/ip_vs")) return true;
  // 2^18 buckets, 2 MiB: the module's own 4,096 make each look-up a walk once there are some 100,000 connections
  await run(["modprobe", "-q", "ip_vs", "conn_tab_bits=18"], { timeout: 60_000 }).catch(() => "");
  return isThere("/proc/net/ip_vs");
}

export class Ipvs {
  readonly #namespace: string;

  constructor(namespace: string) {
    this.#namespace = namespace;
  }

  /** @throws {CommandError} */
  async read(): Promise<IpvsState> {
    const [table, traffic] = await Promise.all([this.#ipvsadm("-Ln"), this.#ipvsadm("-Ln", "--stats", "--exact")]);
    return { table: parseTable(table), traffic: parseTraffic(traffic) };
  }

  /** @throws {CommandError} */
  async table(): Promise<TableService[]> {
    return parseTable(await this.#ipvsadm("-Ln"));
  }

  /** @throws {CommandError} */
  async timeouts(): Promise<Timeouts | null> {
    return parseTimeouts(await this.#ipvsadm("-l", "--timeout"));
  }

  /**
   * Carries out commands, each the words of one. Members come and go by themselves: a command for one that has just gone
   * fails, and does not keep the others from being carried out.
   * @returns what ipvsadm refused
   */
  async carryOut(commands: readonly string[]): Promise<string[]> {
    const refused: string[] = [];
    for (const command of commands) {
      await this.#ipvsadm(...command.split(" ")).catch((error: unknown) => {
        if (!(error instanceof CommandError)) throw error;
        refused.push(error.message);
      });
    }
    return refused;
  }

  /** Forgets every service; their connections end. @throws {CommandError} */
  async clear(): Promise<void> {
    await this.#ipvsadm("-C");
  }

  #ipvsadm(...words: string[]): Promise<string> {
    return runInside(this.#namespace, ["ipvsadm", ...words]);
  }
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
