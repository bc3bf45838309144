/** The steps from a row in the store to an amphora that serves. Each may be carried out again after a crash. */
import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import type { Authorities } from "../amphorae/authorities.ts";
import { type AgentClient, addressOf, UnreachableError } from "../amphorae/client.ts";
import { sharedSubnetsOf, subnetsOf, VIP_INTERFACE } from "../amphorae/spec.ts";
import type { Bootstrap, ComputeDriver } from "../drivers/compute.ts";
import { type NetworkDriver, NetworkRequestError, type Port } from "../drivers/network.ts";
import { type Amphora, amphora } from "../model/amphora.ts";
import type { Topology } from "../model/flavor-profile.ts";
import { type LoadBalancer, loadBalancer as loadBalancerResource } from "../model/load-balancer.ts";
import type { Blueprint } from "../store/blueprint.ts";
import type { Store } from "../store/database.ts";
import { advance } from "../store/load-balancers.ts";
import { insertRow, lockRow, newRow, timestamp, updateRow } from "../store/rows.ts";
import { retireStatistics } from "../store/statistics.ts";
import type { Tree } from "../store/tree.ts";
import type { AmphoraePlan, Slot } from "./plan.ts";

const READY_POLL = 25;
/** An agent that died is back within this (ms). */
const RETURN_LIMIT = 5000;
/** An instance that may just be slow is waited for so many times the boot limit before another takes its place. */
const PATIENCE = 3;

export interface AmphoraeOptions {
  readonly store: Store;
  readonly compute: ComputeDriver;
  readonly network: NetworkDriver;
  readonly client: Pick<AgentClient, "info">;
  readonly authorities: Authorities;
  /** where agents send heartbeats */
  readonly reporting: () => Promise<Bootstrap["reporting"]>;
  readonly certificateDays: number;
  /** ms that an instance may take until its agent answers */
  readonly bootLimit: number;
  readonly log: Logger;
}

/** A plan that has been written down. */
export interface Recorded {
  readonly loadBalancer: LoadBalancer;
  /** the rows of the amphorae that are to serve */
  readonly wanted: readonly Amphora[];
}

export class Amphorae {
  readonly #options: AmphoraeOptions;

  constructor(options: AmphoraeOptions) {
    this.#options = options;
  }

