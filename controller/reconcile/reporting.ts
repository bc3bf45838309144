/** Tells amphorae where heartbeats go, when controllers have come or gone. */
import type { Logger } from "pino";
import type { Reporting } from "../../agent/protocol.ts";
import { type AgentClient, addressOf } from "../amphorae/client.ts";
import { amphora } from "../model/amphora.ts";
import { Rounds } from "../rounds.ts";
import { listControllers } from "../store/controllers.ts";
import type { Store } from "../store/database.ts";
import { updateRow } from "../store/rows.ts";

const INTERVAL = 3000;
/** So many amphorae are told at a time. */
const AT_ONCE = 16;

export interface ReportingOptions {
  readonly store: Store;
  readonly client: Pick<AgentClient, "putReporting">;
  readonly heartbeatIntervalMs: number;
  readonly log: Logger;
}

/** No controller receives heartbeats. */
export class UnheardError extends Error {
  override readonly name = "UnheardError";
}

/** Several controllers may do so at a time: they tell the same. */
export class ReportingWatch {
  readonly #options: ReportingOptions;
  readonly #rounds: Rounds;
  #stopped = false;

  constructor(options: ReportingOptions) {
    this.#options = options;
    this.#rounds = new Rounds(INTERVAL, async () => {
      await this.tell().catch((error: unknown) =>
        options.log.warn({ err: error }, "telling where heartbeats go failed"),
      );
    });
  }

  start(): void {
    this.#rounds.start();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#rounds.stop();
  }

  /** What amphorae are to be told. @throws {UnheardError} */
  async wanted(): Promise<Reporting> {
    const rows = await listControllers(this.#options.store);
    const controllers = rows.flatMap(({ heartbeat_address: address, heartbeat_port: port }) =>
      address === null || port === null ? [] : [{ address, port }],
    );
    if (controllers.length === 0) throw new UnheardError("no controller with the role health has been started yet");
    return { controllers, heartbeat_interval_ms: this.#options.heartbeatIntervalMs };
  }

  /** Tells those that were told something else. One that can't be reached is told the next time. */
  async tell(): Promise<void> {
    const { store, client, log } = this.#options;
    const wanted = await this.wanted().catch((error: unknown) => {
      if (error instanceof UnheardError) return null;
      throw error;
    });
    if (wanted === null) return;
    const told = JSON.stringify(wanted);
    const rows = await store.db
      .selectFrom("amphorae")
      .select(["id", "lb_network_ip"])
      .where("status", "=", "ALLOCATED")
      .where((eb) => eb.or([eb("reporting", "is", null), eb("reporting", "!=", told)]))
      .execute();
    for (let i = 0; i < rows.length && !this.#stopped; i += AT_ONCE) {
      await Promise.all(
        rows.slice(i, i + AT_ONCE).map(async (row) => {
          try {
            await client.putReporting(addressOf(row), wanted);
            await updateRow(store.db, amphora, row.id, { reporting: told });
          } catch (error) {
            log.debug({ amphora: row.id, err: error }, "an amphora can't be told where heartbeats go");
          }
        }),
      );
    }
  }
}
