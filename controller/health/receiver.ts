/** Heartbeats in: opened, believed or counted, and remembered. */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";
import type { Logger } from "pino";
import { claimedSender, type Heartbeat, openHeartbeat } from "../../agent/protocol.ts";

/** A port of ours is in another's hands. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

/** Why a datagram was not believed. */
export const REFUSALS = ["malformed", "unknown", "forged", "replayed", "clock"] as const;
export type Refusal = (typeof REFUSALS)[number];

/** An amphora's clock may differ from ours by so much (ms). */
const CLOCK_TOLERANCE = 60_000;
/** How long it is believed that there is no such amphora, before the store is asked again (ms). */
const UNKNOWN_FOR = 2000;
const MOST_UNKNOWN = 10_000;

export interface ReceiverOptions {
  readonly address: string;
  readonly port: number;
  /** the key of an amphora, null when there is no such one */
  readonly keyOf: (amphoraId: string) => Promise<Buffer | null>;
  readonly onHeartbeat: (heartbeat: Heartbeat) => void;
  readonly log: Logger;
}

interface Known {
  readonly key: Buffer;
  /** of the last one believed */
  sequence: bigint;
}

export class HeartbeatReceiver {
  readonly #options: ReceiverOptions;
  readonly #socket: Socket;
  readonly #known = new Map<string, Known>();
  /** when the store last said that there is no such amphora */
  readonly #unknown = new Map<string, number>();
  readonly #startedAt = Date.now();
  readonly refused: Record<Refusal, number> = { malformed: 0, unknown: 0, forged: 0, replayed: 0, clock: 0 };
  believed = 0;

  constructor(options: ReceiverOptions) {
    this.#options = options;
    this.#socket = createSocket(isIPv6(options.address) ? "udp6" : "udp4");
    this.#socket.on("message", (datagram, from) => {
      this.#receive(datagram, from).catch((error: unknown) => options.log.error({ err: error }, "heartbeat failed"));
    });
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
    this.#known.delete(amphoraId);
  }

  async #receive(datagram: Buffer, from: RemoteInfo): Promise<void> {
    const sender = claimedSender(datagram);
    if (sender === null) return this.#refuse("malformed", from);
    const known = this.#known.get(sender) ?? (await this.#learn(sender));
    if (known === null) return this.#refuse("unknown", from, sender);
    const heartbeat = openHeartbeat(datagram, known.key);
    if (heartbeat === null) return this.#refuse("forged", from, sender);
    const age = Date.now() - heartbeat.time;
    if (Math.abs(age) > CLOCK_TOLERANCE) return this.#refuse("clock", from, sender);
    // what was recorded before this process began must not speak to it: it does not know those sequence numbers
    if (heartbeat.sequence <= known.sequence || heartbeat.time < this.#startedAt) {
      return this.#refuse("replayed", from, sender);
    }
    known.sequence = heartbeat.sequence;
    this.believed++;
    this.#options.onHeartbeat(heartbeat);
  }

  async #learn(amphoraId: string): Promise<Known | null> {
    const askedAt = this.#unknown.get(amphoraId);
    if (askedAt !== undefined && Date.now() - askedAt < UNKNOWN_FOR) return null;
    const key = await this.#options.keyOf(amphoraId);
    if (key !== null) {
      // another datagram may have been first
      const known = this.#known.get(amphoraId) ?? { key, sequence: 0n };
      this.#known.set(amphoraId, known);
      this.#unknown.delete(amphoraId);
      return known;
    }
    if (this.#unknown.size >= MOST_UNKNOWN) this.#unknown.clear();
    this.#unknown.set(amphoraId, Date.now());
    return null;
  }

  #refuse(refusal: Refusal, from: RemoteInfo, amphora?: string): void {
    this.refused[refusal]++;
    const { address, port } = from;
    this.#options.log.warn({ refusal, from: `${address}:${port}`, amphora }, "heartbeat not believed");
  }
}
