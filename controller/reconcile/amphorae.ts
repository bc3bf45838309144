/** The steps from a row in the store to an amphora that serves. Each may be carried out again after a crash. */
import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import type { Authority } from "../amphorae/authority.ts";
import { type AgentClient, RefusedError, UnreachableError } from "../amphorae/client.ts";
import { type Standing, specOf, subnetsOf, VIP_INTERFACE } from "../amphorae/spec.ts";
import type { Bootstrap, ComputeDriver } from "../drivers/compute.ts";
import type { NetworkDriver, Port } from "../drivers/network.ts";
import { type Amphora, amphora } from "../model/amphora.ts";
import { type LoadBalancer, loadBalancer as loadBalancerResource } from "../model/load-balancer.ts";
import type { Blueprint } from "../store/blueprint.ts";
import type { Store } from "../store/database.ts";
import { insertRow, lockRow, newRow, timestamp, updateRow } from "../store/rows.ts";
import { retireStatistics } from "../store/statistics.ts";
import type { Tree } from "../store/tree.ts";
import type { AmphoraePlan, Slot } from "./plan.ts";

const READY_POLL = 25;
/** An agent that died is back within this (ms). */
const RETURN_LIMIT = 5000;

/** An amphora runs a revision that the store does not know of yet, or no longer. */
export class AheadError extends Error {
  override readonly name = "AheadError";
  readonly revision: number;

  constructor(amphoraId: string, revision: number) {
    super(`amphora ${amphoraId} runs revision ${revision} already`);
    this.revision = revision;
  }
}

export interface AmphoraeOptions {
  readonly store: Store;
  readonly compute: ComputeDriver;
  readonly network: NetworkDriver;
  readonly client: AgentClient;
  readonly authority: Authority;
  /** where agents send heartbeats */
  readonly heartbeats: Bootstrap["controllers"];
  readonly heartbeatIntervalMs: number;
  readonly certificateDays: number;
  /** ms that an instance may take until its agent answers */
  readonly bootLimit: number;
  readonly advertIntervalMs: number;
  readonly forwarding: Standing["forwarding"];
  readonly log: Logger;
}

/** An amphora whose agent answers, with its ports in place: ready for the spec. */
export interface Ready {
  readonly row: Amphora;
  readonly ports: readonly Port[];
}

export class Amphorae {
  readonly #options: AmphoraeOptions;

  constructor(options: AmphoraeOptions) {
    this.#options = options;
  }

