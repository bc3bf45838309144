/** Requests through a load balancer, and members that tell what reached them. */
import { createServer, type IncomingMessage, type RequestListener, request, type Server } from "node:http";
import * as http2 from "node:http2";
import * as https from "node:https";
import type { Socket } from "node:net";
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from "node:tls";
import type { Scope } from "./scope.ts";
import { VIP } from "./tenant.ts";

/** What reached a member. */
export interface Seen {
  readonly member: string;
  readonly method: string;
  readonly url: string;
  readonly httpVersion: string;
  readonly headers: Readonly<Record<string, string>>;
  /** where the connection comes from */
  readonly peer: string;
  /** of the certificate that was shown */
  readonly client: string | null;
  /** what the other side called the member */
  readonly servername: string | null;
  readonly cipher: string | null;
}

export interface UpstreamOptions {
  readonly port?: number;
  /** of the server; absent: in the clear */
  readonly tls?: https.ServerOptions;
  /** answers instead of the member telling what it saw, unless it returns false */
  readonly answer?: (...args: Parameters<RequestListener>) => boolean;
}

/** A member: over TLS it speaks h2 as well. */
export class Upstream {
  readonly name: string;
  readonly #server: Server | http2.Http2SecureServer;
  readonly #sockets = new Set<Socket>();
  requests = 0;
  /** requests of /health, which have the status `health` */
  checks = 0;
  health = 200;

  private constructor(name: string, { tls, answer }: UpstreamOptions) {
    this.name = name;
    const listener: RequestListener = (incoming, response) => {
      if (answer?.(incoming, response)) return;
      if (incoming.url === "/health") {
        this.checks++;
        response.writeHead(this.health).end();
        return;
      }
      this.requests++;
      incoming.resume();
      incoming.on("end", () => response.end(JSON.stringify(seen(name, incoming))));
    };
    this.#server =
      tls === undefined
        ? createServer(listener)
        : http2.createSecureServer({ allowHTTP1: true, ...tls }, listener as unknown as http2Listener);
    this.#server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  static async start(t: Scope, name: string, address: string, options: UpstreamOptions = {}): Promise<Upstream> {
    const upstream = new Upstream(name, options);
    t.teardown(() => upstream.stop());
    await new Promise<void>((resolve, reject) => {
      upstream.#server.once("error", reject);
      upstream.#server.listen(options.port ?? 8080, address, resolve);
    });
    return upstream;
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

type http2Listener = (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) => void;

function seen(member: string, incoming: IncomingMessage): Seen {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(incoming.headers)) headers[name] = String(value);
  const socket = incoming.socket as Partial<TLSSocket> & Socket;
  const subject = socket.getPeerCertificate?.()?.subject;
  return {
    member,
    method: incoming.method ?? "",
    url: incoming.url ?? "",
    httpVersion: incoming.httpVersion,
    headers,
    peer: socket.remoteAddress ?? "",
    client: subject === undefined ? null : String(subject.CN),
    servername: typeof socket.servername === "string" ? socket.servername : null,
    cipher: socket.getCipher?.()?.name ?? null,
  };
}

export interface Call {
  readonly host?: string;
  readonly port?: number;
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** the client's own address */
  readonly from?: string;
  /** absent: in the clear */
  readonly tls?: https.RequestOptions;
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
  /** what the member saw, when it told */
  readonly seen: Seen | null;
  /** how it was secured: the version of TLS, the subject of the server's certificate */
  readonly secured: { readonly protocol: string; readonly cipher: string; readonly server: string } | null;
}

/** One request in HTTP/1.1, on a connection of its own. */
export async function call(options: Call = {}): Promise<Reply> {
  const { tls, from, host = VIP, port = tls === undefined ? 80 : 443, body, ...rest } = options;
  const all = {
    agent: false,
    host,
    port,
    ...rest,
    localAddress: from,
    ...tls,
    signal: AbortSignal.timeout(10_000),
  };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const sent = tls === undefined ? request(all, resolve) : https.request(all, resolve);
    sent.on("error", reject);
    sent.end(body);
  });
  const secured = tls === undefined ? null : securityOf(response.socket as TLSSocket);
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += String(chunk);
  return { status: response.statusCode ?? 0, headers: response.headers, text, seen: seenIn(text), secured };
}

/** The name of the member that served, or the status when none did. */
export async function served(options: Call = {}): Promise<string> {
  const { status, seen } = await call(options);
  return seen?.member ?? String(status);
}

/** One request in HTTP/2 over TLS. */
export async function call2({ host = VIP, port = 443, path = "/", method = "GET", headers, body, tls }: Call) {
  const session = http2.connect(`https://${host}:${port}`, tls as http2.SecureClientSessionOptions);
  try {
    return await new Promise<{ status: number; text: string; seen: Seen | null; trailers: Record<string, unknown> }>(
      (resolve, reject) => {
        session.on("error", reject);
        const stream = session.request({ ":path": path, ":method": method, ...headers });
        let status = 0;
        let text = "";
        let trailers: Record<string, unknown> = {};
        stream.setEncoding("utf8");
        stream.on("response", (received) => {
          status = received[":status"] ?? 0;
        });
        stream.on("trailers", (received) => {
          trailers = Object.fromEntries(Object.entries(received));
        });
        stream.on("data", (chunk: string) => {
          text += chunk;
        });
        stream.on("error", reject);
        stream.on("end", () => resolve({ status, text, seen: seenIn(text), trailers }));
        stream.end(body);
      },
    );
  } finally {
    session.destroy();
  }
}

/** A TLS handshake alone. @returns the version spoken, or what went wrong */
export function handshake(options: ConnectionOptions): Promise<string> {
  return new Promise((resolve) => {
    const socket = tlsConnect({ host: VIP, port: 443, ...options }, () => {
      resolve(socket.getProtocol() ?? "");
      socket.destroy();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
}

function securityOf(socket: TLSSocket): Reply["secured"] {
  return {
    protocol: socket.getProtocol() ?? "",
    cipher: socket.getCipher().name,
    server: String(socket.getPeerCertificate().subject?.CN),
  };
}

function seenIn(text: string): Seen | null {
  if (!text.startsWith('{"member"')) return null;
  return JSON.parse(text) as Seen;
}
