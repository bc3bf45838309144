/** A real Keystone of the test's own: Debian's package, on SQLite, in a folder that goes with the test. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { access, cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { execa } from "execa";
import { until } from "./deployment.ts";
import type { Scope } from "./scope.ts";

const CACHE = join(import.meta.dirname, "../../node_modules/.cache");
const SERVER = join(import.meta.dirname, "keystone-server.py");
/** Debian's, which its packages are for. */
export const PYTHON = "/usr/bin/python3";
const ADDRESS = "127.0.0.1";
const PORT = 5000;
/** Milliseconds: it takes 2 s, and a minute on a machine that is busy with other things. */
const START_LIMIT = 120_000;
export const PASSWORD = "correct horse";

export type TokenScope =
  | { readonly project: string }
  | { readonly domain: string }
  | { readonly system: true }
  | { readonly unscoped: true };

export interface KeystoneOptions {
  /** seconds that a token lives */
  readonly tokenLife?: number;
}

export class Keystone {
  readonly url = `http://${ADDRESS}:${PORT}/v3`;
  readonly #dir: string;
  #child: ChildProcess | null = null;
  #adminToken = "";
  readonly #roles = new Map<string, string>();

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** Starts it with nothing in it but the user admin, who is an admin of the project admin and of the whole. */
  static async start(t: Scope, options: KeystoneOptions = {}): Promise<Keystone> {
    const dir = await mkdtemp(join(tmpdir(), "amphora-keystone-"));
    t.teardown(() => rm(dir, { recursive: true, force: true }));
    await cp(await template(), dir, { recursive: true });
    const keystone = new Keystone(dir);
    t.teardown(() => keystone.stop());
    await keystone.start(options);
    await keystone.#login();
    const { roles } = (await keystone.call("GET", "/roles")) as { roles: { id: string; name: string }[] };
    for (const { id, name } of roles) keystone.#roles.set(name, id);
    return keystone;
  }

  /** Starts it again, with what it has been told. */
  async start({ tokenLife = 3600 }: KeystoneOptions = {}): Promise<void> {
    const config = await configure(this.#dir, tokenLife);
    const log = openSync(join(this.#dir, "server.log"), "a");
    const child = spawn(PYTHON, [SERVER, ADDRESS, String(PORT), config], { stdio: ["ignore", log, log], cwd: "/" });
    closeSync(log);
    this.#child = child;
    await until(
      "Keystone answers",
      async () => {
        if (child.exitCode !== null) throw new Error(`Keystone ended:\n${await this.#log()}`);
        return fetch(this.url, { signal: AbortSignal.timeout(5000) }).then(
          ({ ok }) => ok,
          () => false,
        );
      },
      START_LIMIT,
    );
  }

  /** Ends it as a crash would. */
  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null) return;
    child.kill("SIGKILL");
    await until("Keystone has ended", async () => child.exitCode !== null || child.signalCode !== null);
  }

  /** It takes connections, and answers none. */
  freeze(): void {
    this.#child?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#child?.kill("SIGCONT");
  }

  /** Requests that it has answered, such as `GET /v3/auth/tokens?nocatalog 200`. */
  async answered(): Promise<string[]> {
    return [...(await this.#log()).matchAll(/^answered: (.*)$/gm)].map((match) => match[1] ?? "");
  }

  /** Tokens that it has been asked about. */
  async validations(): Promise<number> {
    return (await this.answered()).filter((line) => line.startsWith("GET /v3/auth/tokens")).length;
  }

  async project(name: string): Promise<string> {
    return idOf(await this.call("POST", "/projects", { project: { name, domain_id: "default" } }), "project");
  }

  async user(name: string, password = PASSWORD): Promise<string> {
    return idOf(await this.call("POST", "/users", { user: { name, password, domain_id: "default" } }), "user");
  }

  /** Gives a user a role, which is made when there is none of that name. */
  async grant(userId: string, role: string, scope: TokenScope): Promise<void> {
    const roleId = this.#roles.get(role) ?? idOf(await this.call("POST", "/roles", { role: { name: role } }), "role");
    this.#roles.set(role, roleId);
    await this.call("PUT", `${grantPath(scope)}/users/${userId}/roles/${roleId}`);
  }

  async ungrant(userId: string, role: string, scope: TokenScope): Promise<void> {
    await this.call("DELETE", `${grantPath(scope)}/users/${userId}/roles/${this.#roles.get(role)}`);
  }

  /** Changes a user: `{ password }`, `{ enabled: false }`. */
  async setUser(userId: string, user: Record<string, unknown>): Promise<void> {
    await this.call("PATCH", `/users/${userId}`, { user });
  }

  /** Where a service of the cloud is. */
  async endpoint(type: string, url: string): Promise<void> {
    const service = idOf(await this.call("POST", "/services", { service: { type, name: type } }), "service");
    await this.call("POST", "/endpoints", {
      endpoint: { service_id: service, interface: "public", url, region_id: "RegionOne" },
    });
  }

  /** A token of a user, as a client gets one. @param user the id @throws when there is none to get */
  async token(user: string, scope: TokenScope, password = PASSWORD): Promise<string> {
    const identity = { methods: ["password"], password: { user: { id: user, password } } };
    return this.#issue({ identity, scope: scopeOf(scope) });
  }

  /** A token that an application credential of a project's user gives. */
  async credentialToken(user: string, project: string, accessRules?: readonly object[]): Promise<string> {
    const credential = { name: `c${Date.now()}`, ...(accessRules ? { access_rules: accessRules } : {}) };
    const made = await this.call(
      "POST",
      `/users/${user}/application_credentials`,
      { application_credential: credential },
      await this.token(user, { project }),
    );
    const { id, secret } = made.application_credential as Record<string, unknown>;
    return this.#issue({ identity: { methods: ["application_credential"], application_credential: { id, secret } } });
  }

  async revoke(token: string): Promise<void> {
    await this.call("DELETE", "/auth/tokens", undefined, this.#adminToken, { "x-subject-token": token });
  }

  async call(
    method: string,
    path: string,
    body?: unknown,
    token = this.#adminToken,
    headers: Record<string, string> = {},
  ): Promise<Record<string, unknown>> {
    const response = await this.#send(method, path, body, { "x-auth-token": token, ...headers });
    const text = await response.text();
    return text === "" ? {} : JSON.parse(text);
  }

  async #send(method: string, path: string, body: unknown, headers: Record<string, string>): Promise<Response> {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: { "content-type": "application/json", ...headers },
      signal: AbortSignal.timeout(20_000),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`Keystone: ${method} ${path}: ${response.status} ${await response.text()}`);
    return response;
  }

  async #issue(auth: object): Promise<string> {
    const response = await this.#send("POST", "/auth/tokens?nocatalog", { auth }, {});
    await response.text();
    return response.headers.get("x-subject-token") ?? "";
  }

  async #login(): Promise<void> {
    const user = { name: "admin", domain: { id: "default" }, password: PASSWORD };
    const scope = { project: { name: "admin", domain: { id: "default" } } };
    this.#adminToken = await this.#issue({ identity: { methods: ["password"], password: { user } }, scope });
  }

