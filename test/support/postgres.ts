/** The databases that a test runs on: SQLite in a file, and a PostgreSQL of the test's own. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { globSync } from "node:fs";
import { chown, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import pg from "pg";
import { signal as send } from "../../agent/process.ts";
import { Store, type StoreOptions } from "../../controller/store/database.ts";

/** What tests are told to clean up with; the last one told comes first. */
export interface Teardown {
  teardown(work: () => unknown): unknown;
}

export interface TestDatabase {
  readonly name: "SQLite" | "PostgreSQL";
  /** Where a fresh database is, as `Store.open` takes it. It is gone when the test has ended. */
  create(t: Teardown): Promise<string>;
  /** A store on a fresh database, closed when the test has ended. */
  open(t: Teardown, options?: StoreOptions): Promise<Store>;
}

/** For tests where the kind of database makes no difference. */
export const SQLITE: TestDatabase = withOpen("SQLite", sqliteFile);

/** Both kinds, for tests that hold on either. PostgreSQL starts with the first test that needs it. @param t the file's */
export function databases(t: Teardown): readonly TestDatabase[] {
  let server: Promise<Postgres> | null = null;
  t.teardown(() =>
    server?.then(
      (running) => running.stop(),
      () => undefined,
    ),
  );
  const postgres = () => {
    server ??= Postgres.start();
    return server;
  };
  return [
    SQLITE,
    withOpen("PostgreSQL", async (t) => {
      const running = await postgres();
      const name = await running.createDatabase();
      t.teardown(() => running.dropDatabase(name));
      return running.url(name);
    }),
  ];
}

export function withOpen(name: TestDatabase["name"], create: TestDatabase["create"]): TestDatabase {
  return {
    name,
    create,
    async open(t, options) {
      const store = await Store.open(await create(t), options);
      t.teardown(() => store.close());
      return store;
    },
  };
}

async function sqliteFile(t: Teardown): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "amphora-sqlite-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  return join(dir, "amphora.db");
}

/** Milliseconds that the server may take to start, and to stop. */
const PATIENCE = 30_000;

/** What makes it quick, and forgetful when the machine fails; not when it is killed. */
const SETTINGS = {
  listen_addresses: "",
  fsync: "off",
  full_page_writes: "off",
  max_connections: "200",
  autovacuum: "off",
};

/**
 * Runs a server until standard input ends, which it does however the test ends. Then the folder goes too. A server that
 * dies before is started again, once there is no file `hold` (any more).
 */
const KEEPER = `
  folder=$1; shift
  exec 3<&0
  { cat <&3; touch $folder/ended; kill -INT $(cat $folder/server.pid); } >/dev/null &
  while [ ! -e $folder/ended ]; do
    "$@" 3<&- & server=$!
    echo $server >$folder/server.pid
    wait $server
    while [ -e $folder/hold ] && [ ! -e $folder/ended ]; do sleep 0.1; done
  done
  rm -rf "$folder"
`;

/** A server that only this process can reach: its socket is in a folder of its own. */
export class Postgres {
  readonly #dir: string;
  readonly #keeper: ChildProcessByStdio<Writable, null, Readable>;
  readonly #ended: Promise<string>;

