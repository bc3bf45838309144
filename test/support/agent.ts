/** A real agent in a test: its process, its authority, its folders, and what a controller would say to it. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { request } from "node:https";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { SecureVersion } from "node:tls";
import writeFileAtomic from "write-file-atomic";
import { type Processes, showProcesses } from "../../agent/dataplane/haproxy-socket.ts";
import {
  AGENT_PORT,
  type ApplyAnswer,
  agentFault,
  agentName,
  applyAnswer,
  type CertificateBundle,
  type HealthReport,
  healthReport,
  type StatsReport,
  statsReport,
} from "../../agent/protocol.ts";
import { Authority } from "../../controller/amphorae/authority.ts";
import type { AmphoraSpecInput, SpecProblem } from "../../templates/spec.ts";
import { dropNamespace } from "./namespaces.ts";
import type { Scope } from "./scope.ts";

const ROOT = join(import.meta.dirname, "../..");
export const AGENT_MAIN = join(ROOT, "agent/main.ts");

/** What Node needs in a test machine. */
const NODE_FLAGS = (process.env.AMPHORA_TEST_NODE_FLAGS ?? "").split(" ").filter((flag) => flag !== "");

/** In a test machine without KVM, on a busy host, it takes its time, and so does the first spec (ms). */
const START_LIMIT = 60_000;
const CALL_LIMIT = 60_000;

let made = 0;

export interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly text: string;
}

export interface CallOptions {
  /** whose certificate is shown; null shows none */
  readonly as?: CertificateBundle | null;
  /** the authority that the agent must be of */
  readonly ca?: string;
  readonly maxVersion?: SecureVersion;
}

/** Environment of the product's own processes: the test runner hooks into every Node process that it can. */
export function productEnv(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _, ...env } = process.env;
  return env;
}

/** Starts an agent that waits for its first spec. It ends with the test, and its HAProxy and namespace with it. */
export async function startAgent(t: Scope, settings: Record<string, unknown> = {}): Promise<TestAgent> {
  const agent = await TestAgent.make(t, settings);
  await agent.start();
  return agent;
}

export class TestAgent {
  readonly id = randomUUID();
  /** each has its own, so that a test may have several */
  readonly address = `127.0.1.${++made}`;
  /** short: the path of a UNIX socket has at most 107 bytes */
  readonly folder: string;
  readonly namespace: string;
  readonly authority: Authority;
  /** what the controller shows */
  readonly controller: CertificateBundle;
  readonly heartbeatKey = randomBytes(32);
  output = "";
  #child: ChildProcess | null = null;

  private constructor(folder: string, authority: Authority, controller: CertificateBundle) {
    this.folder = folder;
    this.namespace = `amphora-test-${this.id.slice(0, 8)}`;
    this.authority = authority;
    this.controller = controller;
  }

  /** Everything an agent needs, before it is started. @param settings further ones, for its settings file */
  static async make(t: Scope, settings: Record<string, unknown> = {}): Promise<TestAgent> {
    // keepalived runs no command that anybody but root could change, at any place of its path
    const folder = await mkdtemp("/run/amphora-test-");
    await chmod(folder, 0o711);
    const authority = await Authority.make();
    const agent = new TestAgent(folder, authority, (await authority.issueController()).bundle);
    t.teardown(() => agent.#remove());
    const { bundle } = await authority.issueAmphora(agent.id, 1);
    await writeFileAtomic(join(folder, "identity.json"), JSON.stringify(bundle));
    await writeFileAtomic(join(folder, "heartbeat.key"), agent.heartbeatKey);
    const all = {
      amphora_id: agent.id,
      listen: { address: agent.address, port: AGENT_PORT },
      controllers: [{ address: "127.0.0.1", port: 5555 }],
      heartbeat_key_file: join(folder, "heartbeat.key"),
      identity_file: join(folder, "identity.json"),
      namespace: agent.namespace,
      config_dir: join(folder, "etc"),
      run_dir: join(folder, "run"),
      state_dir: join(folder, "state"),
      ...settings,
    };
    await writeFileAtomic(join(folder, "agent.json"), JSON.stringify(all));
    return agent;
  }

  /** Starts the process, and waits until it answers. @throws with what it said when it ends instead */
  async start(): Promise<void> {
    const child = spawn(
      process.execPath,
      [...NODE_FLAGS, AGENT_MAIN, "run", "--config", join(this.folder, "agent.json")],
      {
        env: productEnv(),
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    this.#child = child;
    this.output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        this.output += chunk.toString();
      });
    }
    await eventually(
      "the agent answers",
      async () => {
        if (ended(child)) throw new Error(`the agent ended:\n${this.output}`);
        return this.output.includes('"agent ready"');
      },
      START_LIMIT,
    );
  }

