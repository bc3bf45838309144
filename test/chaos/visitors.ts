/** Visitors of load balancers, each asking all the time on new connections; failures are kept with their times. */
import { Agent, get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Known } from "./ledger.ts";

const PAUSE = 100;
const LIMIT = 2000;

export interface Failure {
  readonly id: string;
  /** when the request began and ended (ms since 1970) */
  readonly from: number;
  readonly to: number;
  readonly why: string;
}

export interface Visits {
  readonly failures: Failure[];
  asked: number;
}

/** Asks until the signal. */
export async function visit(ledger: readonly Known[], signal: AbortSignal): Promise<Visits> {
  const visits: Visits = { failures: [], asked: 0 };
  await Promise.all(
    ledger.map(async ({ id, vip }) => {
      while (!signal.aborted) {
        const from = Date.now();
        const why = await ask(vip);
        visits.asked++;
        if (why !== null) visits.failures.push({ id, from, to: Date.now(), why });
        await sleep(PAUSE);
      }
    }),
  );
  return visits;
}

/** @returns what went wrong; null: nothing */
export function ask(vip: string): Promise<string | null> {
  return new Promise((resolve) => {
    const agent = new Agent({ keepAlive: false });
    const request = get(
      { host: vip, port: 80, agent, timeout: LIMIT, signal: AbortSignal.timeout(LIMIT) },
      (response) => {
        response.on("error", (error) => resolve(error.message));
        response.on("end", () => resolve(response.statusCode === 200 ? null : `status ${response.statusCode}`));
        response.resume();
      },
    );
    request.on("error", (error) => resolve(error.message));
  });
}
