/** The controller, put together: store, drivers, API, and what drives amphorae. Started and stopped as a whole. */
import { access, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { createApp } from "./api/app.ts";
import { Engine } from "./api/engine.ts";
import type { IdentityDriver } from "./api/identity.ts";
import { createRouter } from "./api/routes.ts";
import { ApiServer } from "./api/server.ts";
import {
  checkDrivers,
  type Drivers,
  declareSubnets,
  type Host,
  openDrivers,
  openKeyManager,
} from "./drivers/drivers.ts";
import { type IdentityFiles, openIdentity, readIdentityFiles } from "./drivers/identities.ts";
import { keepToken } from "./drivers/identity.ts";
import type { Subnets } from "./drivers/local/subnets.ts";
import { Fleet } from "./fleet.ts";
import { MetricsServer } from "./metrics.ts";
import { claimFile } from "./process.ts";
import { Acknowledger } from "./reconcile/acknowledger.ts";
import { RegularExpressions } from "./regular-expressions.ts";
import { hasRole } from "./roles.ts";
import type { KeyManager } from "./secrets/key-manager.ts";
import type { Settings } from "./settings.ts";
import { Store } from "./store/database.ts";
import { deploymentId } from "./store/deployment.ts";
import { Settling } from "./store/settling.ts";

interface Parts {
  readonly settings: Settings;
  readonly log: Logger;
  readonly store: Store;
  readonly settling: Settling;
  readonly drivers: Drivers;
  readonly keyManager: KeyManager | null;
  readonly regularExpressions: RegularExpressions | null;
  readonly identity: IdentityDriver;
  /** null: nothing is driven */
  readonly fleet: Fleet | null;
  /** null: this one has no API */
  readonly server: ApiServer | null;
  readonly metrics: MetricsServer;
  /** for sockets and what else must not outlive a reboot */
  readonly runDir: string;
  readonly deployment: string;
  /** null: it is not for us to give tokens */
  readonly token: string | null;
}

export class Controller {
  readonly #parts: Parts;
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
    checkDrivers(settings);
    const subnets = declareSubnets(settings);
    const files = await readIdentityFiles(settings);
    const dataDir = settings["data-dir"];
    const fresh = !(await exists(dataDir));
    // what may be in another's hands comes first: nothing has been made when that fails
    const server = hasRole(settings, "api") ? new ApiServer() : null;
    await server?.listen(settings.listen, settings.port);
    try {
      const controller = new Controller(await assemble(settings, subnets, files, server, openLog));
      await controller.#start();
      return controller;
    } catch (error) {
      await server?.close();
      if (fresh) await rm(dataDir, { recursive: true, force: true });
      throw error;
    }
  }

  get store(): Store {
    return this.#parts.store;
  }

  /** What is driven on this host, null when nothing is. */
  get host(): Host | null {
    return this.#parts.drivers.host;
  }

  /** Four hexadecimal digits in the names of everything that this deployment makes on the host. */
  get deployment(): string {
    return this.#parts.deployment;
  }

  get runDir(): string {
    return this.#parts.runDir;
  }

  /** The administrator's; null with identity keystone. */
  get token(): string | null {
    return this.#parts.token;
  }

  /** Stops the controller. Amphorae and their traffic go on. */
  async stop(): Promise<void> {
    await this.#stopServing();
    await this.host?.compute.stop();
    await this.#close();
  }

  /** Stops the controller and every amphora, and leaves nothing on the host but what is in data-dir. */
  async shutDown(): Promise<void> {
    await this.#stopServing();
    await this.host?.compute.shutDown();
    await this.host?.network.stop();
    await this.#close();
    await rm(this.#parts.runDir, { recursive: true, force: true });
  }

  async #start(): Promise<void> {
    const { settings, log, identity, fleet, server, metrics } = this.#parts;
    const adopted = ((await this.host?.compute.running()) ?? []).length > 0;
    const drives = hasRole(settings, "reconciler");
    try {
      this.#stops.push(() => server?.close());
      this.#stops.push(() => identity.close());
      this.#stops.push(() => fleet?.stop());
      if (drives) await this.host?.compute.prepare();
      await fleet?.listen();
      await metrics.start();
      this.#stops.push(() => metrics.stop());
      if (drives) {
        await this.host?.network.start();
        await this.host?.compute.start();
      }
      await fleet?.start();
      if (drives && fleet === null) this.#acknowledge();
      server?.serve(this.#handler());
    } catch (error) {
      // amphorae that served before this start, and other controllers of this host, go on, whatever is wrong with this one
      const made = this.host?.compute.made === true || this.host?.network.made === true;
      await (made && !adopted ? this.shutDown() : this.stop());
      throw error;
    }
    const { role, listen: address, port } = settings;
    log.info({ role, ...(server === null ? {} : { address, port }) }, "controller ready");
  }

  #acknowledge(): void {
    const { store, settling, drivers, log } = this.#parts;
    const acknowledger = new Acknowledger({ store, settling, network: drivers.network, log });
    acknowledger.start();
    this.#stops.push(() => acknowledger.stop());
  }

  #handler() {
    const { settings, store, settling, drivers, keyManager, regularExpressions, identity, fleet, log } = this.#parts;
    const engine = new Engine({
      store,
      network: drivers.network,
      settling,
      settleWait: settings["settle-wait-ms"],
      quotas: settings.quotas,
      defaults: {
        flavorId: settings["default-flavor"] || null,
        availabilityZone: settings["default-availability-zone"] || null,
      },
      computeFlavors: settings["compute-flavors"].map(({ name }) => name),
      services: { tls: keyManager?.tls ?? null, regularExpressions, amphorae: fleet },
    });
    return createApp(identity, createRouter(engine, keyManager), log).callback();
  }

  async #stopServing(): Promise<void> {
    for (const stop of this.#stops.splice(0)) await stop();
  }

  async #close(): Promise<void> {
    await this.#parts.keyManager?.tls.close();
    await this.#parts.store.close();
    await rm(lockFile(this.#parts.settings), { force: true });
  }
}