  /** Sends a signal and waits for the end. @returns the exit code, null when the signal ended it */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    if (child === null) throw new Error("the agent was not started");
    child.kill(signal);
    await eventually(`${signal} ends the agent`, async () => ended(child));
    return child.exitCode;
  }

  /** One call as the controller makes it, on a connection of its own. A body that is no Buffer is sent as JSON. */
  call(method: string, path: string, body?: unknown, options: CallOptions = {}): Promise<Answer> {
    const { as = this.controller, ca = this.authority.certificate, maxVersion = "TLSv1.3" } = options;
    const payload = body === undefined || Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
    return new Promise((resolve, reject) => {
      const call = request(
        {
          agent: false,
          host: this.address,
          port: AGENT_PORT,
          servername: agentName(this.id),
          ca,
          ...(as === null ? {} : { cert: as.certificate, key: as.key }),
          maxVersion,
          method,
          path,
          headers: payload === undefined ? {} : { "content-length": payload.length },
          signal: AbortSignal.timeout(CALL_LIMIT),
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("error", reject);
          response.on("end", () => {
            const text = Buffer.concat(chunks).toString("utf8");
            resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
          });
        },
      );
      call.on("error", reject);
      call.end(payload);
    });
  }

  /** Sends a spec that shall be taken. @throws when it is not */
  async apply(spec: AmphoraSpecInput): Promise<ApplyAnswer> {
    const { status, text } = await this.call("PUT", "/v1/spec", spec);
    if (status !== 200) throw new Error(`PUT /v1/spec: ${status} ${text}`);
    return applyAnswer.parse(JSON.parse(text));
  }

  /** Sends a document that shall be refused. @returns the status, the message and where the faults lie */
  async refused(document: unknown): Promise<{ status: number; message: string; problems: readonly SpecProblem[] }> {
    const { status, text } = await this.call("PUT", "/v1/spec", document);
    const { error } = agentFault.parse(JSON.parse(text));
    return { status, message: error.message, problems: error.problems ?? [] };
  }

  async health(): Promise<HealthReport> {
    return healthReport.parse(JSON.parse((await this.call("GET", "/v1/health")).text));
  }

  async stats(): Promise<StatsReport> {
    return statsReport.parse(JSON.parse((await this.call("GET", "/v1/stats")).text));
  }

  /** The HAProxy that the agent runs, asked without the agent; waited for, because a master that reloads is deaf. */
  haproxy(): Promise<Processes> {
    return eventually("HAProxy answers", () => showProcesses(this.haproxySocket).catch(() => null));
  }

  get haproxySocket(): string {
    return join(this.folder, "run/haproxy-master.sock");
  }

  /** The paths that the agent says it has rendered. */
  async files(): Promise<string[]> {
    const { files } = JSON.parse((await this.call("GET", "/v1/files")).text) as { files: { path: string }[] };
    return files.map(({ path }) => path);
  }

  /** haproxy.cfg as it stands on disk. */
  configFile(): Promise<string> {
    return readFile(join(this.folder, "etc/haproxy/haproxy.cfg"), "utf8");
  }

  async #remove(): Promise<void> {
    if (this.#child !== null && !ended(this.#child)) await this.end("SIGKILL");
    await dropNamespace(this.namespace);
    await rm(this.folder, { recursive: true, force: true });
  }
}

function ended(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** What has not happened by then on a busy host does not happen (ms). */
const LOOK_LIMIT = 60_000;

/**
 * Polls until there is something.
 * @returns the first value that is neither false nor null nor undefined
 * @throws after `limit` ms, saying what did not happen; and what `look` throws, at once
 */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | false | null | undefined>,
  limit = LOOK_LIMIT,
): Promise<T> {
  const deadline = Date.now() + limit;
  for (;;) {
    const found = await look();
    if (found !== false && found !== null && found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`not within ${limit} ms: ${what}`);
    await sleep(20);
  }
}
