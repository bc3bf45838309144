/** Answers questions for connections: those that live, and those that have ended while the agent ran. */
import type { Logger } from "pino";
import type { AmphoraSpec } from "../../templates/spec.ts";
import { RequestError } from "../server.ts";
import { sourcesOf } from "./connections.ts";
import type { Connection, ConnectionsEnd } from "./protocol.ts";
import { answer, parseQuestion } from "./question.ts";
import { Endings, Ring } from "./ring.ts";

/** Each reads the whole connection table of the kernel. */
const MAX_ASKING = 4;

export interface ConnectionDeskOptions {
  readonly namespace: string;
  /** HAProxy's master socket */
  readonly haproxySocket: string;
  /** the spec in force */
  readonly spec: () => AmphoraSpec | null;
  readonly log: Logger;
}

export class ConnectionDesk {
  readonly #options: ConnectionDeskOptions;
  readonly #ring = new Ring();
  readonly #endings: Endings;
  #asking = 0;

  constructor(options: ConnectionDeskOptions) {
    this.#options = options;
    const { namespace, spec, log } = options;
    this.#endings = new Endings({ namespace, spec, ring: this.#ring, log });
  }

  /** Begins to remember what ends, if it has not begun: there are connections of IPVS's. */
  follow(): void {
    this.#endings.follow();
  }

  stop(): Promise<void> {
    return this.#endings.stop();
  }

  /**
   * What a request asks for, a batch at a time.
   * @throws {FilterError} @throws {RequestError} when there is no such listener, or too many are asking
   */
  ask(query: URLSearchParams): AsyncIterable<readonly (Connection | ConnectionsEnd)[]> {
    const { namespace, haproxySocket } = this.#options;
    const spec = this.#options.spec();
    if (spec === null) throw new RequestError(404, "no spec has been applied yet");
    const question = parseQuestion(query);
    const { listener } = question;
    if (listener !== null && !spec.listeners.some(({ id }) => id === listener)) {
      throw new RequestError(404, `there is no listener ${listener}`);
    }
    if (this.#asking >= MAX_ASKING) {
      throw new RequestError(503, `${MAX_ASKING} others are reading connections`, { "retry-after": "1" });
    }
    return this.#counted(answer(question, spec, sourcesOf(spec, { namespace, haproxySocket, ring: this.#ring })));
  }

  async *#counted<T>(answer: AsyncIterable<T>): AsyncGenerator<T> {
    this.#asking++;
    try {
      yield* answer;
    } finally {
      this.#asking--;
    }
  }
}