/** Opens what is kept, and connects the parts; nothing runs yet, and nothing is made on the host. */
async function assemble(
  settings: Settings,
  subnets: Subnets,
  files: IdentityFiles,
  server: ApiServer | null,
  openLog: () => Logger,
): Promise<Parts> {
  const dataDir = settings["data-dir"];
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await claimFile(lockFile(settings));
  const log = openLog();
  const store = await openStore(settings);
  const deployment = await deploymentId(store);
  const runDir = `/run/amphora-${deployment}`;
  const token = settings.identity === "static" ? await keepToken(tokenFile(settings), settings["admin-token"]) : null;
  const settling = new Settling();
  const drivers = openDrivers(settings, subnets, {
    deployment,
    computeDir: settings["compute-dir"] || dataDir,
    runDir,
    log,
  });
  const { compute, network } = drivers;
  const keyManager = await openKeyManager(settings, store).catch(async (error: unknown) => {
    await store.close();
    await rm(lockFile(settings), { force: true });
    throw error;
  });
  const regularExpressions = await RegularExpressions.open(settings.haproxy, log);
  const tls = keyManager?.tls ?? null;
  const vault = keyManager?.vault ?? null;
  const isDriven = compute !== null && tls !== null && vault !== null;
  const fleet = isDriven ? await Fleet.open({ settings, store, settling, compute, network, tls, vault, log }) : null;
  const metrics = new MetricsServer(settings["metrics-listen"], settings["metrics-port"], store, fleet);
  const asked = { drivers, keyManager, regularExpressions, identity: openIdentity(settings, files, token, log) };
  return { settings, log, store, settling, ...asked, fleet, server, metrics, runDir, deployment, token };
}

export function tokenFile(settings: Settings): string {
  return join(settings["data-dir"], "admin-token");
}

function lockFile(settings: Settings): string {
  return join(settings["data-dir"], "controller.pid");
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
