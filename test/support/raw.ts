/** Members and clients below HTTP: bytes over TCP, and connections that were upgraded. */
import { createHash, randomBytes } from "node:crypto";
import { createServer as createHttpServer, request } from "node:http";
import { connect, createServer, type Server, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import type { Scope } from "./scope.ts";
import { VIP } from "./tenant.ts";

/** Sends back whatever it gets, after its name and a space. @returns how to end it and its connections */
export function startEcho(t: Scope, name: string, address: string, port = 8080): Promise<void> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.write(`${name} `);
    socket.pipe(socket);
  });
  return listening(t, server, address, port);
}

/** Says all that it got until a request had come, as JSON, and closes: in HTTP, so that HTTP listeners understand it. */
export function startRecorder(t: Scope, address: string, port = 8080): Promise<void> {
  const server = createServer((socket) => {
    let body = "";
    socket.on("error", () => undefined);
    socket.setEncoding("latin1").on("data", (chunk: string) => {
      body += chunk;
      // version 2 of the PROXY protocol has an empty line in its signature
      if (!/ HTTP\/1\.\d\r\n[\s\S]*\r\n\r\n$/.test(body)) return;
      const text = JSON.stringify({ member: "recorder", body });
      socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\nConnection: close\r\n\r\n${text}`, "latin1");
    });
  });
  return listening(t, server, address, port);
}

/** Upgrades to WebSocket (RFC 6455, 4.2.2), and then sends back whatever it gets. */
export function startWebSocket(t: Scope, address: string, port = 8080): Promise<void> {
  const server = createHttpServer((_, response) => response.writeHead(426).end());
  server.on("upgrade", (incoming, socket: Socket) => {
    const accept = acceptOf(String(incoming.headers["sec-websocket-key"]));
    socket.on("error", () => undefined);
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    socket.pipe(socket);
  });
  return listening(t, server, address, port);
}

async function listening(t: Scope, server: Server, address: string, port: number): Promise<void> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, address, resolve);
  });
}

/** A connection that stays open, over which bytes go and come back. */
export class Conversation {
  readonly #socket: Socket;
  #received = "";
  #ended: string | null = null;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding("latin1");
    socket.on("data", (chunk: string) => {
      this.#received += chunk;
    });
    socket.on("error", (error) => {
      this.#ended = error.message;
    });
    socket.on("close", () => {
      this.#ended ??= "closed";
    });
  }

  /** @param tls absent: in the clear */
  static async open(t: Scope, port: number, host = VIP, tls?: ConnectionOptions): Promise<Conversation> {
    const socket = tls === undefined ? connect(port, host) : connectTls({ host, port, ...tls });
    t.teardown(() => socket.destroy());
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.once(tls === undefined ? "connect" : "secureConnect", () => resolve());
    });
    return new Conversation(socket);
  }

  /** A WebSocket's connection, once it is upgraded. */
  static async upgrade(t: Scope, port: number, tls?: ConnectionOptions): Promise<Conversation> {
    const key = randomBytes(16).toString("base64");
    const headers = {
      Host: "test",
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": key,
    };
    const createConnection = tls === undefined ? undefined : () => connectTls({ host: VIP, port, ...tls });
    const socket = await new Promise<Socket>((resolve, reject) => {
      const call = request({ host: VIP, port, headers, ...(createConnection && { createConnection }) });
      call.on("upgrade", (response, upgraded) => {
        const accepted = response.headers["sec-websocket-accept"] === acceptOf(key);
        if (accepted) resolve(upgraded as Socket);
        else reject(new Error("another's handshake"));
      });
      call.on("response", (response) => reject(new Error(`status ${response.statusCode}`)));
      call.on("error", reject);
      call.end();
    });
    t.teardown(() => socket.destroy());
    return new Conversation(socket);
  }

  /** Sends, and waits until something came that ends so. @throws when the connection ends first, or after 10 s */
  async say(text: string, expected = text): Promise<string> {
    this.#received = "";
    this.#socket.write(text, "latin1");
    return this.hears(expected);
  }

  /** Waits until something came that ends so. */
  async hears(expected: string): Promise<string> {
    const deadline = Date.now() + 10_000;
    while (!this.#received.endsWith(expected)) {
      if (this.#ended !== null) throw new Error(`${this.#ended} after ${JSON.stringify(this.#received)}`);
      if (Date.now() > deadline) throw new Error(`not ${expected} but ${JSON.stringify(this.#received)}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return this.#received;
  }

  /** Why the connection has ended; null while it is open. */
  get ended(): string | null {
    return this.#ended;
  }

  close(): void {
    this.#socket.destroy();
  }
}

function acceptOf(key: string): string {
  return createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
}
