/** What drives amphorae and listens to them: reconciler, heartbeats, health, and the sweep for what is left over. */
import { join } from "node:path";
import type { Logger } from "pino";
import { Abilities } from "./amphorae/abilities.ts";
import { Authorities } from "./amphorae/authorities.ts";
import { AgentClient } from "./amphorae/client.ts";
import { ConnectionsClient } from "./amphorae/connections.ts";
import type { Tls } from "./certificates/tls.ts";
import type { ComputeDriver } from "./drivers/compute.ts";
import type { NetworkDriver } from "./drivers/network.ts";
import { Health } from "./health/health.ts";
import { HeartbeatReceiver } from "./health/receiver.ts";
import type { SilenceState } from "./health/silence.ts";
import { Presence } from "./presence.ts";
import { Amphorae } from "./reconcile/amphorae.ts";
import { CertificateWatch } from "./reconcile/certificates.ts";
import { Reconciler } from "./reconcile/reconciler.ts";
import { ReportingWatch } from "./reconcile/reporting.ts";
import { Rotation } from "./reconcile/rotation.ts";
import { Serving } from "./reconcile/serving.ts";
import { sweep } from "./reconcile/sweep.ts";
import { hasRole } from "./roles.ts";
import type { Vault } from "./secrets/vault.ts";
import type { Settings } from "./settings.ts";
import type { Store } from "./store/database.ts";
import type { Settling } from "./store/settling.ts";

const SWEEP_INTERVAL = 60_000;

export interface FleetOptions {
  readonly settings: Settings;
  readonly store: Store;
  readonly settling: Settling;
  readonly compute: ComputeDriver;
  readonly network: NetworkDriver;
  readonly tls: Tls;
  readonly vault: Vault;
  readonly log: Logger;
}

export class Fleet {
  /** null: amphorae are not listened to here */
  readonly receiver: HeartbeatReceiver | null;
  readonly abilities: Abilities;
  readonly connections: ConnectionsClient;
  readonly #options: FleetOptions;
  readonly #client: AgentClient;
  readonly #reconciler: Reconciler;
  readonly #health: Health;
  readonly #rotation: Rotation;
  readonly #reporting: ReportingWatch;
  readonly #presence: Presence;
  readonly #certificates: CertificateWatch;
  #sweeper: NodeJS.Timeout | null = null;
  /** how to stop what has been started, in the order of starting */
  readonly #stops: (() => unknown)[] = [];

  private constructor(options: FleetOptions, authorities: Authorities, client: AgentClient) {
    this.#options = options;
    this.#client = client;
    this.connections = new ConnectionsClient(() => client.identity);
    this.abilities = new Abilities(options.store, client);
    const { settings, store, settling, compute, network, tls, log } = options;
    const port = settings["heartbeat-port"];
    const heartbeatIntervalMs = settings["heartbeat-interval-ms"];
    this.#reporting = new ReportingWatch({ store, client, heartbeatIntervalMs, log });
    const amphorae = new Amphorae({
      store,
      compute,
      network,
      client,
      authorities,
      reporting: () => this.#reporting.wanted(),
      certificateDays: settings["certificate-days"],
      bootLimit: settings["boot-limit-s"] * 1000,
      log,
    });
    const serving = new Serving({
      store,
      client,
      advertIntervalMs: settings["vrrp-advert-ms"],
      forwarding: settings["replica-forwarding"],
      log,
    });
    this.#reconciler = new Reconciler({
      store,
      settling,
      amphorae,
      serving,
      network,
      tls,
      concurrency: settings.concurrency,
      pendingLimit: settings["pending-limit-s"] * 1000,
      log,
    });
    this.#rotation = new Rotation({ store, tls, settling, log });
    this.#health = new Health({
      store,
      client,
      settling,
      heartbeatIntervalMs,
      silence: settings["silence-limit-ms"],
      holdCount: settings["failover-hold-count"],
      holdShare: settings["failover-hold-share"],
      failoverConcurrency: settings["failover-concurrency"],
      arrivals: async () => (await this.receiver?.arrivals()) ?? { read: 0, lost: 0 },
      onZombie: (amphoraId) => this.receiver?.forget(amphoraId),
      log,
    });
    this.#certificates = new CertificateWatch({
      store,
      authorities,
      client,
      days: settings["certificate-days"],
      log,
    });
    const receives = hasRole(settings, "health");
    this.#presence = new Presence({
      store,
      idFile: join(settings["data-dir"], "controller-id"),
      roles: settings.role,
      heartbeats: receives ? { address: settings["heartbeat-address"] || settings["heartbeat-listen"], port } : null,
      silence: () => (receives ? this.#health.silence : null),
      log,
    });
    if (!receives) {
      this.receiver = null;
      return;
    }
    this.receiver = new HeartbeatReceiver({
      address: settings["heartbeat-listen"],
      port,
      keysOf: (amphoraIds) => this.#health.keysOf(amphoraIds),
      onHeartbeat: (heartbeat) => this.#health.heard(heartbeat),
      // two more heartbeats are due before that makes anyone suspect, and they may be late by a tenth
      mostRecent: settings["silence-limit-ms"] - 2.2 * heartbeatIntervalMs,
      log,
    });
  }

  /** Opens the authorities; nothing runs yet. */
  static async open(options: FleetOptions): Promise<Fleet> {
    const authorities = await Authorities.open(options.store, options.vault);
    const client = new AgentClient((await authorities.issueController()).bundle);
    return new Fleet(options, authorities, client);
  }

  /** Takes the port of heartbeats, before anything is made. @throws {ListenError} */
  async listen(): Promise<void> {
    const { receiver } = this;
    if (receiver === null) return;
    await receiver.start();
    this.#stops.push(() => receiver.stop());
  }

  /** What amphorae that speak are like; null: they are not listened to here. */
  get silence(): SilenceState | null {
    return this.receiver === null ? null : this.#health.silence;
  }

  async start(): Promise<void> {
    const { settings } = this.#options;
    await this.#presence.start();
    this.#stops.push(() => this.#presence.stop());
    await this.#certificates.start();
    this.#stops.push(() => this.#certificates.stop());
    if (hasRole(settings, "health")) {
      await this.#health.start();
      this.#stops.push(() => this.#health.stop());
    }
    if (hasRole(settings, "reconciler")) await this.#drive();
  }

  async #drive(): Promise<void> {
    const { store, compute, settling, log } = this.#options;
    for (const each of [this.#reconciler, this.#rotation, this.#reporting]) {
      each.start();
      this.#stops.push(() => each.stop());
    }
    const look = async () => {
      if ((await sweep(store, compute, log)) > 0) settling.wake();
    };
    await look();
    this.#sweeper = setInterval(() => {
      look().catch((error: unknown) => log.error({ err: error }, "sweeping failed"));
    }, SWEEP_INTERVAL);
  }

  async stop(): Promise<void> {
    if (this.#sweeper !== null) clearInterval(this.#sweeper);
    this.#sweeper = null;
    for (const stop of this.#stops.splice(0)) await stop();
    this.#client.close();
  }
}
