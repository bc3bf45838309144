/** The way from one controller to the database, which can be cut, or swallow everything for a while. */
import { chmod, mkdir } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";

/** PostgreSQL's own name for a socket in a folder. */
const NAME = ".s.PGSQL.5432";

export class Cable {
  readonly folder: string;
  readonly #far: string;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #server: Server | null = null;
  #swallows = false;

  /** @param folder where the controller finds a socket @param server the folder of the server's own */
  constructor(folder: string, server: string) {
    this.folder = folder;
    this.#far = join(server, NAME);
  }

  async mend(): Promise<void> {
    this.#swallows = false;
    for (const pair of this.#pairs) for (const socket of pair) socket.resume();
    if (this.#server !== null) return;
    const server = createServer((near) => this.#connect(near));
    // before anything is waited for: another may mend it meanwhile, or cut it
    this.#server = server;
    await mkdir(this.folder, { recursive: true });
    if (this.#server !== server) return;
    const path = join(this.folder, NAME);
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, resolve);
    });
    await chmod(path, 0o777).catch(() => undefined);
  }

  /** Connections end, and none is taken. */
  async cut(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
    if (server !== null) await new Promise((resolve) => server.close(resolve));
  }

  /** Nothing that is said arrives, and nobody is told. */
  swallow(): void {
    this.#swallows = true;
    for (const pair of this.#pairs) for (const socket of pair) socket.pause();
  }

  #connect(near: Socket): void {
    const far = connect(this.#far);
    const pair = [near, far] as const;
    this.#pairs.add(pair);
    const end = () => {
      this.#pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    for (const [from, to] of [pair, [far, near]] as const) {
      from.on("data", (chunk) => to.write(chunk));
      from.on("error", end);
      from.on("close", end);
      if (this.#swallows) from.pause();
    }
  }
}