  /**
   * Writes a plan down, before anything is asked of the compute service: parts that have changed, amphorae that go, and
   * those that are to be.
   * @returns the rows of those that are to serve
   */
  async record(loadBalancer: LoadBalancer, { keep, add, retire }: AmphoraePlan): Promise<Amphora[]> {
    const fresh = add.map((slot) => this.#newRow(loadBalancer, slot));
    const kept = keep.map(({ row, slot }) => ({ ...row, ...slot }));
    await this.#options.store.transaction(async (trx) => {
      for (const { row, slot } of keep) {
        const { role, vrrp_priority } = row;
        if (role === slot.role && vrrp_priority === slot.vrrp_priority) continue;
        await updateRow(trx, amphora, row.id, slot);
      }
      for (const row of retire) if (!row.retiring) await updateRow(trx, amphora, row.id, { retiring: true });
      for (const row of fresh) await insertRow(trx, amphora, row);
      // a failover that was asked for is done with that
      if (loadBalancer.failover) await updateRow(trx, loadBalancerResource, loadBalancer.id, { failover: false });
    });
    return [...kept, ...fresh];
  }

  /**
   * Has the instance run, its agent answer, and its interfaces be there.
   * @throws {UnreachableError} when the agent does not answer within the boot limit
   */
  async boot(
    tree: Tree,
    blueprint: Blueprint,
    row: Amphora,
    group: readonly Amphora[],
    signal: AbortSignal,
  ): Promise<Ready> {
    const { compute, network, store } = this.#options;
    const known: Partial<Amphora> = {};
    const wish = {
      loadBalancerId: tree.loadBalancer.id,
      computeFlavor: blueprint.computeFlavor,
      volumeType: blueprint.volumeType,
      computeZone: blueprint.computeZone,
      cpuArch: blueprint.cpuArch,
      apartFrom: group.flatMap(({ id }) => (id === row.id ? [] : [id])),
    };
    const instance = await compute.create(row.id, wish, () => this.#bootstrap(row, known));
    Object.assign(known, instance);
    const changed = Object.entries(known).filter(([column, value]) => row[column as keyof Amphora] !== value);
    if (changed.length > 0) await updateRow(store.db, amphora, row.id, Object.fromEntries(changed));
    const booted = { ...row, ...known };
    await this.#ready(booted, signal);
    const ports: Port[] = [];
    for (const subnetId of subnetsOf(tree)) {
      const port = await store.transaction((trx) => network.reserveAmphoraPort(trx, row.id, subnetId));
      await compute.plug(row.id, port);
      ports.push(port);
    }
    return { row: booted, ports };
  }

  /**
   * Gives the amphora the spec, then takes away what it no longer needs.
   * @param group every amphora that is to serve
   * @throws {AheadError} when it runs a newer revision than the store has @throws what `AgentClient.putSpec` throws
   */
  async serve(tree: Tree, blueprint: Blueprint, { row, ports }: Ready, group: readonly Ready[]): Promise<void> {
    const { store, client, log, advertIntervalMs, forwarding } = this.#options;
    const [first] = ports;
    if (first === undefined) throw new TypeError(`amphora ${row.id} has no port`);
    const peers = group.flatMap((each) =>
      each.ports[0] === undefined ? [] : [{ id: each.row.id, port: each.ports[0] }],
    );
    const { topology } = blueprint;
    const spec = specOf(tree, { amphora: row, ports, group: peers, topology, advertIntervalMs, forwarding });
    const answer = await client.putSpec(address(row), spec).catch(async (error: unknown) => {
      if (!(error instanceof RefusedError) || error.status !== 409) throw error;
      throw new AheadError(row.id, (await client.info(address(row))).revision);
    });
    log.info({ loadbalancer: tree.loadBalancer.id, amphora: row.id, ...answer }, "spec in force");
    const patch: Partial<Amphora> = {
      status: "ALLOCATED",
      revision: answer.revision,
      vrrp_ip: first.address,
      vrrp_port_id: first.id,
    };
    const news = row.status !== "ALLOCATED" || row.vrrp_ip !== first.address;
    await updateRow(store.db, amphora, row.id, news ? { ...patch, updated_at: timestamp() } : patch);
    await this.#unplugOthers(row, ports);
  }

  /** Has instances that never came up replaced by others; those that have served before are left to the health watch. */
  async giveUp(rows: readonly Amphora[]): Promise<void> {
    for (const row of rows) {
      if (row.status === "ALLOCATED") continue;
      await updateRow(this.#options.store.db, amphora, row.id, { status: "ERROR", retiring: true });
    }
  }

  /** Ends the instance, gives its addresses back and forgets the row: in this order, so that a crash leaks nothing. */
  async remove(row: Amphora): Promise<void> {
    const { compute, network, store } = this.#options;
    await updateRow(store.db, amphora, row.id, { status: "PENDING_DELETE" });
    await compute.remove(row.id);
    await store.transaction(async (trx) => {
      // counters that are being written for it come before
      await lockRow(store, trx, amphora, row.id, "update");
      await network.release(trx, row.id);
      await retireStatistics(trx, row.id);
      await trx.deleteFrom("amphorae").where("id", "=", row.id).execute();
    });
  }

  /** Interfaces that no VIP and no member needs any more: taken away before their addresses are given back. */
  async #unplugOthers(row: Amphora, ports: readonly Port[]): Promise<void> {
    const { compute, network, store } = this.#options;
    const wanted = new Set(ports.map(({ id }) => id));
    const held = await store.transaction((trx) => network.amphoraPorts(trx, row.id));
    for (const port of held) {
      if (wanted.has(port.id)) continue;
      await compute.unplug(row.id, port);
      await store.transaction((trx) => network.releasePort(trx, port.id));
    }
  }

  #newRow(loadBalancer: LoadBalancer, slot: Slot): Amphora {
    return newRow(amphora, {
      ...slot,
      id: randomUUID(),
      loadbalancer_id: loadBalancer.id,
      ha_ip: loadBalancer.vip_address,
      ha_port_id: loadBalancer.vip_port_id,
      status: "BOOTING",
      created_at: timestamp(),
      vrrp_interface: VIP_INTERFACE,
      heartbeat_key: randomBytes(32).toString("hex"),
    });
  }

  async #bootstrap(row: Amphora, known: Partial<Amphora>): Promise<Bootstrap> {
    const { authority, certificateDays, heartbeats, heartbeatIntervalMs } = this.#options;
    const identity = await authority.issueAmphora(row.id, certificateDays);
    known.cert_expiration = timestamp(identity.expires.getTime());
    return {
      identity: identity.bundle,
      heartbeatKey: Buffer.from(row.heartbeat_key, "hex"),
      heartbeatIntervalMs,
      controllers: heartbeats,
    };
  }

  async #ready(row: Amphora, signal: AbortSignal): Promise<void> {
    const { client, bootLimit } = this.#options;
    // one that has served before is there, or something is wrong with it
    const deadline = Date.now() + (row.status === "ALLOCATED" ? Math.min(RETURN_LIMIT, bootLimit) : bootLimit);
    for (;;) {
      try {
        await client.info(address(row));
        return;
      } catch (error) {
        if (!(error instanceof UnreachableError) || Date.now() > deadline) throw error;
        await sleep(READY_POLL, undefined, { signal });
      }
    }
  }
}

function address(row: Amphora): { amphoraId: string; address: string } {
  return { amphoraId: row.id, address: row.lb_network_ip ?? "" };
}
