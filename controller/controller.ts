/** The controller, put together: store, drivers, API, reconciler, health. Started and stopped as a whole. */
import { access, mkdir, rm } from "node:fs/promises";
import type { RequestListener } from "node:http";
import { join } from "node:path";
import type { Logger } from "pino";
import { Authority } from "./amphorae/authority.ts";
import { AgentClient } from "./amphorae/client.ts";
import { createApp } from "./api/app.ts";
import { Engine } from "./api/engine.ts";
import { createRouter } from "./api/routes.ts";
import { ApiServer } from "./api/server.ts";
import { keepToken, StaticIdentity } from "./drivers/identity.ts";
import { LocalCompute } from "./drivers/local/compute.ts";
import { LocalNetwork } from "./drivers/local/network.ts";
import { declareSubnet, Subnets } from "./drivers/local/subnets.ts";
import { Health } from "./health/health.ts";
import { HeartbeatReceiver } from "./health/receiver.ts";
import { MetricsServer } from "./metrics.ts";
import { claimFile } from "./process.ts";
import { Amphorae } from "./reconcile/amphorae.ts";
import { Reconciler } from "./reconcile/reconciler.ts";
import { sweep } from "./reconcile/sweep.ts";
import { DEFAULT_SUBNET_ID, type Settings, SettingsError } from "./settings.ts";
import { Store } from "./store/database.ts";
import { deploymentId } from "./store/deployment.ts";
import { Settling } from "./store/settling.ts";

const SWEEP_INTERVAL = 60_000;

interface Parts {
  readonly settings: Settings;
  readonly log: Logger;
  readonly store: Store;
  readonly settling: Settling;
  readonly network: LocalNetwork;
  readonly compute: LocalCompute;
  readonly client: AgentClient;
  readonly reconciler: Reconciler;
  readonly health: Health;
  readonly receiver: HeartbeatReceiver;
  readonly server: ApiServer;
  readonly metrics: MetricsServer;
  readonly handler: RequestListener;
  /** for sockets and what else must not outlive a reboot */
  readonly runDir: string;
  readonly deployment: string;
  readonly token: string;
}

export class Controller {
  readonly #parts: Parts;
  #sweeper: NodeJS.Timeout | null = null;
  /** how to stop what has been started, in the order of starting */
  readonly #stops: (() => unknown)[] = [];

  private constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * Starts everything; when a part of it fails, what had been started is stopped and removed again.
   * @param openLog called when data-dir is there
   * @throws {SettingsError} @throws {StoreError} @throws {SubnetError} @throws {TakenError} when it can't run here
   */
  static async start(settings: Settings, openLog: () => Logger): Promise<Controller> {
    const subnets = declareSubnets(settings);
    const dataDir = settings["data-dir"];
    const fresh = !(await exists(dataDir));
    // what may be in another's hands comes first: nothing has been made when that fails
    const server = new ApiServer();
    await server.listen(settings.listen, settings.port);
    try {
      const controller = new Controller(await assemble(settings, subnets, server, openLog));
      await controller.#start();
      return controller;
    } catch (error) {
      await server.close();
      if (fresh) await rm(dataDir, { recursive: true, force: true });
      throw error;
    }
  }

  get store(): Store {
    return this.#parts.store;
  }

  get network(): LocalNetwork {
    return this.#parts.network;
  }

  /** Four hexadecimal digits in the names of everything that this deployment makes on the host. */
  get deployment(): string {
    return this.#parts.deployment;
  }

  get runDir(): string {
    return this.#parts.runDir;
  }

  /** The administrator's. */
  get token(): string {
    return this.#parts.token;
  }

  /** Stops the controller. Amphorae and their traffic go on. */
  async stop(): Promise<void> {
    await this.#stopServing();
    await this.#parts.compute.stop();
    await this.#close();
  }