  private constructor(dir: string, keeper: ChildProcessByStdio<Writable, null, Readable>) {
    this.#dir = dir;
    this.#keeper = keeper;
    let said = "";
    keeper.stderr.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-10_000);
    });
    this.#ended = new Promise((resolve) => {
      keeper.once("error", (error) => resolve(error.message));
      keeper.once("exit", () => resolve(said));
    });
  }

  static async start(): Promise<Postgres> {
    const programs = globSync("/usr/lib/postgresql/*/bin").sort().at(-1);
    if (programs === undefined) throw new Error("PostgreSQL is not installed: there is no /usr/lib/postgresql/*/bin");
    const dir = await mkdtemp(join(tmpdir(), "amphora-postgres-"));
    const [command = "sh", ...prefix] = await asSomebodyElse(dir);
    const data = join(dir, "data");
    const init = ["-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"];
    const settings = Object.entries({ ...SETTINGS, unix_socket_directories: dir });
    const options = settings.flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    try {
      await execa(command, [...prefix, join(programs, "initdb"), ...init], { cwd: dir });
    } catch (error) {
      await rm(dir, { recursive: true, force: true });
      throw error;
    }
    const run = [...prefix, "sh", "-c", KEEPER, "keeper", dir, join(programs, "postgres"), "-D", data, ...options];
    const server = new Postgres(dir, spawn(command, run, { cwd: dir, stdio: ["pipe", "ignore", "pipe"] }));
    try {
      await server.#ready();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  /** Where its socket is. */
  get folder(): string {
    return this.#dir;
  }

  url(database: string): string {
    return `postgresql:///${database}?host=${encodeURIComponent(this.#dir)}&user=postgres`;
  }

  /** Kills the server, as a machine does that fails; it stays away until `back`. */
  async fail(): Promise<void> {
    await writeFile(join(this.#dir, "hold"), "");
    await this.#signal("SIGKILL");
  }

  async back(): Promise<void> {
    await rm(join(this.#dir, "hold"), { force: true });
    await this.#ready();
  }

  /** The server does nothing and says nothing, as behind a network that swallows everything, until it goes on. */
  async freeze(): Promise<void> {
    await this.#signal("SIGSTOP");
  }

  async thaw(): Promise<void> {
    await this.#signal("SIGCONT");
  }

  async #signal(signal: NodeJS.Signals): Promise<void> {
    for (const pid of await this.#pids()) send(pid, signal);
  }

  /** The server and its children. */
  async #pids(): Promise<number[]> {
    const server = (await readFile(join(this.#dir, "server.pid"), "utf8")).trim();
    const { stdout } = await execa("pgrep", ["-P", server], { reject: false });
    return [server, ...stdout.split("\n")].filter((each) => each !== "").map(Number);
  }

  async createDatabase(): Promise<string> {
    const name = `test_${randomUUID().replaceAll("-", "")}`;
    await this.#query(`create database ${name}`);
    return name;
  }

  async dropDatabase(name: string): Promise<void> {
    await this.#query(`drop database ${name} with (force)`);
  }

  async stop(): Promise<void> {
    this.#keeper.stdin.end();
    await Promise.race([this.#ended, sleep(PATIENCE, undefined, { ref: false })]);
  }

  /** @throws what it said last, when it ended instead */
  async #ready(): Promise<void> {
    let ended: string | null = null;
    this.#ended.then((said) => {
      ended = said;
    });
    const deadline = Date.now() + PATIENCE;
    for (;;) {
      try {
        return await this.#query("select 1");
      } catch (error) {
        if (ended !== null) throw new Error(`PostgreSQL does not start: ${ended}`);
        if (Date.now() > deadline) throw error;
        await sleep(20);
      }
    }
  }

  async #query(text: string): Promise<void> {
    const client = new pg.Client({ connectionString: this.url("postgres") });
    // told to the one who waits for connect or query
    client.on("error", () => undefined);
    try {
      await client.connect();
      await client.query(text);
    } finally {
      await client.end();
    }
  }
}

/** The command that runs another as somebody whom PostgreSQL accepts: it refuses to run as root. */
async function asSomebodyElse(dir: string): Promise<string[]> {
  if (process.getuid?.() !== 0) return ["env"];
  const users = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  const user = ["postgres", "nobody"].flatMap((name) => users.filter(([known]) => known === name))[0];
  if (user === undefined) throw new Error("there is neither a user postgres nor nobody to run PostgreSQL as");
  const [, , uid = "", gid = ""] = user;
  await chown(dir, Number(uid), Number(gid));
  return ["setpriv", "--reuid", uid, "--regid", gid, "--clear-groups", "--"];
}
