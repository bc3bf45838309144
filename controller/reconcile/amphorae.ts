/** The steps from a row in the store to an amphora that serves. Each may be carried out again after a crash. */
import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import type { Authority } from "../amphorae/authority.ts";
import { type AgentClient, RefusedError, UnreachableError } from "../amphorae/client.ts";
import { specOf, VIP_INTERFACE } from "../amphorae/spec.ts";
import type { TlsMaterial } from "../certificates/tls.ts";
import type { Bootstrap, ComputeDriver } from "../drivers/compute.ts";
import type { NetworkDriver } from "../drivers/network.ts";
import { type Amphora, amphora } from "../model/amphora.ts";
import type { LoadBalancer } from "../model/load-balancer.ts";
import type { Store } from "../store/database.ts";
import { insertRow, newRow, timestamp, updateRow } from "../store/rows.ts";
import type { Tree } from "../store/tree.ts";

const READY_POLL = 25;

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
  readonly log: Logger;
}

export class Amphorae {
  readonly #options: AmphoraeOptions;

  constructor(options: AmphoraeOptions) {
    this.#options = options;
  }

  /** Writes down that there is to be another amphora, before anything is asked of the compute service. */
  async add(loadBalancer: LoadBalancer): Promise<Amphora> {
    const row = newRow(amphora, {
      id: randomUUID(),
      loadbalancer_id: loadBalancer.id,
      ha_ip: loadBalancer.vip_address,
      ha_port_id: loadBalancer.vip_port_id,
      role: "STANDALONE",
      status: "BOOTING",
      created_at: timestamp(),
      vrrp_interface: VIP_INTERFACE,
      heartbeat_key: randomBytes(32).toString("hex"),
    });
    await this.#options.store.transaction((trx) => insertRow(trx, amphora, row));
    return row;
  }

  /**
   * Has the instance run and its agent answer.
   * @returns the row with what became known of the instance
   * @throws {UnreachableError} when the agent does not answer within the boot limit
   */
  async boot(row: Amphora, signal: AbortSignal): Promise<Amphora> {
    const { compute, store } = this.#options;
    const known: Partial<Amphora> = {};
    const instance = await compute.create(row.id, () => this.#bootstrap(row, known));
    Object.assign(known, instance);
    const changed = Object.entries(known).filter(([column, value]) => row[column as keyof Amphora] !== value);
    if (changed.length > 0) await updateRow(store.db, amphora, row.id, Object.fromEntries(changed));
    const booted = { ...row, ...known };
    await this.#ready(booted, signal);
    return booted;
  }

  /**
   * Gives the amphora its interface and the spec.
   * @throws {AheadError} when it runs a newer revision than the store has @throws what `AgentClient.putSpec` throws
   */
  async serve(tree: Tree, row: Amphora, tls: TlsMaterial): Promise<void> {
    const { compute, network, store, client, log } = this.#options;
    const port = await store.transaction((trx) =>
      network.reserveAmphoraPort(trx, row.id, tree.loadBalancer.vip_subnet_id),
    );
    await compute.plug(row.id, port);
    const answer = await client.putSpec(address(row), specOf(tree, row, port, tls)).catch(async (error: unknown) => {
      if (!(error instanceof RefusedError) || error.status !== 409) throw error;
      throw new AheadError(row.id, (await client.info(address(row))).revision);
    });
    log.info({ loadbalancer: tree.loadBalancer.id, amphora: row.id, ...answer }, "spec in force");
    const patch: Partial<Amphora> = {
      status: "ALLOCATED",
      revision: answer.revision,
      vrrp_ip: port.address,
      vrrp_port_id: port.id,
    };
    const news = row.status !== "ALLOCATED" || row.vrrp_ip !== port.address;
    await updateRow(store.db, amphora, row.id, news ? { ...patch, updated_at: timestamp() } : patch);
  }

  /** Ends the instance, gives its addresses back and forgets the row: in this order, so that a crash leaks nothing. */
  async remove(row: Amphora): Promise<void> {
    const { compute, network, store } = this.#options;
    await updateRow(store.db, amphora, row.id, { status: "PENDING_DELETE" });
    await compute.remove(row.id);
    await store.transaction(async (trx) => {
      await network.release(trx, row.id);
      await trx.deleteFrom("listener_statistics").where("amphora_id", "=", row.id).execute();
      await trx.deleteFrom("amphorae").where("id", "=", row.id).execute();
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
    const deadline = Date.now() + bootLimit;
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
