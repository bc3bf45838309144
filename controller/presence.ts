/** Tells the other controllers, the amphorae and operators that this one is there: a row of its own, kept fresh. */
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import type { Logger } from "pino";
import writeFileAtomic from "write-file-atomic";
import packageJson from "../package.json" with { type: "json" };
import type { SilenceState } from "./health/silence.ts";
import { forgetControllers, keepController } from "./store/controllers.ts";
import type { Store } from "./store/database.ts";

/** ms; a third of the time after which it counts as lost */
const INTERVAL = 5000;

export interface PresenceOptions {
  readonly store: Store;
  /** where its id is kept */
  readonly idFile: string;
  readonly roles: string;
  /** where it receives heartbeats; null: it does not */
  readonly heartbeats: { readonly address: string; readonly port: number } | null;
  /** null: it listens to no amphora */
  readonly silence: () => SilenceState | null;
  readonly log: Logger;
}

export class Presence {
  readonly #options: PresenceOptions;
  readonly #startedAt = Date.now();
  #id = "";
  #timer: NodeJS.Timeout | null = null;
  #telling: Promise<void> = Promise.resolve();

  constructor(options: PresenceOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    this.#id = await keepId(this.#options.idFile);
    await this.#tell();
    this.#timer = setInterval(() => {
      this.#telling = this.#telling
        .then(() => this.#tell())
        .catch((error: unknown) => this.#options.log.warn({ err: error }, "telling that this controller runs failed"));
    }, INTERVAL);
  }

  /** Says that it has stopped, if anybody can hear it. */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    await this.#telling;
    await this.#tell(true).catch(() => undefined);
  }

  async #tell(stopped = false): Promise<void> {
    const { store, roles, heartbeats, silence } = this.#options;
    const seen = silence();
    await keepController(store, {
      id: this.#id,
      host: hostname(),
      version: packageJson.version,
      roles,
      heartbeat_address: heartbeats?.address ?? null,
      heartbeat_port: heartbeats?.port ?? null,
      state: stopped ? "STOPPED" : seen?.holdingBack ? "HOLDING_BACK" : "UP",
      started_at: this.#startedAt,
      seen_at: Date.now(),
      amphorae: seen?.amphorae ?? 0,
      silent_amphorae: seen?.silent ?? 0,
    });
    await forgetControllers(store);
  }
}

async function keepId(file: string): Promise<string> {
  const kept = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  if (kept.trim() !== "") return kept.trim();
  const id = randomUUID();
  await writeFileAtomic(file, `${id}\n`, { mode: 0o600 });
  return id;
}
