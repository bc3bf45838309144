/** Load balancers with certificates, and the watch over those, without amphorae. */
import { randomUUID } from "node:crypto";
import pino from "pino";
import { CertificateReader } from "../../controller/certificates/reader.ts";
import { Tls } from "../../controller/certificates/tls.ts";
import { LocalSecrets } from "../../controller/drivers/local/secrets.ts";
import { type LoadBalancer, loadBalancer } from "../../controller/model/load-balancer.ts";
import { Rotation } from "../../controller/reconcile/rotation.ts";
import { claim } from "../../controller/store/leases.ts";
import { settle } from "../../controller/store/load-balancers.ts";
import { findRow } from "../../controller/store/rows.ts";
import { Settling } from "../../controller/store/settling.ts";
import { tlsUses } from "../../controller/store/tls-uses.ts";
import { type Json, startApi, type TestApi } from "./api.ts";
import type { Teardown, TestDatabase } from "./postgres.ts";

interface Logged {
  readonly level: number;
  readonly msg?: string;
  readonly reason?: string;
}

/** The API, the watch, and somebody who serves what is due, as the reconciler does. */
export class World {
  readonly api: TestApi;
  readonly warnings: Logged[] = [];
  readonly #tls: Tls;
  readonly #rotations: readonly Rotation[];
  #port = 1000;
  #turn = 0;

  private constructor(api: TestApi) {
    this.api = api;
    this.#tls = new Tls(new LocalSecrets(api.store, api.vault), new CertificateReader());
    const log = pino({ level: "warn" }, { write: (line: string) => this.warnings.push(JSON.parse(line)) });
    const options = { store: api.store, tls: this.#tls, settling: new Settling(), log };
    this.#rotations = [new Rotation(options), new Rotation({ ...options, log: pino({ level: "silent" }) })];
  }

  static async make(t: Teardown, database: TestDatabase, onQuery: () => unknown = () => undefined): Promise<World> {
    const world = new World(await startApi(t, database, { settles: false, onQuery }));
    t.teardown(() => world.#tls.close());
    return world;
  }

  /** Looks: the first of two controllers, and the second when it is called meanwhile. */
  async look(): Promise<void> {
    const rotation = this.#rotations[this.#turn++ % 2];
    try {
      await rotation?.look();
    } finally {
      this.#turn--;
    }
  }

  /** Gives a secret another payload, whatever its users can do with it: as time does, and another controller may. */
  async overwrite(secret: string, payload: string): Promise<void> {
    const id = secret.split("/").at(-1) ?? "";
    const sealed = this.api.vault.seal(id, Buffer.from(payload));
    await this.api.store.db
      .updateTable("secrets")
      .set({ payload: sealed, version: randomUUID() })
      .where("id", "=", id)
      .execute();
  }

  /** A load balancer with one listener, whose amphorae have what it refers to. */
  async served(values: Json): Promise<string> {
    const { id: lb } = await this.api.create("loadbalancer", "/loadbalancers", {});
    await this.serve(lb);
    const port = this.#port++;
    await this.api.create("listener", "/listeners", {
      loadbalancer_id: lb,
      protocol: "TERMINATED_HTTPS",
      protocol_port: port,
      ...values,
    });
    await this.serve(lb);
    return lb;
  }

  async serve(lb: string): Promise<void> {
    const rows = await claim(this.api.store, "test", 100);
    const row = rows.find(({ id }) => id === lb);
    if (row === undefined) throw new Error("the load balancer is not due");
    const { digest, expiries } = await this.material(lb);
    await settle(this.api.store, row, digest === null ? null : { digest, wanted: digest, expiries: [...expiries] });
  }

  async material(lb: string) {
    const uses = (await tlsUses(this.api.store.db)).filter(({ loadBalancerId }) => loadBalancerId === lb);
    return this.#tls.material(uses, "admin");
  }

  async row(lb: string): Promise<LoadBalancer> {
    const row = await findRow(this.api.store.db, loadBalancer, lb);
    if (row === undefined) throw new Error("there is no such load balancer");
    return { ...row };
  }
}
