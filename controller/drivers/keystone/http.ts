/** HTTP and HTTPS calls to a service of the cloud, each with a deadline. */
import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import { messageOf } from "../../../agent/faults.ts";

/** More is no answer that anybody here waits for. */
const BODY_LIMIT = 1024 * 1024;
/** Calls at a time; others wait, within their deadline. */
const CONNECTIONS = 16;

export interface HttpCall {
  readonly method: "GET" | "POST";
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** milliseconds until an answer must be there in full */
  readonly limit: number;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  /** undefined when it is no JSON */
  readonly body: unknown;
}

/** There is no answer: no connection, no trust, or no time left. */
export class NoAnswerError extends Error {
  override readonly name = "NoAnswerError";
}

export class HttpClient {
  readonly #http = new HttpAgent({ keepAlive: true, maxSockets: CONNECTIONS });
  readonly #https: HttpsAgent;

  /** @param ca certificates of authorities, PEM; absent: those that the system trusts */
  constructor(ca?: string) {
    this.#https = new HttpsAgent({ keepAlive: true, maxSockets: CONNECTIONS, ...(ca === undefined ? {} : { ca }) });
  }

  /** @throws {NoAnswerError} */
  async call(call: HttpCall): Promise<HttpAnswer> {
    const signal = AbortSignal.timeout(call.limit);
    try {
      return await this.#send(call, signal);
    } catch (error) {
      if (signal.aborted) throw new NoAnswerError(`no answer within ${call.limit / 1000} s`);
      throw new NoAnswerError(reasonOf(error));
    }
  }

  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }

  #send(call: HttpCall, signal: AbortSignal): Promise<HttpAnswer> {
    const payload = call.body === undefined ? undefined : JSON.stringify(call.body);
    const headers =
      payload === undefined
        ? call.headers
        : { ...call.headers, "content-type": "application/json", "content-length": Buffer.byteLength(payload) };
    const options = { method: call.method, headers: { accept: "application/json", ...headers }, signal };
    return new Promise((resolve, reject) => {
      const answered = (response: IncomingMessage) => read(response).then(resolve, reject);
      const outgoing = call.url.startsWith("https:")
        ? requestHttps(call.url, { ...options, agent: this.#https }, answered)
        : requestHttp(call.url, { ...options, agent: this.#http }, answered);
      outgoing.on("error", (error: NodeJS.ErrnoException) => {
        // a kept connection that the server was closing: it has not seen the request
        if (error.code === "ECONNRESET" && outgoing.reusedSocket) this.#send(call, signal).then(resolve, reject);
        else reject(error);
      });
      outgoing.end(payload);
    });
  }
}

async function read(response: IncomingMessage): Promise<HttpAnswer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > BODY_LIMIT) throw new Error(`the answer is longer than ${BODY_LIMIT} bytes`);
    chunks.push(chunk);
  }
  return { status: response.statusCode ?? 0, headers: response.headers, body: parseJson(Buffer.concat(chunks)) };
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
}

/** Of an attempt at several addresses each has failed for a reason of its own. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join(", ");
  return messageOf(error);
}
