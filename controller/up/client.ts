/** The controller's own REST API, called as any client calls it. */
import { setTimeout as sleep } from "node:timers/promises";

const CALL_LIMIT = 20_000;

/** The API answered otherwise than was needed. */
export class CallError extends Error {
  override readonly name = "CallError";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export type Answer = Record<string, Record<string, unknown>>;

export class ApiClient {
  readonly #base: string;
  readonly #token: string;

  /** @param base such as http://127.0.0.1:9876 */
  constructor(base: string, token: string) {
    this.#base = base;
    this.#token = token;
  }

  get(path: string): Promise<Answer> {
    return this.#call("GET", path);
  }

  /** Creates; while the load balancer is busy (409), tries again for up to `patience` ms. */
  async post(path: string, body: unknown, patience = 60_000): Promise<Answer> {
    const deadline = Date.now() + patience;
    for (;;) {
      try {
        return await this.#call("POST", path, body);
      } catch (error) {
        if (!(error instanceof CallError) || error.status !== 409 || Date.now() > deadline) throw error;
        await sleep(100);
      }
    }
  }

  async #call(method: string, path: string, body?: unknown): Promise<Answer> {
    const response = await fetch(`${this.#base}${path}`, {
      method,
      headers: { "x-auth-token": this.#token, "content-type": "application/json" },
      signal: AbortSignal.timeout(CALL_LIMIT),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer = (await response.json()) as Answer & { faultstring?: string };
    if (response.ok) return answer;
    throw new CallError(response.status, `${method} ${path}: ${answer.faultstring ?? response.status}`);
  }
}
