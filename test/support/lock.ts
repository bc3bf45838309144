/** One run at a time on a machine. */
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Waits until no other run of tests or benchmarks uses the machine: each removes the namespaces it finds to be left over.
 * @returns how to give it free
 */
export async function takeTheMachine(): Promise<() => void> {
  for (let tries = 0; ; tries++) {
    const server = createServer();
    const taken = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(true));
      // an abstract name: gone with the process that holds it (unix(7))
      server.listen("\0amphora-tests", () => resolve(false));
    });
    if (!taken) return () => server.close();
    if (tries === 0) console.log("waiting for another test run to end");
    await sleep(500);
  }
}
