/** What Keystone is asked: whose token one is, in the name of a service user (Identity API v3). */

import { messageOf } from "../../../agent/faults.ts";
import { HttpClient, NoAnswerError } from "./http.ts";
import { parseFault, parseToken, type ShownToken } from "./token.ts";

/** Milliseconds that Keystone may take for one answer. */
const ANSWER_LIMIT = 5000;
/** How long a refused password is not shown again (ms): Keystone may lock a user after some. */
const REFUSED_PAUSE = 10_000;
/** The part of a service token's life after which another is fetched. */
const RENEW_AFTER = 0.8;

export interface KeystoneOptions {
  /** the URL of version 3, such as https://keystone.example.org:5000/v3 */
  readonly authUrl: string;
  readonly username: string;
  /** called for each service token: a new password needs no restart */
  readonly password: () => Promise<string>;
  readonly userDomain: string;
  readonly project: string;
  readonly projectDomain: string;
  /** authorities that Keystone's certificate may be of, PEM; absent: the system's */
  readonly ca?: string;
  /** milliseconds that Keystone may take for one answer */
  readonly answerLimit?: number;
}

/** Keystone can't be asked now. */
export class KeystoneError extends Error {
  override readonly name = "KeystoneError";
  /** whether it answers, but refuses this service itself: only an operator can mend that */
  readonly refused: boolean;

  constructor(message: string, refused = false) {
    super(message);
    this.refused = refused;
  }
}

interface ServiceToken {
  readonly id: string;
  /** by performance.now(): Keystone's clock and ours may differ */
  readonly renewAt: number;
  readonly endsAt: number;
}

export class KeystoneClient {
  readonly #options: KeystoneOptions;
  readonly #http: HttpClient;
  #held: ServiceToken | null = null;
  #renewal: Promise<string> | null = null;
  #refusal: { readonly password: string; readonly until: number; readonly error: KeystoneError } | null = null;

  constructor(options: KeystoneOptions) {
    this.#options = options;
    this.#http = new HttpClient(options.ca);
  }

  /** Null: nobody's, no longer valid, or revoked. @throws {KeystoneError} */
  async validate(token: string): Promise<ShownToken | null> {
    const service = await this.#serviceToken();
    const first = await this.#ask(token, service);
    // it is our own token that Keystone does not accept: expired early, or revoked
    const { status, body } = first.status === 401 ? await this.#ask(token, await this.#serviceToken(service)) : first;
    const fault = parseFault(body);
    if (status === 404 && fault !== null) return null;
    if (status === 403) {
      const { username, project } = this.#options;
      const reason = `to check tokens, ${username} needs the role admin or service on the project ${project}`;
      throw new KeystoneError(`Keystone refuses the service user (${fault}): ${reason}`, true);
    }
    const shown = status === 200 ? parseToken(body) : null;
    if (shown === null) throw this.#unexpected(status, fault);
    return shown;
  }

  /** Fetches the service token ahead of the first request. @throws {KeystoneError} */
  async prepare(): Promise<void> {
    await this.#serviceToken();
  }

  close(): void {
    this.#http.close();
  }

  #ask(token: string, service: string) {
    return this.#call("GET", { "x-auth-token": service, "x-subject-token": token });
  }

  /** @param refused a token that Keystone accepts no longer */
  async #serviceToken(refused?: string): Promise<string> {
    const now = performance.now();
    const held = this.#held;
    const usable = held !== null && held.id !== refused && now < held.endsAt;
    if (usable && now < held.renewAt) return held.id;
    this.#renewal ??= this.#renew().finally(() => {
      this.#renewal = null;
    });
    if (!usable) return this.#renewal;
    // nobody needs to wait for the next one, or to care whether it comes, while this one is good
    this.#renewal.catch(() => undefined);
    return held.id;
  }

  async #renew(): Promise<string> {
    const { username, userDomain, project, projectDomain } = this.#options;
    const password = await this.#password();
    const now = performance.now();
    const refusal = this.#refusal;
    if (refusal !== null && refusal.password === password && now < refusal.until) throw refusal.error;
    const user = { name: username, domain: { name: userDomain }, password };
    const auth = {
      identity: { methods: ["password"], password: { user } },
      scope: { project: { name: project, domain: { name: projectDomain } } },
    };
    const { status, headers, body } = await this.#call("POST", {}, { auth });
    const fault = parseFault(body);
    if (status === 401 && fault !== null) {
      const of = `${username} (domain ${userDomain}) on the project ${project} (domain ${projectDomain})`;
      const error = new KeystoneError(`Keystone refuses the service user ${of}: ${fault}`, true);
      this.#refusal = { password, until: now + REFUSED_PAUSE, error };
      throw error;
    }
    const id = headers["x-subject-token"];
    const shown = status === 201 ? parseToken(body) : null;
    if (shown === null || typeof id !== "string") throw this.#unexpected(status, fault);
    const life = shown.expiresAt - shown.issuedAt;
    this.#held = { id, renewAt: now + life * RENEW_AFTER, endsAt: now + life };
    this.#refusal = null;
    return id;
  }

  async #password(): Promise<string> {
    try {
      return await this.#options.password();
    } catch (error) {
      throw new KeystoneError(messageOf(error), true);
    }
  }

  async #call(method: "GET" | "POST", headers: Record<string, string>, body?: unknown) {
    // the catalogue may be long, and nothing here is looked up in it
    const url = `${this.#options.authUrl}/auth/tokens?nocatalog`;
    try {
      return await this.#http.call({ method, url, headers, body, limit: this.#options.answerLimit ?? ANSWER_LIMIT });
    } catch (error) {
      if (!(error instanceof NoAnswerError)) throw error;
      throw new KeystoneError(`Keystone at ${this.#options.authUrl}: ${error.message}`);
    }
  }

  #unexpected(status: number, fault: string | null): KeystoneError {
    const said = fault ?? "not in the form of Keystone's answers";
    return new KeystoneError(`Keystone at ${this.#options.authUrl}: unexpected answer ${status}: ${said}`);
  }
}
