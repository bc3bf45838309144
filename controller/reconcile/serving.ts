/** What each amphora of a load balancer is told, in which order, and how the VIPs pass from those that go to those that come. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import type { VrrpState } from "../../agent/protocol.ts";
import { type AgentClient, addressOf, RefusedError } from "../amphorae/client.ts";
import { type GroupMember, type Standing, specOf } from "../amphorae/spec.ts";
import type { TlsMaterial } from "../certificates/tls.ts";
import type { Port } from "../drivers/network.ts";
import { type Amphora, amphora } from "../model/amphora.ts";
import type { Topology } from "../model/flavor-profile.ts";
import type { Store } from "../store/database.ts";
import { timestamp, updateRow } from "../store/rows.ts";
import type { Tree } from "../store/tree.ts";

/** An amphora runs a revision that the store does not know of yet, or no longer. */
export class AheadError extends Error {
  override readonly name = "AheadError";
  readonly revision: number;

  constructor(amphoraId: string, revision: number) {
    super(`amphora ${amphoraId} runs revision ${revision} already`);
    this.revision = revision;
  }
}

export interface ServingOptions {
  readonly store: Store;
  readonly client: Pick<AgentClient, "info" | "putSpec" | "health">;
  readonly advertIntervalMs: number;
  readonly forwarding: Standing["forwarding"];
  readonly log: Logger;
}

/** An amphora and its addresses, on the VIP's subnet first. */
export interface Placed {
  readonly row: Amphora;
  readonly ports: readonly Port[];
}

/** What the specs of one revision have in common. */
export interface Situation {
  readonly tree: Tree;
  readonly topology: Topology;
  readonly tls: TlsMaterial;
  /** addresses that go with the VIPs */
  readonly shared: readonly Port[];
  /** every amphora that serves or has served, those that are about to go among them */
  readonly group: readonly Placed[];
}

const POLL = 50;
const CANDIDATES: readonly VrrpState[] = ["BACKUP", "MASTER"];
/** HAProxy is asked once a second, and a master that is lost is missed for three adverts (ms). */
const ELECTION_LIMIT = 10_000;

export class Serving {
  readonly #options: ServingOptions;

  constructor(options: ServingOptions) {
    this.#options = options;
  }

  /**
   * Gives an amphora its spec.
   * @throws {AheadError} when it runs a newer revision than the store has @throws what `AgentClient.putSpec` throws
   */
  async serve(situation: Situation, { row, ports }: Placed, standby = false): Promise<void> {
    const { store, client, log, advertIntervalMs, forwarding } = this.#options;
    const { tree, topology, tls, shared } = situation;
    const group = membersOf(situation);
    const common = { group, topology, tls, shared, advertIntervalMs, forwarding };
    const spec = specOf(tree, { amphora: row, ports, standby, ...common });
    const answer = await client.putSpec(addressOf(row), spec).catch(async (error: unknown) => {
      if (!(error instanceof RefusedError) || error.status !== 409) throw error;
      throw new AheadError(row.id, (await client.info(addressOf(row))).revision);
    });
    log.info({ loadbalancer: tree.loadBalancer.id, amphora: row.id, ...answer }, "spec in force");
    // with the VIPs it begins to serve
    if (row.retiring || standby) return;
    const [first] = ports;
    const patch: Partial<Amphora> = {
      status: "ALLOCATED",
      revision: answer.revision,
      vrrp_ip: first?.address ?? null,
      vrrp_port_id: first?.id ?? null,
    };
    const news = row.status !== "ALLOCATED" || row.vrrp_ip !== patch.vrrp_ip;
    await updateRow(store.db, amphora, row.id, news ? { ...patch, updated_at: timestamp() } : patch);
  }

  /** Those of them whose agents answer. */
  async listening(placed: readonly Placed[]): Promise<Placed[]> {
    const infos = await Promise.allSettled(placed.map(({ row }) => this.#options.client.info(addressOf(row))));
    return placed.filter((_, i) => infos[i]?.status === "fulfilled");
  }

  /**
   * Tells those that are about to go. They may be out of reach: that keeps nobody from taking their place.
   * @param standby whether they are to give up the VIPs now
   */
  async tellLeaving(situation: Situation, leaving: readonly Placed[], standby: boolean): Promise<void> {
    const results = await Promise.allSettled(leaving.map((each) => this.serve(situation, each, standby)));
    results.forEach((result, i) => {
      if (result.status === "fulfilled") return;
      this.#options.log.warn({ amphora: leaving[i]?.row.id, err: result.reason }, "one that is to go does not listen");
    });
  }

  /**
   * Waits until one of these could hold the VIPs, or holds them.
   * @throws {Error} none of them comes to that
   */
  async awaitCandidate(rows: readonly Amphora[], signal: AbortSignal): Promise<void> {
    if (await this.#await(rows, CANDIDATES, signal)) return;
    throw new Error("none of the new amphorae is fit to hold the VIPs: those that are to go stay for now");
  }

  /** Whether one of these could hold the VIPs now, or holds them. */
  async hasCandidate(rows: readonly Amphora[]): Promise<boolean> {
    return (await this.#states(rows)).some((state) => CANDIDATES.includes(state));
  }

  /** Waits until one of these holds the VIPs, but not for ever. */
  async awaitMaster(rows: readonly Amphora[], signal: AbortSignal): Promise<void> {
    if (await this.#await(rows, ["MASTER"], signal)) return;
    this.#options.log.error({ amphorae: rows.map(({ id }) => id) }, "none of the amphorae has taken the VIPs");
  }

  async #await(rows: readonly Amphora[], wanted: readonly VrrpState[], signal: AbortSignal): Promise<boolean> {
    const deadline = Date.now() + ELECTION_LIMIT;
    while (Date.now() < deadline) {
      if ((await this.#states(rows)).some((state) => wanted.includes(state))) return true;
      await sleep(POLL, undefined, { signal });
    }
    return false;
  }

  /** Of those that answer. */
  async #states(rows: readonly Amphora[]): Promise<VrrpState[]> {
    const reports = await Promise.allSettled(rows.map((row) => this.#options.client.health(addressOf(row))));
    return reports.flatMap((each) => (each.status === "fulfilled" ? (each.value.vrrp?.state ?? []) : []));
  }
}

function membersOf({ group }: Situation): GroupMember[] {
  return group.flatMap(({ row, ports: [port] }) => (port === undefined ? [] : [{ amphora: row, port }]));
}
