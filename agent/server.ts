/** The agent's API: HTTP over mutual TLS 1.3, for the controller alone. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import { pipeline } from "node:stream/promises";
import type { TLSSocket } from "node:tls";
import type { Logger } from "pino";
import { SpecError, type SpecProblem } from "../templates/spec.ts";
import { RevisionError } from "./apply.ts";
import { FilterError } from "./connections/protocol.ts";
import { CommandError } from "./dataplane/inside.ts";
import { NetworkError } from "./dataplane/namespace.ts";
import { messageOf } from "./faults.ts";
import { IdentityError } from "./identity.ts";
import { type AgentFault, type CertificateBundle, CONTROLLER_NAME } from "./protocol.ts";

/** 5,000 members in 50 listeners are about 1 MB. */
const MAX_BODY_BYTES = 32 * 1024 * 1024;

/** An answer other than 200, with the reason. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

/** An answer of any length: a line of JSON for each value, sent as they come. */
export class Lines {
  readonly batches: AsyncIterable<readonly unknown[]>;

  constructor(batches: AsyncIterable<readonly unknown[]>) {
    this.batches = batches;
  }
}

/** A body that is text is sent as it is, `Lines` line by line, anything else as JSON. */
export type Handler = (body: unknown, query: URLSearchParams) => Promise<unknown>;

/** `METHOD /path` -> what answers it. */
export type Routes = Readonly<Record<string, Handler>>;

export class AgentServer {
  readonly #server: Server;
  readonly #routes: Routes;
  readonly #log: Logger;

  constructor(identity: CertificateBundle, routes: Routes, log: Logger) {
    this.#routes = routes;
    this.#log = log;
    this.#server = createServer(
      {
        ...tlsOptions(identity),
        minVersion: "TLSv1.3",
        requestCert: true,
        rejectUnauthorized: true,
        requestTimeout: 30_000,
        headersTimeout: 10_000,
        keepAliveTimeout: 75_000,
      },
      (request, response) => void this.#answer(request, response),
    );
    this.#server.on("secureConnection", (socket) => this.#admit(socket));
    this.#server.on("tlsClientError", (error, socket) => {
      log.warn({ peer: socket.remoteAddress, error: error.message }, "connection refused");
    });
  }

  listen(address: string, port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, address, () => {
        this.#server.off("error", reject);
        resolve();
      });
    });
  }

  /** New connections use the new identity; those that are open go on. */
  useIdentity(identity: CertificateBundle): void {
    this.#server.setSecureContext({ ...tlsOptions(identity), minVersion: "TLSv1.3" });
  }

  /** Takes no more connections, lets requests under way finish for up to `patience` ms. */
  async close(patience = 5000): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeIdleConnections();
    const timer = setTimeout(() => this.#server.closeAllConnections(), patience);
    await closed;
    clearTimeout(timer);
  }

  /** The authority signs amphorae too: only the controller's name is obeyed. */
  #admit(socket: TLSSocket): void {
    const name = socket.getPeerCertificate().subject?.CN;
    if (name === CONTROLLER_NAME) return;
    this.#log.warn({ peer: socket.remoteAddress, name }, "connection refused: not the controller's certificate");
    socket.destroy();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = "/", query = ""] = (request.url ?? "/").split("?", 2);
    try {
      const handler = this.#routes[`${request.method} ${path}`];
      if (handler === undefined) throw this.#noRoute(request.method ?? "", path);
      const body = request.method === "PUT" ? await readJson(request) : undefined;
      const answer = await handler(body, new URLSearchParams(query));
      if (answer instanceof Lines) await this.#stream(response, answer, path);
      else send(response, 200, answer);
    } catch (error) {
      const fault = faultOf(error);
      if (fault.error.code >= 500) this.#log.error({ err: error, path }, "request failed");
      else this.#log.warn({ path, ...fault.error }, "request refused");
      send(response, fault.error.code, fault, error instanceof RequestError ? error.headers : {});
    }
  }

  /** What fails under way can't be told any more: the answer is cut off. */
  async #stream(response: ServerResponse, { batches }: Lines, path: string): Promise<void> {
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    // whoever asks is told at once that it is being looked for
    response.flushHeaders();
    try {
      await pipeline(textOf(batches), response);
    } catch (error) {
      response.destroy();
      const gone = error instanceof Error && "code" in error && error.code === "ERR_STREAM_PREMATURE_CLOSE";
      if (!gone) this.#log.error({ err: error, path }, "an answer was cut off");
    }
  }

  #noRoute(method: string, path: string): RequestError {
    const others = Object.keys(this.#routes).filter((route) => route.endsWith(` ${path}`));
    if (others.length === 0) return new RequestError(404, `there is no ${path}`);
    const allow = others.map((each) => each.split(" ")[0]).join(", ");
    return new RequestError(405, `${path} does not take ${method}, but ${allow}`, { allow });
  }
}

function tlsOptions(identity: CertificateBundle) {
  return { cert: identity.certificate, key: identity.key, ca: identity.ca };
}

async function* textOf(batches: AsyncIterable<readonly unknown[]>): AsyncGenerator<string> {
  for await (const batch of batches) {
    if (batch.length > 0) yield `${batch.map((each) => JSON.stringify(each)).join("\n")}\n`;
  }
}

/** The one place where an error becomes an answer. */
function faultOf(error: unknown): AgentFault {
  const fault = (code: number, message: string, problems?: readonly SpecProblem[]): AgentFault => ({
    error: { code, message, ...(problems === undefined ? {} : { problems: [...problems] }) },
  });
  if (error instanceof SpecError) return fault(422, error.message, error.problems);
  if (error instanceof FilterError) return fault(400, error.message);
  if (error instanceof IdentityError) return fault(422, error.message);
  if (error instanceof RevisionError) return fault(409, error.message);
  if (error instanceof NetworkError || error instanceof CommandError) return fault(503, error.message);
  if (error instanceof RequestError) return fault(error.status, error.message);
  return fault(500, "the agent failed: its log says why");
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    // read to its end, but not kept: the kernel resets a connection that is closed with something unread, and the answer
    // may be lost with it
    if (length <= MAX_BODY_BYTES) chunks.push(chunk);
    else chunks.length = 0;
  }
  if (length > MAX_BODY_BYTES) throw new RequestError(413, `the body is larger than ${MAX_BODY_BYTES} bytes`);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks)));
  } catch (error) {
    throw new RequestError(400, `the body is no JSON: ${messageOf(error)}`);
  }
}

function send(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (response.destroyed) return;
  const text = typeof body === "string" ? body : JSON.stringify(body);
  response.writeHead(status, {
    ...headers,
    "content-type": typeof body === "string" ? "text/plain; charset=utf-8" : "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}
