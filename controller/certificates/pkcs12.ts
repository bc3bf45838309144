/** PKCS #12 bundles, opened one at a time in a thread that is ended when one takes too long. */
import { createPrivateKey, type KeyObject, type X509Certificate } from "node:crypto";
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { Turns } from "../turns.ts";
import { CertificateError } from "./fault.ts";
import { MOST_ITERATIONS } from "./iterations.ts";
import { certificateFrom } from "./pem.ts";
import type { Opened } from "./pkcs12-worker.ts";

/** OpenSSL's and Java's bundles take 10 to 300 ms, those that hash their password 100,000 times about 2 s (ms). */
const LIMIT = 10_000;
const MEMORY_LIMIT_MIB = 128;

export interface Bundle {
  readonly certificates: readonly X509Certificate[];
  readonly key: KeyObject | null;
}

export class Pkcs12 {
  readonly #limit: number;
  #worker: Worker | null = null;
  readonly #turns = new Turns();

  /** @param limit ms that a bundle may take */
  constructor(limit = LIMIT) {
    this.#limit = limit;
  }

  /**
   * @param project whose turn it takes
   * @throws {CertificateError} when it is no bundle, has a password, holds several keys, or takes too long
   */
  async open(bundle: Uint8Array, project: string): Promise<Bundle> {
    const result = await this.#turns.take(project, () => this.#open(bundle));
    if ("fault" in result) throw new CertificateError(FAULTS[result.fault]);
    const [key, second] = result.keys;
    if (second !== undefined) throw new CertificateError("The PKCS #12 bundle holds more than one private key");
    return { certificates: result.certificates.map(certificateFrom), key: key === undefined ? null : keyFrom(key) };
  }

  async close(): Promise<void> {
    await this.#turns.take("", () => this.#end());
  }

  async #open(bundle: Uint8Array): Promise<Opened> {
    this.#worker ??= this.#start();
    const worker = this.#worker;
    const ended = new AbortController();
    const timer = setTimeout(() => ended.abort(), this.#limit);
    worker.once("exit", () => ended.abort());
    try {
      worker.postMessage(bundle);
      const [answer] = (await once(worker, "message", { signal: ended.signal })) as [Opened];
      return answer;
    } catch {
      await this.#end();
      throw new CertificateError(
        `The PKCS #12 bundle can't be opened within ${this.#limit / 1000} s: make it with fewer iterations`,
      );
    } finally {
      clearTimeout(timer);
      worker.removeAllListeners("exit");
    }
  }

  #start(): Worker {
    const worker = new Worker(new URL("./pkcs12-worker.ts", import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: MEMORY_LIMIT_MIB },
    });
    worker.unref();
    return worker;
  }

  async #end(): Promise<void> {
    const worker = this.#worker;
    this.#worker = null;
    await worker?.terminate();
  }
}

const FAULTS = {
  iterations: `The PKCS #12 bundle hashes its password more than ${MOST_ITERATIONS} times: make it with fewer iterations`,
  password: "The PKCS #12 bundle is protected by a password, or damaged: make it with an empty password",
  unreadable: "It is neither PEM nor a PKCS #12 bundle that can be read",
} as const;

function keyFrom(der: Uint8Array): KeyObject {
  try {
    return createPrivateKey({ key: Buffer.from(der), format: "der", type: "pkcs8" });
  } catch {
    throw new CertificateError("The private key can't be read");
  }
}
