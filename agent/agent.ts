/** The agent, put together: its API, the watch over the data plane, and the heartbeats. */
import { chmod, mkdir, readFile } from "node:fs/promises";
import { availableParallelism, loadavg, uptime } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import packageJson from "../package.json" with { type: "json" };
import { SpecError } from "../templates/spec.ts";
import type { Applier } from "./apply.ts";
import { DataPlane } from "./data-plane.ts";
import { Heartbeats } from "./heartbeat.ts";
import { expiryOf, parseIdentity, readIdentity, writeIdentity } from "./identity.ts";
import { metricsRegistry } from "./metrics.ts";
import { type AgentInfo, type CertificateBundle, countersOf, type HeartbeatBody } from "./protocol.ts";
import { parseReporting, readReporting, writeReporting } from "./reporting.ts";
import { AgentServer, Lines, RequestError, type Routes } from "./server.ts";
import { type AgentSettings, SettingsError } from "./settings.ts";
import { withoutKeys } from "./spec-file.ts";
import type { Watch } from "./watch.ts";

const RESUME_PAUSE = 1000;

export class Agent {
  readonly #settings: AgentSettings;
  readonly #heartbeatKey: Buffer;
  readonly #log: Logger;
  readonly #dataPlane: DataPlane;
  readonly #applier: Applier;
  readonly #watch: Watch;
  #server: AgentServer | null = null;
  #heartbeats: Heartbeats | null = null;
  #certificateExpires = new Date(0);
  #stopping = false;

  /** @throws {SettingsError} when the heartbeat key can't be used */
  static async make(settings: AgentSettings, log: Logger): Promise<Agent> {
    return new Agent(settings, await readHeartbeatKey(settings.heartbeat_key_file), log);
  }

  private constructor(settings: AgentSettings, heartbeatKey: Buffer, log: Logger) {
    this.#settings = settings;
    this.#heartbeatKey = heartbeatKey;
    this.#log = log;
    this.#dataPlane = new DataPlane({ settings, heartbeatKey, onChange: () => this.#heartbeats?.hurry(), log });
    this.#applier = this.#dataPlane.applier;
    this.#watch = this.#dataPlane.watch;
  }

  /**
   * Listens, comes back to the last applied spec, and beats.
   * @throws {SettingsError} @throws {IdentityError} when the files that the settings name can't be used
   */
  async start(): Promise<void> {
    const { listen, run_dir, state_dir, config_dir, amphora_id, identity_file } = this.#settings;
    for (const folder of [state_dir, config_dir]) await mkdir(folder, { recursive: true, mode: 0o700 });
    // checks run as somebody who may pass through here, to what is theirs
    await mkdir(run_dir, { recursive: true });
    await chmod(run_dir, 0o711);
    const identity = await readIdentity(identity_file, amphora_id);
    this.#certificateExpires = expiryOf(identity);
    this.#server = new AgentServer(identity, this.#routes(), this.#log);
    this.#heartbeats = new Heartbeats({
      amphoraId: amphora_id,
      key: this.#heartbeatKey,
      from: listen.address,
      reporting: await readReporting(this.#reportingFile, this.#settings, this.#log),
      body: () => this.#heartbeat(),
      log: this.#log,
    });
    // before anything looks at the data plane: the counters go on from where they were
    await this.#dataPlane.start();
    // then the data plane: it needs no controller
    void this.#resume();
    await this.#server.listen(listen.address, listen.port);
    await this.#heartbeats.start();
    this.#log.info({ address: listen.address, port: listen.port }, "agent ready");
  }

  /** Stops reporting and listening. HAProxy goes on: traffic does not depend on the agent. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#heartbeats?.stop();
    await Promise.all([this.#server?.close(), this.#dataPlane.stop()]);
  }

  /** Tries until the last spec runs again, or the controller has sent one. */
  async #resume(): Promise<void> {
    while (!this.#stopping && this.#applier.running === null) {
      try {
        if (!(await this.#applier.resume())) return;
        await this.#watch.look();
        return;
      } catch (error) {
        if (error instanceof SpecError || error instanceof SyntaxError) {
          this.#log.error({ err: error }, "the last spec can't be used: waiting for the controller");
          return;
        }
        this.#log.warn({ err: error }, "coming back to the last spec failed: trying again");
        await sleep(RESUME_PAUSE);
      }
    }
  }

  #routes(): Routes {
    const metrics = metricsRegistry(
      () => ({ health: this.#watch.health, stats: this.#watch.stats }),
      () => this.#certificateExpires,
    );
    return {
      "GET /v1/info": () => this.#info(),
      "GET /v1/spec": async () => {
        if (this.#applier.running === null) throw new RequestError(404, "no spec has been applied yet");
        return withoutKeys(this.#applier.running);
      },
      "PUT /v1/spec": async (body) => {
        const answer = await this.#applier.apply(body);
        // not waited for: whoever asks for the health next does that
        void this.#watch.look();
        return answer;
      },
      "GET /v1/files": async () => ({ files: this.#applier.files() }),
      "GET /v1/health": () => this.#watch.current(),
      "GET /v1/stats": async () => {
        await this.#watch.look();
        return this.#watch.stats;
      },
      "GET /v1/connections": async (_, query) => new Lines(this.#dataPlane.connections.ask(query)),
      "PUT /v1/certificate": async (body) => {
        const identity = parseIdentity(body, this.#settings.amphora_id);
        await writeIdentity(this.#settings.identity_file, identity);
        this.#useIdentity(identity);
        this.#log.info("certificate replaced");
        return {};
      },
      "PUT /v1/reporting": async (body) => {
        const reporting = parseReporting(body, this.#settings.listen.address);
        await writeReporting(this.#reportingFile, reporting);
        this.#heartbeats?.use(reporting);
        this.#log.info(reporting, "heartbeats go elsewhere");
        return {};
      },
      "GET /metrics": () => metrics.metrics(),
    };
  }

  #useIdentity(identity: CertificateBundle): void {
    this.#server?.useIdentity(identity);
    this.#certificateExpires = expiryOf(identity);
  }

  get #reportingFile(): string {
    return join(this.#settings.state_dir, "reporting.json");
  }

  async #info(): Promise<AgentInfo> {
    const { mem } = await import("systeminformation");
    const [memory, { versions, capabilities }] = await Promise.all([mem(), this.#dataPlane.abilities()]);
    return {
      amphora_id: this.#settings.amphora_id,
      revision: this.#applier.running?.revision ?? 0,
      versions: { agent: packageJson.version, node: process.version.slice(1), ...versions },
      capabilities,
      host: {
        load: loadavg(),
        cpus: availableParallelism(),
        memory: { total: memory.total, available: memory.available },
        uptime: uptime(),
      },
    };
  }

  #heartbeat(): HeartbeatBody {
    const stats = Object.entries(this.#watch.stats.listeners);
    return {
      revision: this.#applier.running?.revision ?? 0,
      digest: this.#watch.digest,
      load: loadavg()[0] ?? 0,
      stats: stats.map(([id, counters]) => countersOf(id, counters)),
    };
  }
}

async function readHeartbeatKey(file: string): Promise<Buffer> {
  const key = await readFile(file).catch((error: Error) => {
    throw new SettingsError(`heartbeat_key_file: ${error.message}`);
  });
  if (key.length < 32) throw new SettingsError(`heartbeat_key_file: ${file} holds fewer than 32 bytes`);
  return key;
}
