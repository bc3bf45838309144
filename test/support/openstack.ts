/** OpenStack's own command line and libraries, as users run them: what a client finds its cloud by is in its environment. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { execa } from "execa";
import { until } from "./deployment.ts";
import { PYTHON } from "./keystone.ts";
import type { Scope } from "./scope.ts";

export type Json = Record<string, unknown>;
export type Environment = Readonly<Record<string, string>>;

const OPENSTACK = "/usr/bin/openstack";
/** Milliseconds that a command may take. */
const LIMIT = 60_000;
/** Nothing else of the machine: neither other clouds' variables nor a user's files. */
const BARE: Environment = { PATH: "/usr/bin:/bin", HOME: "/nonexistent", PYTHONUNBUFFERED: "1" };
/** What no command writes. */
const MARK = "@@@@";
/** Writes it to both outputs: to the second for want of a file of that name. */
const MARKS = `shell echo ${MARK}\nshell cat /${MARK}\n`;
/** The whole line: what writes it may do so in pieces, and the rest would be taken for the next command's. */
const MARKED = new RegExp(`${MARK}.*\n`);

export interface Said {
  readonly stdout: string;
  readonly stderr: string;
}

/** A client's way to one service without a Keystone: where it is, and a token. */
export function endpointAndToken(endpoint: string, token: string): Environment {
  return { OS_AUTH_TYPE: "admin_token", OS_ENDPOINT: endpoint, OS_TOKEN: token };
}

/** Runs one command in a process of its own. Never throws: look at `exitCode`. */
export function openstack(environment: Environment, ...args: readonly string[]) {
  return execa(OPENSTACK, args, { env: { ...BARE, ...environment }, extendEnv: false, reject: false, timeout: LIMIT });
}

/** Runs Python, with Debian's libraries. @returns what it prints @throws what it says, when it fails */
export async function python(environment: Environment, ...args: readonly string[]): Promise<string> {
  const env = { ...BARE, ...environment };
  const options = { env, extendEnv: false, reject: false, timeout: LIMIT, all: true } as const;
  const { exitCode, all } = await execa(PYTHON, args, options);
  if (exitCode !== 0) throw new Error(all);
  return all;
}

/**
 * The command line's own shell, which reads commands from standard input. A start takes seconds, a command in it some
 * hundredths of one.
 */
export class Shell {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  #stdout = "";
  #stderr = "";

  private constructor(child: ChildProcessByStdio<Writable, Readable, Readable>) {
    this.#child = child;
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      this.#stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr += text;
    });
    // told by what is waited for
    child.stdin.on("error", () => undefined);
  }

  static open(t: Scope, environment: Environment): Shell {
    const child = spawn(OPENSTACK, { env: { ...BARE, ...environment }, stdio: ["pipe", "pipe", "pipe"] });
    t.teardown(() => child.kill("SIGKILL"));
    return new Shell(child);
  }

  /** One object: `show`, `create`. @throws what is said instead */
  async one(...args: readonly string[]): Promise<Json> {
    return (await this.#json(args)) as Json;
  }

  /** Several: `list`. @throws what is said instead */
  async many(...args: readonly string[]): Promise<Json[]> {
    return (await this.#json(args)) as Json[];
  }

  /** One value of an object. @throws what is said instead */
  async value(column: string, ...args: readonly string[]): Promise<string> {
    const { stdout, stderr } = await this.run(...args, "-f", "value", "-c", column);
    if (stdout.trim() === "") throw new Error(`openstack ${args.join(" ")}: ${stderr}`);
    return stdout.trim();
  }

  /** A command that prints nothing when all is well: `set`, `delete`. @throws what it says */
  async quiet(...args: readonly string[]): Promise<void> {
    const { stdout, stderr } = await this.run(...args);
    if (`${stdout}${stderr}`.trim() !== "") throw new Error(`openstack ${args.join(" ")}: ${stdout}${stderr}`);
  }

  /** What a command says that is to fail. @throws when it has not */
  async failing(...args: readonly string[]): Promise<string> {
    const { stdout, stderr } = await this.run(...args);
    if (stdout.trim() !== "") throw new Error(`openstack ${args.join(" ")} has not failed: ${stdout}`);
    return stderr.trim();
  }

  async run(...args: readonly string[]): Promise<Said> {
    this.#stdout = "";
    this.#stderr = "";
    this.#child.stdin.write(`${args.map(quoted).join(" ")}\n${MARKS}`);
    await until(
      () => `openstack ${args.join(" ")} ends; it says ${this.#stdout}${this.#stderr}`,
      async () => {
        if (this.#child.exitCode !== null) throw new Error(`openstack has ended: ${this.#stdout}${this.#stderr}`);
        return MARKED.test(this.#stdout) && MARKED.test(this.#stderr);
      },
      LIMIT,
    );
    return { stdout: before(this.#stdout), stderr: before(this.#stderr).replace(/cat: \/$/, "") };
  }

  async #json(args: readonly string[]): Promise<unknown> {
    const { stdout, stderr } = await this.run(...args, "-f", "json");
    if (stdout.trim() === "") throw new Error(`openstack ${args.join(" ")}: ${stderr}`);
    return JSON.parse(stdout);
  }
}

function before(text: string): string {
  return text.slice(0, text.indexOf(MARK));
}

/** An argument as it is typed. The shell takes quotes away twice (`precmd` and `default` of cliff's interactive.py). */
function quoted(arg: string): string {
  if (/['\n]/.test(arg)) throw new Error(`the shell can't be told ${arg}`);
  return /^[\w./:=-]+$/.test(arg) ? arg : `'"${arg.replace(/["\\]/g, "\\$&")}"'`;
}
