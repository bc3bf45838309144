/** One at a time on this host, whichever process it is in. */
import { createServer, type Server } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const POLL = 10;

/** Another process has held the lock for too long. */
export class LockError extends Error {
  override readonly name = "LockError";
}

/**
 * Does the work while nobody else on this host does any under that name. A process that dies lets go at once: the lock
 * is an abstract UNIX socket (unix(7)).
 * @param patience ms to wait for others @throws {LockError}
 */
export async function withHostLock<T>(name: string, work: () => Promise<T>, patience = 20_000): Promise<T> {
  const deadline = Date.now() + patience;
  let server = await listen(name);
  while (server === null) {
    if (Date.now() > deadline) throw new LockError(`another process has held ${name} for more than ${patience} ms`);
    await sleep(POLL);
    server = await listen(name);
  }
  try {
    return await work();
  } finally {
    server.close();
  }
}

/** Null: somebody listens there already. */
function listen(name: string): Promise<Server | null> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(null);
      else reject(error);
    });
    server.listen(`\0${name}`, () => resolve(server));
  });
}
