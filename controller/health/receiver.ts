/** Heartbeats in: opened, believed or counted, and remembered. */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { readFile } from "node:fs/promises";
import { isIPv6 } from "node:net";
import type { Logger } from "pino";
import { claimedSender, claimedSequence, type Heartbeat, openHeartbeat } from "../../agent/protocol.ts";
import { Backlog } from "./backlog.ts";
import type { Arrivals } from "./hearing.ts";
import { Keys, type KeysOf, type Known } from "./keys.ts";

/** A port of ours is in another's hands. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

/** Why a datagram was not believed. */
export const REFUSALS = ["malformed", "unknown", "forged", "replayed", "clock"] as const;
export type Refusal = (typeof REFUSALS)[number];

/** An amphora's clock may differ from ours by so much (ms). */
const CLOCK_TOLERANCE = 60_000;
/** So many datagrams of amphorae not known yet may wait for the store. */
const MOST_WAITING = 20_000;
/** Of datagrams that are not believed, so many are logged in a second; all are counted. */
const LOGGED_PER_SECOND = 20;
/** Room for what arrives while the process does something else (bytes); the kernel gives net.core.rmem_max at most. */
const KERNEL_BUFFER = 8 * 1024 * 1024;

export interface ReceiverOptions {
  readonly address: string;
  readonly port: number;
  readonly keysOf: KeysOf;
  readonly onHeartbeat: (heartbeat: Heartbeat) => void;
  /** under load, who was heard within so many ms may be passed over: so short that nobody seems silent because of it */
  readonly mostRecent: number;
  readonly log: Logger;
}

export class HeartbeatReceiver {
  readonly #options: ReceiverOptions;
  readonly #socket: Socket;
  readonly #keys: Keys;
  readonly #backlog: Backlog;
  readonly #startedAt = Date.now();
  #read = 0;
  #waiting = 0;
  #loggedSince = 0;
  #logged = 0;
  readonly refused: Record<Refusal, number> = { malformed: 0, unknown: 0, forged: 0, replayed: 0, clock: 0 };
  believed = 0;
  /** passed over unopened, for more came than could be dealt with */
  shed = 0;

  constructor(options: ReceiverOptions) {
    this.#options = options;
    this.#backlog = new Backlog(options.mostRecent);
    this.#keys = new Keys(options.keysOf, (error) =>
      options.log.error({ err: error }, "looking for keys of heartbeats failed"),
    );
    this.#socket = createSocket({ type: isIPv6(options.address) ? "udp6" : "udp4", recvBufferSize: KERNEL_BUFFER });
    this.#socket.on("message", (datagram, from) => this.#receive(datagram, from));
  }

  /** @throws {ListenError} when the port can't be listened on */
  start(): Promise<void> {
    const { address, port } = this.#options;
    return new Promise((resolve, reject) => {
      const failed = (error: Error) =>
        reject(new ListenError(`heartbeat-port: ${address}:${port} (UDP): ${error.message}`));
      this.#socket.once("error", failed);
      this.#socket.bind(port, address, () => {
        this.#socket.off("error", failed);
        this.#socket.on("error", (error) => this.#options.log.warn({ err: error }, "heartbeat socket"));
        resolve();
      });
    });
  }

  stop(): Promise<void> {
    return new Promise((resolve) => this.#socket.close(() => resolve()));
  }

  /** Nothing that an amphora of this id says is believed any more. */
  forget(amphoraId: string): void {
    this.#keys.forget(amphoraId);
  }

  /** What came since the start. */
  async arrivals(): Promise<Arrivals> {
    return { read: this.#read, lost: await this.lost() };
  }

  /** How many datagrams for this port the kernel had no room for (proc(5), /proc/net/udp). */
  async lost(): Promise<number> {
    const file = isIPv6(this.#options.address) ? "/proc/net/udp6" : "/proc/net/udp";
    const suffix = `:${this.#options.port.toString(16).toUpperCase().padStart(4, "0")}`;
    const lines = (await readFile(file, "utf8")).split("\n").map((line) => line.trim().split(/\s+/));
    return lines
      .filter(([, local]) => local?.endsWith(suffix))
      .reduce((sum, columns) => sum + Number(columns.at(-1)), 0);
  }

  #receive(datagram: Buffer, from: RemoteInfo): void {
    this.#read++;
    if (this.#backlog.read()) this.#awaitTurnEnd();
    const sender = claimedSender(datagram);
    if (sender === null) {
      this.#refuse("malformed", from);
      return;
    }
    const known = this.#keys.get(sender);
    if (known !== undefined) this.#take(sender, known, datagram, from);
    else if (this.#keys.isUnknown(sender)) this.#refuse("unknown", from, sender);
    else if (this.#waiting >= MOST_WAITING) this.shed++;
    else this.#learn(sender, datagram, from);
  }

  /** Immediates run after all that one turn has read; one that an immediate asks for, after the next turn. */
  #awaitTurnEnd(): void {
    setImmediate(() => {
      if (this.#backlog.turnEnded(performance.now())) this.#awaitTurnEnd();
    });
  }

  #learn(sender: string, datagram: Buffer, from: RemoteInfo): void {
    this.#waiting++;
    this.#keys.learn(sender, (known) => {
      this.#waiting--;
      if (known !== null) this.#take(sender, known, datagram, from);
      else if (this.#keys.isUnknown(sender)) this.#refuse("unknown", from, sender);
    });
  }

  #take(sender: string, known: Known, datagram: Buffer, from: RemoteInfo): void {
    const now = performance.now();
    // before anything that takes time
    if (now - known.heardAt < this.#backlog.recent(now)) {
      this.shed++;
      return;
    }
    const opened = this.#open(known, datagram);
    if (typeof opened === "string") {
      this.#refuse(opened, from, sender);
      return;
    }
    known.sequence = opened.sequence;
    known.heardAt = now;
    this.believed++;
    this.#options.onHeartbeat(opened);
  }

  #open(known: Known, datagram: Buffer): Heartbeat | Refusal {
    // the seal is what takes longest
    if (claimedSequence(datagram) <= known.sequence) return "replayed";
    const heartbeat = openHeartbeat(datagram, known.key);
    if (heartbeat === null) return "forged";
    if (Math.abs(Date.now() - heartbeat.time) > CLOCK_TOLERANCE) return "clock";
    // what was recorded before this process began must not speak to it: it does not know those sequence numbers
    return heartbeat.time < this.#startedAt ? "replayed" : heartbeat;
  }

  #refuse(refusal: Refusal, from: RemoteInfo, amphora?: string): void {
    this.refused[refusal]++;
    const now = performance.now();
    if (now - this.#loggedSince > 1000) {
      this.#loggedSince = now;
      this.#logged = 0;
    }
    if (this.#logged++ >= LOGGED_PER_SECOND) return;
    const { address, port } = from;
    this.#options.log.warn({ refusal, from: `${address}:${port}`, amphora }, "heartbeat not believed");
  }
}