  /** Stops the controller and every amphora, and leaves nothing on the host but what is in data-dir. */
  async shutDown(): Promise<void> {
    await this.#stopServing();
    await this.#parts.compute.shutDown();
    await this.#parts.network.stop();
    await this.#close();
    await rm(this.#parts.runDir, { recursive: true, force: true });
  }

  async #start(): Promise<void> {
    const { settings, log, store, settling, network, compute, reconciler, health, receiver, server, metrics } =
      this.#parts;
    const adopted = (await compute.running()).length > 0;
    try {
      this.#stops.push(() => server.close());
      await receiver.start();
      this.#stops.push(() => receiver.stop());
      await metrics.start();
      this.#stops.push(() => metrics.stop());
      await network.start();
      await compute.start();
      await health.start();
      this.#stops.push(() => health.stop());
      reconciler.start();
      this.#stops.push(() => reconciler.stop());
      const look = async () => {
        if ((await sweep(store, compute, log)) > 0) settling.wake();
      };
      await look();
      this.#sweeper = setInterval(() => {
        look().catch((error: unknown) => log.error({ err: error }, "sweeping failed"));
      }, SWEEP_INTERVAL);
      server.serve(this.#parts.handler);
    } catch (error) {
      // amphorae that served before this start go on serving, whatever is wrong with the controller
      await (adopted ? this.stop() : this.shutDown());
      throw error;
    }
    log.info({ address: settings.listen, port: settings.port }, "controller ready");
  }

  async #stopServing(): Promise<void> {
    if (this.#sweeper !== null) clearInterval(this.#sweeper);
    this.#sweeper = null;
    for (const stop of this.#stops.splice(0)) await stop();
  }

  async #close(): Promise<void> {
    this.#parts.client.close();
    await this.#parts.store.close();
    await rm(lockFile(this.#parts.settings), { force: true });
  }
}

/** Opens what is kept, and connects the parts; nothing runs yet, and nothing is made on the host. */
async function assemble(
  settings: Settings,
  subnets: Subnets,
  server: ApiServer,
  openLog: () => Logger,
): Promise<Parts> {
  const dataDir = settings["data-dir"];
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await claimFile(lockFile(settings));
  const log = openLog();
  const store = await openStore(settings);
  const deployment = await deploymentId(store);
  const runDir = `/run/amphora-${deployment}`;
  const authority = await Authority.open(join(dataDir, "authority"));
  const token = await keepToken(tokenFile(settings), settings["admin-token"]);
  const settling = new Settling();
  const managementNetwork = settings["management-network"];
  const heartbeatIntervalMs = settings["heartbeat-interval-ms"];

  const network = new LocalNetwork({ subnets, deployment, managementNetwork, runDir, log });
  const compute = new LocalCompute({ network, deployment, managementNetwork, dataDir, runDir, log });
  const client = new AgentClient((await authority.issueController()).bundle);
  const amphorae = new Amphorae({
    store,
    compute,
    network,
    client,
    authority,
    heartbeats: [{ address: settings["heartbeat-listen"], port: settings["heartbeat-port"] }],
    heartbeatIntervalMs,
    certificateDays: settings["certificate-days"],
    bootLimit: settings["boot-limit-s"] * 1000,
    log,
  });
  const reconciler = new Reconciler({
    store,
    settling,
    amphorae,
    network,
    concurrency: settings.concurrency,
    pendingLimit: settings["pending-limit-s"] * 1000,
    log,
  });
  const health = new Health({
    store,
    client,
    settling,
    heartbeatIntervalMs,
    onZombie: (amphoraId) => receiver.forget(amphoraId),
    log,
  });
  const receiver: HeartbeatReceiver = new HeartbeatReceiver({
    address: settings["heartbeat-listen"],
    port: settings["heartbeat-port"],
    keyOf: (amphoraId) => health.keyOf(amphoraId),
    onHeartbeat: (heartbeat) => health.heard(heartbeat),
    log,
  });
  const admin = { userId: "admin", projectId: settings["admin-project"], roles: ["admin"], system: false };
  const engine = new Engine({
    store,
    network,
    settling,
    settleWait: settings["settle-wait-ms"],
    quotas: settings.quotas,
    defaults: {
      flavorId: settings["default-flavor"] || null,
      availabilityZone: settings["default-availability-zone"] || null,
    },
    computeFlavors: settings["compute-flavors"].map(({ name }) => name),
  });
  const app = createApp(new StaticIdentity([{ token, caller: admin }]), createRouter(engine), log);
  return {
    settings,
    log,
    store,
    settling,
    network,
    compute,
    client,
    reconciler,
    health,
    receiver,
    server,
    metrics: new MetricsServer(settings["metrics-listen"], settings["metrics-port"], store, receiver),
    handler: app.callback(),
    runDir,
    deployment,
    token,
  };
}

export function tokenFile(settings: Settings): string {
  return join(settings["data-dir"], "admin-token");
}

function lockFile(settings: Settings): string {
  return join(settings["data-dir"], "controller.pid");
}

function declareSubnets(settings: Settings): Subnets {
  const declared =
    settings.subnets.length > 0 ? settings.subnets : [{ id: DEFAULT_SUBNET_ID, cidr: settings.subnet, mtu: 1500 }];
  const all = declared.map(declareSubnet);
  const chosen = settings["default-subnet"] || all[0]?.id;
  if (all.every((subnet) => subnet.id !== chosen)) {
    throw new SettingsError(`default-subnet: ${chosen} is not among the subnets`);
  }
  return new Subnets(all, chosen ?? null);
}

async function openStore(settings: Settings): Promise<Store> {
  try {
    return await Store.open(
      settings.database === "sqlite" ? join(settings["data-dir"], "amphora.db") : settings.database,
    );
  } catch (error) {
    await rm(lockFile(settings), { force: true });
    throw error;
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
