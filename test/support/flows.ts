/** Members that tell each client what they see of it, and clients that ask them. */
import { createSocket, type Socket as Datagrams } from "node:dgram";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Scope } from "./scope.ts";

/** A connection, or an answer, takes no longer (ms), also on a busy host. */
const LIMIT = 20_000;

/** Who answered, and from where the question seemed to come. */
export interface Seen {
  readonly member: number;
  readonly address: string;
  readonly port: number;
}

/** A member with a number: answers each line, and each datagram, with what it sees. */
export class TellingMember {
  readonly #number: number;
  readonly #address: string;
  readonly #port: number;
  readonly #open = new Set<Socket>();
  #server: Server | null = null;
  #datagrams: Datagrams | null = null;

  private constructor(number: number, address: string, port: number) {
    this.#number = number;
    this.#address = address;
    this.#port = port;
  }

  static async start(t: Scope, number: number, address = `10.77.0.${20 + number}`, port = 8080) {
    const member = new TellingMember(number, address, port);
    t.teardown(() => member.#end());
    await member.listen();
    return member;
  }

  /** Takes new connections and datagrams. */
  async listen(): Promise<void> {
    const server = createServer((socket) => {
      this.#open.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => this.#open.delete(socket));
      socket.on("data", () => socket.write(this.#tell(socket.remoteAddress ?? "", socket.remotePort ?? 0)));
    });
    const datagrams = createSocket(this.#address.includes(":") ? "udp6" : "udp4");
    datagrams.on("message", (_, { address, port }) => datagrams.send(this.#tell(address, port), port, address));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ port: this.#port, host: this.#address, backlog: 4096 }, resolve);
    });
    await new Promise<void>((resolve) => datagrams.bind(this.#port, this.#address, resolve));
    this.#server = server;
    this.#datagrams = datagrams;
  }

  /** Takes no more; connections that are open go on. */
  async deaf(): Promise<void> {
    this.#server?.close();
    const datagrams = this.#datagrams;
    if (datagrams !== null) await new Promise<void>((resolve) => datagrams.close(resolve));
    this.#server = null;
    this.#datagrams = null;
  }

  /** Says something to everybody who is connected, unasked. */
  speak(): void {
    for (const socket of this.#open) socket.write(this.#tell(socket.remoteAddress ?? "", socket.remotePort ?? 0));
  }

  get connections(): number {
    return this.#open.size;
  }

  async #end(): Promise<void> {
    await this.deaf();
    for (const socket of this.#open) socket.destroy();
  }

  #tell(address: string, port: number): string {
    return `${this.#number} ${address} ${port}\n`;
  }
}

function parse(text: string): Seen {
  const [member, address = "", port] = text.trim().split(" ");
  return { member: Number(member), address, port: Number(port) };
}

export interface From {
  readonly localAddress?: string;
  readonly localPort?: number;
}

/** A TCP connection that stays open. */
export class Flow {
  readonly #socket: Socket;
  #received = "";
  #heard: () => void = () => undefined;
  /** why it ended; null while it is open */
  ended: string | null = null;

  private constructor(socket: Socket) {
    this.#socket = socket.setEncoding("utf8").setNoDelay();
    socket.on("data", (text: string) => {
      this.#received += text;
      if (text.endsWith("\n")) this.#heard();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.ended = error.code ?? error.message;
    });
    socket.on("close", () => {
      this.ended ??= "closed";
      this.#heard();
    });
  }

  /** @throws with the code of the error, such as ECONNREFUSED, or when it takes longer than `limit` ms */
  static open(t: Scope, address: string, port: number, from: From = {}, limit = LIMIT): Promise<Flow> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: address, port, ...from });
      t.teardown(() => socket.destroy());
      socket.setTimeout(limit, () => socket.destroy(Object.assign(new Error("time-out"), { code: "ETIMEDOUT" })));
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.setTimeout(0);
        socket.off("error", reject);
        resolve(new Flow(socket));
      });
    });
  }

  get localPort(): number {
    return this.#socket.localPort ?? 0;
  }

  /** @throws when the connection is broken, or no answer comes */
  async ask(): Promise<Seen> {
    this.#received = "";
    // not polled: there may be thousands
    const answer = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer within ${LIMIT} ms`)), LIMIT);
      this.#heard = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    if (this.ended === null) this.#socket.write("who\n");
    else this.#heard();
    await answer;
    if (this.ended !== null) throw new Error(`the connection has ended: ${this.ended}`);
    return parse(this.#received);
  }

  /** Ends it as a well-behaved client does. */
  close(): void {
    this.#socket.end();
  }

  /** Cuts it off with a reset. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }
}

/** How many of them still answer. */
export async function alive(flows: readonly Flow[]): Promise<number> {
  const answers = await Promise.allSettled(flows.map((flow) => flow.ask()));
  return answers.filter(({ status }) => status === "fulfilled").length;
}

/** Why no connection comes about; null when one does. */
export async function refusal(t: Scope, address: string, port: number, from: From = {}): Promise<string | null> {
  try {
    (await Flow.open(t, address, port, from)).close();
    return null;
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : String(error);
  }
}

/** One datagram, and what answers it; null when nothing does within `limit` ms. */
export function askUdp(address: string, port: number, from: From = {}, limit = LIMIT): Promise<Seen | null> {
  const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
  return new Promise<Seen | null>((resolve) => {
    const timer = setTimeout(() => resolve(null), limit);
    const done = (seen: Seen | null) => {
      clearTimeout(timer);
      resolve(seen);
    };
    socket.on("message", (answer) => done(parse(answer.toString())));
    socket.on("error", () => done(null));
    socket.bind(from.localPort ?? 0, from.localAddress, () => socket.send("who", port, address));
  }).finally(() => socket.close());
}
