/** Speaking to agents: mutual TLS 1.3, each call with a deadline, each agent by its own name. */
import { Agent, request } from "node:https";
import type { TLSSocket } from "node:tls";
import { z } from "zod";
import {
  AGENT_PORT,
  type AgentInfo,
  type ApplyAnswer,
  agentFault,
  agentInfo,
  agentName,
  applyAnswer,
  type CertificateBundle,
  type HealthReport,
  healthReport,
  type Reporting,
  type StatsReport,
  statsReport,
} from "../../agent/protocol.ts";
import type { AmphoraSpecInput, SpecProblem } from "../../templates/spec.ts";
import type { Amphora } from "../model/amphora.ts";
import { connectExpired, EXPIRED, UnreachableError } from "./expired.ts";

export { UnreachableError } from "./expired.ts";

/** The agent refused, and would refuse the same again. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
  readonly status: number;
  readonly problems: readonly SpecProblem[];

  constructor(status: number, message: string, problems: readonly SpecProblem[] = []) {
    super(message);
    this.status = status;
    this.problems = problems;
  }
}

/** Where an agent is, and whose it must be. */
export interface AgentAddress {
  readonly amphoraId: string;
  readonly address: string;
}

/** Where an amphora's agent is, as its row tells. */
export function addressOf(row: Pick<Amphora, "id" | "lb_network_ip">): AgentAddress {
  return { amphoraId: row.id, address: row.lb_network_ip ?? "" };
}

/** The agent's certificate has expired: it can only be given a new one. */
export class ExpiredError extends UnreachableError {}

const QUICK = 3000;
/** HAProxy may take 10 s to start, and a network interface 5 s to appear. */
const SPEC_LIMIT = 30_000;

export class AgentClient {
  #identity: CertificateBundle;
  #agent: Agent;

  /** @param identity the controller's certificate and key, and the authorities of the agents */
  constructor(identity: CertificateBundle) {
    this.#identity = identity;
    this.#agent = agentOf(identity);
  }

  /** What new connections show. */
  get identity(): CertificateBundle {
    return this.#identity;
  }

  /** New connections show the new identity; requests under way go on with the one they began with. */
  useIdentity(identity: CertificateBundle): void {
    const former = this.#agent;
    this.#identity = identity;
    this.#agent = agentOf(identity);
    // whoever speaks now has a socket; the rest is not needed any more
    setTimeout(() => former.destroy(), SPEC_LIMIT).unref();
  }

  info(to: AgentAddress, limit = QUICK): Promise<AgentInfo> {
    return this.#call(to, "GET", "/v1/info", undefined, agentInfo, limit);
  }

  /** @throws {RefusedError} 422 the spec is at fault, 409 the agent runs a newer one @throws {UnreachableError} */
  putSpec(to: AgentAddress, spec: AmphoraSpecInput, limit = SPEC_LIMIT): Promise<ApplyAnswer> {
    return this.#call(to, "PUT", "/v1/spec", spec, applyAnswer, limit);
  }

  health(to: AgentAddress): Promise<HealthReport> {
    return this.#call(to, "GET", "/v1/health", undefined, healthReport, QUICK);
  }

  stats(to: AgentAddress): Promise<StatsReport> {
    return this.#call(to, "GET", "/v1/stats", undefined, statsReport, QUICK);
  }

  /** Tells the agent where heartbeats go. */
  async putReporting(to: AgentAddress, wanted: Reporting): Promise<void> {
    await this.#call(to, "PUT", "/v1/reporting", wanted, z.object({}), QUICK);
  }

  /** Gives the agent another certificate. @throws {ExpiredError} when the one it shows has expired */
  async putCertificate(to: AgentAddress, bundle: CertificateBundle): Promise<void> {
    await this.#call(to, "PUT", "/v1/certificate", bundle, z.object({}), QUICK);
  }

  /**
   * Gives an agent another certificate though the one it shows has expired. Nothing is sent before it has proven to be
   * that amphora, by what an authority of ours has signed.
   * @throws {UnreachableError} when anything else is wrong with it
   */
  async takeBack(to: AgentAddress, bundle: CertificateBundle): Promise<void> {
    const socket = await connectExpired(to, this.#identity, QUICK);
    try {
      await this.#call(to, "PUT", "/v1/certificate", bundle, z.object({}), QUICK, socket);
    } finally {
      socket.destroy();
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  async #call<T>(
    to: AgentAddress,
    method: "GET" | "PUT",
    path: string,
    body: unknown,
    schema: z.ZodType<T>,
    limit: number,
    socket: TLSSocket | null = null,
  ): Promise<T> {
    const { status, text } = await this.#send(to, method, path, body, limit, socket);
    const answer = parseJson(text);
    if (status === 200) {
      const parsed = schema.safeParse(answer);
      if (parsed.success) return parsed.data;
      throw new UnreachableError(`${to.address}${path}: the answer is not of the known form`);
    }
    const fault = agentFault.safeParse(answer);
    const message = fault.success ? fault.data.error.message : `status ${status}`;
    if (status >= 400 && status < 500) {
      throw new RefusedError(status, message, fault.success ? (fault.data.error.problems ?? []) : []);
    }
    throw new UnreachableError(`${to.address}${path}: ${message}`);
  }

  #send(
    to: AgentAddress,
    method: string,
    path: string,
    body: unknown,
    limit: number,
    socket: TLSSocket | null,
  ): Promise<{ status: number; text: string }> {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const failed = (error: Error) => {
        const isExpired = "code" in error && error.code === EXPIRED;
        const message = `${to.address}${path}: ${error.message}`;
        reject(isExpired ? new ExpiredError(message) : new UnreachableError(message));
      };
      const call = request(
        {
          ...(socket === null ? { agent: this.#agent } : { createConnection: () => socket }),
          host: to.address,
          port: AGENT_PORT,
          // the name that the agent's certificate must hold
          servername: agentName(to.amphoraId),
          method,
          path,
          headers:
            payload === undefined
              ? {}
              : { "content-type": "application/json", "content-length": Buffer.byteLength(payload) },
          signal: AbortSignal.timeout(limit),
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("error", failed);
          response.on("end", () =>
            resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") }),
          );
        },
      );
      call.on("error", failed);
      call.end(payload);
    });
  }
}

function agentOf({ certificate, key, ca }: CertificateBundle): Agent {
  return new Agent({ keepAlive: true, maxSockets: 4, cert: certificate, key, ca, minVersion: "TLSv1.3" });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
