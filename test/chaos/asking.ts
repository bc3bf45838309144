/** Requests to whichever controller answers, and what an answer, or none, says of the change. */
import type { Json } from "../support/deployment.ts";
import { LBAAS } from "../support/deployment.ts";
import { type ControllerProcess, TOKEN } from "./controllers.ts";
import type { Random } from "./random.ts";

/** done: it is there for good; refused: it changed nothing; unsure: nobody can tell yet. */
export interface Outcome {
  readonly verdict: "done" | "refused" | "unsure";
  readonly body: Record<string, Json>;
}

const LIMIT = 12_000;

export class Asking {
  readonly #controllers: readonly ControllerProcess[];
  readonly #random: Random;
  readonly faults: string[] = [];
  readonly counts = { done: 0, refused: 0, unsure: 0 };

  constructor(controllers: readonly ControllerProcess[], random: Random) {
    this.#controllers = controllers;
    this.#random = random;
  }

  async change(method: "POST" | "PUT" | "DELETE", path: string, body?: unknown): Promise<Outcome> {
    const { base } = this.#random.of(this.#controllers);
    const outcome = await this.#send(base, method, path, body);
    this.counts[outcome.verdict]++;
    return outcome;
  }

  /** What there is, from the first controller that tells. */
  async look(path: string): Promise<Record<string, Json>> {
    let last = "";
    for (let tries = 0; tries < 60; tries++) {
      for (const { base } of this.#controllers) {
        const reply = await call(base, "GET", path).catch((error: Error) => error);
        if (!(reply instanceof Error) && reply.status === 200) return reply.body;
        last = reply instanceof Error ? reply.message : `${reply.status} ${JSON.stringify(reply.body)}`;
      }
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    throw new Error(`GET ${path}: ${last}`);
  }

  async #send(base: string, method: string, path: string, body: unknown): Promise<Outcome> {
    const sent = await call(base, method, path, body).catch((error: Error) => error);
    if (sent instanceof Error) {
      // who is not there has taken nothing
      const isAbsent = sent.cause instanceof Error && "code" in sent.cause && sent.cause.code === "ECONNREFUSED";
      return { verdict: isAbsent ? "refused" : "unsure", body: {} };
    }
    const { status, body: answer } = sent;
    if (status < 300) return { verdict: "done", body: answer };
    // the database may have been lost after it had everything
    if (status === 503) return { verdict: "unsure", body: {} };
    if (status !== 409) this.faults.push(`${method} ${path}: ${status} ${JSON.stringify(answer)}`);
    return { verdict: "refused", body: {} };
  }
}

async function call(base: string, method: string, path: string, body?: unknown) {
  const response = await fetch(`${base}${path.startsWith("/v2") ? path : `${LBAAS}${path}`}`, {
    method,
    headers: { "x-auth-token": TOKEN, "content-type": "application/json", connection: "close" },
    signal: AbortSignal.timeout(LIMIT),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: (text === "" ? {} : JSON.parse(text)) as Record<string, Json> };
}
