/** What operators scrape: `GET /metrics` on a port of its own. */
import { X509Certificate } from "node:crypto";
import { createServer, type Server } from "node:http";
import { collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { Fleet } from "./fleet.ts";
import { type HeartbeatReceiver, ListenError, REFUSALS } from "./health/receiver.ts";
import type { SilenceState } from "./health/silence.ts";
import { listAuthorities } from "./store/authorities.ts";
import type { Store } from "./store/database.ts";

const DAY = 24 * 3600 * 1000;

export class MetricsServer {
  readonly #address: string;
  readonly #port: number;
  readonly #registry = new Registry();
  readonly #server: Server;

  /** @param port 0: nothing is served @param fleet null: nothing is driven */
  constructor(address: string, port: number, store: Store, fleet: Pick<Fleet, "receiver" | "silence"> | null) {
    this.#address = address;
    this.#port = port;
    collectDefaultMetrics({ register: this.#registry, prefix: "amphora_controller_" });
    this.#describe(store);
    this.#describeCertificates(store);
    const receiver = fleet?.receiver ?? null;
    if (receiver !== null) {
      this.#describeHeartbeats(receiver);
      describeSilence(this.#registry, () => fleet?.silence ?? null);
    }
    this.#server = createServer((request, response) => {
      if (request.url !== "/metrics") {
        response.writeHead(404).end();
        return;
      }
      this.#registry.metrics().then(
        (text) => response.writeHead(200, { "content-type": this.#registry.contentType }).end(text),
        () => response.writeHead(503).end(),
      );
    });
  }

  /** @throws {ListenError} when the port can't be listened on */
  start(): Promise<void> {
    if (this.#port === 0) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const failed = (error: Error) => reject(new ListenError(`metrics-port: ${error.message}`));
      this.#server.once("error", failed);
      this.#server.listen(this.#port, this.#address, () => {
        this.#server.off("error", failed);
        resolve();
      });
    });
  }

  stop(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #describeHeartbeats(receiver: HeartbeatReceiver): void {
    const registers = [this.#registry];
    new Gauge({
      name: "amphora_heartbeats_believed",
      help: "Heartbeats believed since the start",
      registers,
      collect() {
        this.set(receiver.believed);
      },
    });
    new Gauge({
      name: "amphora_heartbeats_refused",
      help: "Datagrams on the heartbeat port that were not believed since the start, by reason",
      labelNames: ["reason"],
      registers,
      collect() {
        for (const reason of REFUSALS) this.set({ reason }, receiver.refused[reason]);
      },
    });
    new Gauge({
      name: "amphora_heartbeats_shed",
      help: "Heartbeats passed over since the start, of amphorae heard just before, for more came than could be dealt with",
      registers,
      collect() {
        this.set(receiver.shed);
      },
    });
    new Gauge({
      name: "amphora_heartbeats_lost",
      help: "Datagrams for the heartbeat port that the kernel had no room for since the start",
      registers,
      async collect() {
        this.set(await receiver.lost());
      },
    });
  }

  #describe(store: Store): void {
    const registers = [this.#registry];
    new Gauge({
      name: "amphora_load_balancers",
      help: "Load balancers by status",
      labelNames: ["provisioning_status", "operating_status"],
      registers,
      async collect() {
        const rows = await store.db
          .selectFrom("load_balancers")
          .select(({ fn }) => ["provisioning_status", "operating_status", fn.countAll<number>().as("count")])
          .groupBy(["provisioning_status", "operating_status"])
          .execute();
        this.reset();
        for (const { count, ...labels } of rows) this.set(labels, Number(count));
      },
    });
  }

  #describeCertificates(store: Store): void {
    describeAmphoraCertificates(this.#registry, store);
    new Gauge({
      name: "amphora_certificate_days_left",
      help: "Days until what a listener or pool uses for TLS expires: its certificate, or a list of revoked ones; of several, the first",
      labelNames: ["loadbalancer", "kind", "id", "attribute"],
      registers: [this.#registry],
      async collect() {
        const rows = await store.db
          .selectFrom("load_balancers")
          .select(["id", "tls_state"])
          .where("tls_state", "is not", null)
          .execute();
        const all = rows.flatMap((row) =>
          (row.tls_state?.expiries ?? []).map((each) => ({ loadbalancer: row.id, ...each })),
        );
        this.reset();
        // the latest first, so that what expires first is what stays
        for (const { expires_at, ...labels } of all.sort((a, b) => (a.expires_at < b.expires_at ? 1 : -1))) {
          this.set(labels, (Date.parse(expires_at) - Date.now()) / DAY);
        }
      },
    });
  }
}

/** What the silence of amphorae has come to, each with what it means. */
const SILENCE: readonly [name: string, help: string, value: (state: SilenceState) => number][] = [
  ["amphora_amphorae", "Amphorae that this controller listens to", ({ amphorae }) => amphorae],
  ["amphora_amphorae_silent", "Amphorae that this controller misses", ({ silent }) => silent],
  [
    "amphora_failover_held_back",
    "1 while so many amphorae are silent at once that the fault is taken to be here: none is replaced",
    ({ holdingBack }) => Number(holdingBack),
  ],
  [
    "amphora_failover_full",
    "1 while silent amphorae wait, for failover-concurrency others are being replaced",
    ({ full }) => Number(full),
  ],
  ["amphora_amphorae_replaced", "Silent amphorae replaced since the start", ({ replaced }) => replaced],
  ["amphora_amphorae_found", "Silent amphorae that answered when asked, since the start", ({ found }) => found],
];

function describeSilence(registry: Registry, stateOf: () => SilenceState | null): void {
  for (const [name, help, value] of SILENCE) {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        const state = stateOf();
        if (state !== null) this.set(value(state));
      },
    });
  }
}

function describeAmphoraCertificates(registry: Registry, store: Store): void {
  const gauge = (name: string, help: string, expires: () => Promise<readonly (string | null)[]>) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      async collect() {
        const times = (await expires()).flatMap((each) => (each === null ? [] : [Date.parse(`${each}Z`)]));
        // none at all, where there is nothing to expire: 0 would be an alarm
        if (times.length === 0) this.remove();
        else this.set((Math.min(...times) - Date.now()) / DAY);
      },
    });
  gauge("amphora_agent_certificate_days_left", "Days until the first certificate of an amphora expires", async () => {
    const rows = await store.db
      .selectFrom("amphorae")
      .select(({ fn }) => fn.min("cert_expiration").as("first"))
      .where("status", "=", "ALLOCATED")
      .execute();
    return rows.map(({ first }) => first);
  });
  gauge("amphora_authority_days_left", "Days until the first of the authorities of amphorae expires", async () =>
    (await listAuthorities(store.db)).map(({ certificate }) =>
      new X509Certificate(certificate).validToDate.toISOString().slice(0, -1),
    ),
  );
}
