/** A connection to a daemon's socket that is held for nothing but its end: the kernel tells at once when the daemon dies. */
import { connect, type Socket } from "node:net";

/** ms until the next try to connect */
const PAUSE = 200;

export class Lifeline {
  readonly #path: string;
  readonly #onCut: () => void;
  #socket: Socket | null = null;
  #timer: NodeJS.Timeout | null = null;
  #stopped = false;

  /** @param onCut called when a connection that was there has ended: the daemon died, or was replaced */
  constructor(path: string, onCut: () => void) {
    this.#path = path;
    this.#onCut = onCut;
  }

  start(): void {
    let held = false;
    const socket = connect(this.#path);
    this.#socket = socket;
    socket.on("connect", () => {
      held = true;
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      if (this.#stopped) return;
      if (held) this.#onCut();
      this.#timer = setTimeout(() => this.start(), PAUSE);
    });
    socket.resume();
  }

  stop(): void {
    this.#stopped = true;
    this.#socket?.destroy();
    if (this.#timer !== null) clearTimeout(this.#timer);
  }
}
