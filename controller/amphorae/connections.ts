/**
 * Asking agents for connections. Answers may be long and slow to be read: they have sockets of their own, so that nobody
 * else waits for them.
 */
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { messageOf } from "../../agent/faults.ts";
import {
  AGENT_PORT,
  agentFault,
  agentName,
  type CertificateBundle,
  type Connection,
  type ConnectionsEnd,
  connection,
  connectionsEnd,
} from "../../agent/protocol.ts";
import { type AgentAddress, UnreachableError } from "./client.ts";

/** An agent that has not begun to answer within this is taken for unreachable (ms). */
const START_LIMIT = 5000;
/** The kernel's table of a million entries may hold none that match: so long without a word, and it is given up (ms). */
const SILENCE_LIMIT = 60_000;
/** A connection is some 700 bytes; what is longer is none. */
const MAX_LINE = 65_536;

export type Line = Connection | ConnectionsEnd;

export class ConnectionsClient {
  readonly #identity: () => CertificateBundle;

  /** @param identity the controller's certificate and key as they are now, and the authorities of the agents */
  constructor(identity: () => CertificateBundle) {
    this.#identity = identity;
  }

  /**
   * What an agent answers to `GET /v1/connections`, as it comes; no more of it is asked for than is taken.
   * @throws {UnreachableError} it does not answer, refuses, or was cut off; what came before is right
   */
  async *ask(to: AgentAddress, query: URLSearchParams, signal: AbortSignal): AsyncGenerator<Line[]> {
    try {
      const response = await this.#begin(to, query, signal);
      if (response.statusCode !== 200) throw new Error(await faultOf(response));
      let ended = false;
      for await (const lines of linesOf(response)) {
        const batch = lines.map(parseLine);
        ended ||= batch.some((each) => "end" in each);
        yield batch;
      }
      if (!ended) throw new Error("the answer was cut off");
    } catch (error) {
      throw new UnreachableError(messageOf(error));
    }
  }

  async #begin(to: AgentAddress, query: URLSearchParams, signal: AbortSignal): Promise<IncomingMessage> {
    const { certificate: cert, key, ca } = this.#identity();
    const call = request({
      agent: false,
      cert,
      key,
      ca,
      minVersion: "TLSv1.3",
      host: to.address,
      port: AGENT_PORT,
      servername: agentName(to.amphoraId),
      path: `/v1/connections?${query}`,
      timeout: SILENCE_LIMIT,
      signal,
    });
    call.on("timeout", () => call.destroy(new Error(`nothing came for ${SILENCE_LIMIT / 1000} s`)));
    const late = setTimeout(() => call.destroy(new Error(`no answer within ${START_LIMIT} ms`)), START_LIMIT);
    try {
      call.end();
      const [response] = (await once(call, "response")) as [IncomingMessage];
      // from now on whoever reads the answer is told
      call.on("error", () => undefined);
      return response;
    } finally {
      clearTimeout(late);
    }
  }
}

async function faultOf(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const piece of response) text = (text + String(piece)).slice(0, MAX_LINE);
  const fault = agentFault.safeParse(parseJson(text));
  return fault.success ? fault.data.error.message : `status ${response.statusCode}`;
}

/** Lines without their ends, some at a time. Exported for tests. */
export async function* linesOf(pieces: AsyncIterable<Buffer | string>): AsyncGenerator<string[]> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const piece of pieces) {
    rest += typeof piece === "string" ? piece : decoder.decode(piece, { stream: true });
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > MAX_LINE) throw new Error("the answer is not of the known form");
    if (lines.length > 0) yield lines;
  }
}

function parseLine(text: string): Line {
  const value = parseJson(text);
  const parsed = connection.safeParse(value);
  if (parsed.success) return parsed.data;
  const end = connectionsEnd.safeParse(value);
  if (end.success) return end.data;
  throw new Error("the answer is not of the known form");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
