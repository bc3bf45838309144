/** Heartbeats: one small sealed datagram at a time, to the controllers in turn, each of which hears one per interval. */
import { createSocket, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";
import type { Logger } from "pino";
import { encodeHeartbeat, type HeartbeatBody, type Reporting } from "./protocol.ts";

export interface HeartbeatOptions {
  readonly amphoraId: string;
  readonly key: Buffer;
  /** the management address, from which the datagrams go out */
  readonly from: string;
  readonly reporting: Reporting;
  readonly body: () => HeartbeatBody;
  readonly log: Logger;
}

export class Heartbeats {
  readonly #options: HeartbeatOptions;
  readonly #socket: Socket;
  /** Microseconds since 1970 at start: grows over restarts without being written down. */
  #sequence = BigInt(Date.now()) * 1000n;
  #reporting: Reporting;
  #turn = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
    this.#reporting = options.reporting;
    this.#socket = createSocket(isIPv6(options.from) ? "udp6" : "udp4");
    this.#socket.on("error", (error) => options.log.warn({ err: error }, "heartbeat socket"));
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#socket.once("error", reject);
      this.#socket.bind({ address: this.#options.from }, () => {
        this.#socket.off("error", reject);
        resolve();
      });
    });
    this.#beat();
  }

  /** Sends one to every controller now, such as when the health of something changed, and counts the interval from here. */
  hurry(): void {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    for (const _ of this.#reporting.controllers) this.#send();
    this.#next();
  }

  /** Speaks to these controllers from now on. */
  use(reporting: Reporting): void {
    this.#reporting = reporting;
    this.hurry();
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#socket.close();
  }

  #beat(): void {
    this.#send();
    this.#next();
  }

  #next(): void {
    const { controllers, heartbeat_interval_ms } = this.#reporting;
    // spread over 20 %, so that many amphorae started together do not beat together
    const pause = (heartbeat_interval_ms / controllers.length) * (0.9 + Math.random() * 0.2);
    this.#timer = setTimeout(() => this.#beat(), pause);
  }

  #send(): void {
    const { amphoraId, key, body, log } = this.#options;
    const { controllers } = this.#reporting;
    const target = controllers[this.#turn++ % controllers.length];
    if (target === undefined) return;
    this.#sequence += 1n;
    const datagram = encodeHeartbeat({ amphoraId, sequence: this.#sequence, time: Date.now(), body: body() }, key);
    this.#socket.send(datagram, target.port, target.address, (error) => {
      if (error !== null) log.debug({ err: error, target }, "heartbeat not sent");
    });
  }
}