  async #log(): Promise<string> {
    return readFile(join(this.#dir, "server.log"), "utf8").catch(() => "");
  }
}

function scopeOf(scope: TokenScope): unknown {
  if ("unscoped" in scope) return "unscoped";
  if ("system" in scope) return { system: { all: true } };
  return "project" in scope ? { project: { id: scope.project } } : { domain: { id: scope.domain } };
}

function grantPath(scope: TokenScope): string {
  if ("system" in scope) return "/system";
  if ("project" in scope) return `/projects/${scope.project}`;
  if ("domain" in scope) return `/domains/${scope.domain}`;
  throw new Error("without scope there is nothing to grant");
}

function idOf(answer: Record<string, unknown>, name: string): string {
  const made = answer[name];
  if (typeof made === "object" && made !== null && "id" in made && typeof made.id === "string") return made.id;
  throw new Error(`Keystone's answer holds no ${name}`);
}

/** A folder with a database and keys: made once for each version of the package, for that takes some 10 s. */
async function template(): Promise<string> {
  const { stdout: installed } = await execa("dpkg-query", ["-W", "python3-keystone"]);
  const folder = join(CACHE, installed.replace(/[^\w.+~-]+/g, "-"));
  const isThere = await access(folder).then(
    () => true,
    () => false,
  );
  if (isThere) return folder;
  await mkdir(CACHE, { recursive: true });
  const making = await mkdtemp(join(CACHE, "keystone-"));
  const config = await configure(making, 3600);
  const manage = (...args: string[]) =>
    execa("keystone-manage", ["--config-file", config, ...args], { timeout: 120_000 });
  try {
    await manage("db_sync");
    await manage("fernet_setup", "--keystone-user", "root", "--keystone-group", "root");
    const url = `http://${ADDRESS}:${PORT}/v3`;
    await manage(
      "bootstrap",
      "--bootstrap-password",
      PASSWORD,
      "--bootstrap-public-url",
      url,
      "--bootstrap-region-id",
      "RegionOne",
    );
    // Keystone leaves readers open: they would lock writers out
    const database = new DatabaseSync(join(making, "keystone.db"));
    database.exec("pragma journal_mode = wal");
    database.close();
    for (const file of [config, join(making, "keystone.log")]) await rm(file, { force: true });
    await rename(making, folder);
  } catch (error) {
    await rm(making, { recursive: true, force: true });
    throw error;
  }
  return folder;
}

/** Writes the configuration of a Keystone in a folder. */
async function configure(dir: string, tokenLife: number): Promise<string> {
  const file = join(dir, "keystone.conf");
  await mkdir(join(dir, "keys"), { recursive: true, mode: 0o700 });
  const text = `
[DEFAULT]
log_file = ${dir}/keystone.log
[database]
connection = sqlite:///${dir}/keystone.db
[token]
expiration = ${tokenLife}
[fernet_tokens]
key_repository = ${dir}/keys
[credential]
key_repository = ${dir}/keys
[identity]
# the least that it takes: strong hashes take their time
password_hash_rounds = 4
`;
  await writeFile(file, text);
  return file;
}
