/** A client that asks all the time, each time on a connection of its own, and how long it had no answer. */
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** An answer that takes longer has not come: a lost packet is sent again after 1 s (ms). */
const LIMIT = 500;

interface Ask {
  /** ms on the monotonic clock */
  readonly at: number;
  answered: boolean | null;
}

export interface Gap {
  /** ms from the first question without an answer to the first one with an answer after the last without */
  readonly length: number;
  readonly asked: number;
  readonly failed: number;
}

export class Asking {
  readonly #address: string;
  readonly #port: number;
  readonly #asks: Ask[] = [];
  readonly #timer: NodeJS.Timeout;

  private constructor(address: string, port: number, pause: number) {
    this.#address = address;
    this.#port = port;
    this.#timer = setInterval(() => this.#ask(), pause);
  }

  /** @param pause ms between two questions, none of which waits for an answer to another */
  static start(address: string, pause = 5, port = 80): Asking {
    return new Asking(address, port, pause);
  }

  /** Waits until every question of so many ms was answered; at least `least` ms in any case. @throws after 60 s */
  async calm(span = 500, least = 0): Promise<void> {
    const started = performance.now();
    await sleep(least);
    while (performance.now() < started + 60_000) {
      await sleep(50);
      // those of the last ms may yet be answered
      const until = performance.now() - LIMIT;
      const last = this.#asks.filter(({ at }) => at < until && at > Math.max(started, until - span));
      if (until - span > started && last.length > 0 && last.every(({ answered }) => answered)) return;
    }
    throw new Error(`${this.#address} is not there again after 60 s`);
  }

  /** Asks no more, and tells. @param since performance.now() of what happened */
  async stop(since: number): Promise<Gap> {
    clearInterval(this.#timer);
    await sleep(LIMIT);
    const asks = this.#asks.filter(({ at }) => at > since - LIMIT);
    const failed = asks.filter(({ answered }) => !answered);
    const [first, last] = [failed[0], failed.at(-1)];
    const length = first && last ? (asks.find(({ at }) => at > last.at)?.at ?? last.at) - first.at : 0;
    return { length, asked: asks.length, failed: failed.length };
  }

  #ask(): void {
    const ask: Ask = { at: performance.now(), answered: null };
    this.#asks.push(ask);
    const socket = connect(this.#port, this.#address);
    const timer = setTimeout(() => socket.destroy(), LIMIT);
    socket.on("connect", () => socket.write("GET / HTTP/1.0\r\n\r\n"));
    socket.on("data", (data) => {
      ask.answered ??= data.toString("latin1").startsWith("HTTP/1.1 200");
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearTimeout(timer);
      ask.answered ??= false;
    });
  }
}

/** Median, p95 and the longest. */
export function printGaps(what: string, gaps: readonly Gap[]): void {
  const lengths = gaps.map(({ length }) => length).sort((a, b) => a - b);
  const at = (share: number) =>
    (lengths[Math.min(lengths.length - 1, Math.ceil(lengths.length * share) - 1)] ?? 0).toFixed(0).padStart(6);
  const sum = (pick: (gap: Gap) => number) => gaps.reduce((all, gap) => all + pick(gap), 0);
  console.log(
    `  ${what.padEnd(52)} p50 ${at(0.5)} ms  p95 ${at(0.95)} ms  longest ${at(1)} ms   ` +
      `failed ${sum(({ failed }) => failed)} of ${sum(({ asked }) => asked)}   n ${gaps.length}`,
  );
}