  /**
   * Writes a plan down, before anything is asked of the compute service: parts that have changed, amphorae that go, and
   * those that are to be. A plan that changes anything is a revision of its own.
   * @returns the load balancer with its revision, and the rows of those that are to serve
   * @throws {OutdatedError}
   */
  async record(row: LoadBalancer, { keep, add, retire }: AmphoraePlan): Promise<Recorded> {
    const fresh = add.map((slot) => this.#newRow(row, slot));
    const changed = keep.filter(
      ({ row: { role, vrrp_priority }, slot }) => role !== slot.role || vrrp_priority !== slot.vrrp_priority,
    );
    const leaving = retire.filter(({ retiring }) => !retiring);
    const wanted = [...keep.map((each) => ({ ...each.row, ...each.slot })), ...fresh];
    if (fresh.length + changed.length + leaving.length === 0) return { loadBalancer: row, wanted };
    return this.#options.store.transaction(async (trx) => {
      const loadBalancer = await advance(trx, row);
      for (const each of changed) await updateRow(trx, amphora, each.row.id, each.slot);
      for (const each of leaving) await updateRow(trx, amphora, each.id, { retiring: true });
      for (const each of fresh) await insertRow(trx, amphora, each);
      // a failover that was asked for is done with that
      if (row.failover) await updateRow(trx, loadBalancerResource, row.id, { failover: false });
      return { loadBalancer, wanted };
    });
  }

  /** The next revision, for a change of who holds the VIPs. @throws {OutdatedError} */
  advance(row: LoadBalancer): Promise<LoadBalancer> {
    return this.#options.store.transaction((trx) => advance(trx, row));
  }

  /** The amphora's addresses, on each subnet that it is to reach: the same ones every time. */
  async reserve(tree: Tree, row: Amphora): Promise<Port[]> {
    const { store, network } = this.#options;
    const ports: Port[] = [];
    for (const subnetId of subnetsOf(tree)) {
      ports.push(await store.transaction((trx) => network.reserveAmphoraPort(trx, row.id, subnetId)));
    }
    return ports;
  }

  /**
   * The addresses that go with a pair's VIPs, the same ones every time. Where the network has none left there are fewer:
   * connections to members there do not outlive a failover, and all else is as well.
   * @returns also those that no amphora needs any more, once it has been told
   */
  async reserveShared(tree: Tree, topology: Topology): Promise<{ shared: Port[]; unneeded: Port[] }> {
    const { store, network, log } = this.#options;
    const { id } = tree.loadBalancer;
    const wanted = topology === "ACTIVE_STANDBY" ? sharedSubnetsOf(tree) : [];
    const held = await store.transaction((trx) => network.sharedPorts(trx, id));
    const shared = held.filter(({ subnet_id }) => wanted.includes(subnet_id));
    const unneeded = held.filter((port) => !shared.includes(port));
    for (const subnetId of wanted) {
      if (shared.some(({ subnet_id }) => subnet_id === subnetId)) continue;
      try {
        shared.push(await store.transaction((trx) => network.reserveSharedPort(trx, id, subnetId)));
      } catch (error) {
        if (!(error instanceof NetworkRequestError)) throw error;
        log.warn({ loadbalancer: id, subnet: subnetId, err: error }, "no address that goes with the VIPs");
      }
    }
    return { shared, unneeded };
  }

  /** Gives addresses back that no amphora has any more. */
  async release(ports: readonly Port[]): Promise<void> {
    const { store, network } = this.#options;
    for (const { id } of ports) await store.transaction((trx) => network.releasePort(trx, id));
  }

  /**
   * Has the instance run, its agent answer, and its interfaces be there.
   * @throws {UnreachableError} when the agent does not answer within the boot limit
   */
  async boot(
    tree: Tree,
    blueprint: Blueprint,
    row: Amphora,
    ports: readonly Port[],
    group: readonly Amphora[],
    signal: AbortSignal,
  ): Promise<Amphora> {
    const { compute, store } = this.#options;
    const known: Partial<Amphora> = {};
    const wish = {
      loadBalancerId: tree.loadBalancer.id,
      computeFlavor: blueprint.computeFlavor,
      volumeType: blueprint.volumeType,
      computeZone: blueprint.computeZone,
      cpuArch: blueprint.cpuArch,
      apartFrom: group.flatMap(({ id }) => (id === row.id ? [] : [id])),
      ports,
    };
    const { boots, ...instance } = await compute.create(row.id, wish, () => this.#bootstrap(row, known));
    // one that served before it was switched off is given the time to boot, and not taken for dead meanwhile
    Object.assign(known, instance, boots ? { status: "BOOTING" } : {});
    const changed = Object.entries(known).filter(([column, value]) => row[column as keyof Amphora] !== value);
    if (changed.length > 0) await updateRow(store.db, amphora, row.id, Object.fromEntries(changed));
    const booted = { ...row, ...known };
    await this.#ready(booted, signal);
    for (const port of ports) await compute.plug(row.id, port);
    return booted;
  }

  /** Interfaces that no VIP and no member needs any more: taken away before their addresses are given back. */
  async unplugOthers(row: Amphora, ports: readonly Port[]): Promise<void> {
    const { compute, network, store } = this.#options;
    const wanted = new Set(ports.map(({ id }) => id));
    const held = await store.transaction((trx) => network.amphoraPorts(trx, row.id));
    for (const port of held) {
      if (wanted.has(port.id)) continue;
      await compute.unplug(row.id, port);
      await store.transaction((trx) => network.releasePort(trx, port.id));
    }
  }

  /** Has instances that did not come up replaced by others; those that serve are left to the health watch. */
  async giveUp(rows: readonly Amphora[]): Promise<void> {
    if (rows.length === 0) return;
    const ids = rows.map(({ id }) => id);
    this.#options.log.warn({ amphorae: ids }, "given up: others are made in their place");
    await this.#options.store.db
      .updateTable("amphorae")
      .set({ status: "ERROR", retiring: true })
      .where("id", "in", ids)
      .where("status", "=", "BOOTING")
      .execute();
  }

  /**
   * Removes instances that have not come up for several tries: one whose system hangs would do so for ever. The next try
   * makes others. Those that have served before are left to the health watch.
   */
  async startAfresh(attempts: number, rows: readonly Amphora[]): Promise<void> {
    if ((attempts + 1) % PATIENCE !== 0) return;
    for (const row of rows) {
      if (row.status === "ALLOCATED") continue;
      this.#options.log.warn({ loadbalancer: row.loadbalancer_id, amphora: row.id }, "never came up: another is made");
      await this.remove(row);
    }
  }

  /** Ends the instance, gives its addresses back and forgets the row: in this order, so that a crash leaks nothing. */
  async remove(row: Amphora): Promise<void> {
    const { compute, network, store } = this.#options;
    await updateRow(store.db, amphora, row.id, { status: "PENDING_DELETE" });
    await compute.remove(row.id);
    // what it had not taken yet, or is no longer remembered with it, is on the host still
    const held = await store.transaction((trx) => network.amphoraPorts(trx, row.id));
    for (const port of held) await compute.unplug(row.id, port);
    await store.transaction(async (trx) => {
      // counters that are being written for it come before
      await lockRow(store, trx, amphora, row.id, "update");
      await network.release(trx, row.id);
      await retireStatistics(trx, row.id);
      await trx.deleteFrom("amphorae").where("id", "=", row.id).execute();
    });
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
    const { authorities, certificateDays } = this.#options;
    const reporting = await this.#options.reporting();
    await authorities.refresh();
    known.authorities = authorities.stamp;
    const identity = await authorities.issueAmphora(row.id, certificateDays);
    known.reporting = JSON.stringify(reporting);
    known.cert_expiration = timestamp(identity.expires.getTime());
    return {
      identity: identity.bundle,
      heartbeatKey: Buffer.from(row.heartbeat_key, "hex"),
      reporting,
    };
  }

  async #ready(row: Amphora, signal: AbortSignal): Promise<void> {
    const { client, bootLimit } = this.#options;
    // one that has served before is there, or something is wrong with it
    const deadline = Date.now() + (row.status === "ALLOCATED" ? Math.min(RETURN_LIMIT, bootLimit) : bootLimit);
    for (;;) {
      try {
        await client.info(addressOf(row));
        return;
      } catch (error) {
        if (!(error instanceof UnreachableError)) throw error;
        if (Date.now() > deadline) {
          throw new UnreachableError(`amphora ${row.id} does not answer its controller: ${error.message}`);
        }
        await sleep(READY_POLL, undefined, { signal });
      }
    }
  }
}
