/** The command line that HAProxy's master offers on a UNIX socket (management guide, 9.4 "Master CLI"). */
import { connect } from "node:net";

/** HAProxy did not answer, or refused a command; the message holds what it said. */
export class HaproxyError extends Error {
  override readonly name = "HaproxyError";
}

/** Commands fit one buffer of the command line (tune.bufsize, 16,384 bytes); a command takes at most about 150. */
const COMMANDS_PER_CALL = 64;

/**
 * Sends one line and returns the whole answer.
 * @param line may not hold line ends; one line is all that the master reads from a connection
 * @throws {HaproxyError} when nothing listens, or no whole answer came within `timeout` ms
 */
export function ask(socketPath: string, line: string, timeout = 5000): Promise<string> {
  if (/[\r\n]/.test(line)) throw new RangeError("a HAProxy command holds a line end");
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect(socketPath);
    const timer = setTimeout(() => socket.destroy(new Error(`no answer within ${timeout} ms`)), timeout);
    socket.on("connect", () => socket.end(`${line}\n`));
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("error", (error) => reject(new HaproxyError(`${socketPath}: ${error.message}`)));
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(Buffer.concat(chunks).toString("utf8"));
    });
  });
}

/**
 * Has the serving worker carry out commands that answer nothing when they succeed, such as `set server … weight`.
 * @throws {HaproxyError} with the answer to the first group in which one was refused; later groups are not sent
 */
export async function tell(socketPath: string, commands: readonly string[]): Promise<void> {
  for (let i = 0; i < commands.length; i += COMMANDS_PER_CALL) {
    const group = commands.slice(i, i + COMMANDS_PER_CALL);
    const answer = await ask(socketPath, group.map((command) => `@1 ${command}`).join("; "));
    // success is an empty line for each command; nothing at all means that the worker is gone
    if (answer === "") throw new HaproxyError("HAProxy ended before it answered a change");
    if (answer.trim() !== "") throw new HaproxyError(`HAProxy refused a change: ${answer.trim()}`);
  }
}

/** What `show proc` says of the processes under one master. */
export interface Processes {
  readonly master: number;
  /** how often the master has loaded a configuration again, refused ones included */
  readonly reloads: number;
  /** reloads in a row that failed: not 0 means that the workers still serve an older configuration */
  readonly failed: number;
  readonly worker: number | null;
  /** workers of earlier configurations that finish their connections */
  readonly oldWorkers: readonly number[];
}

/** @throws {HaproxyError} when no master answers on the socket, or not in the known form */
export async function showProcesses(socketPath: string, timeout?: number): Promise<Processes> {
  return parseProcesses(await ask(socketPath, "show proc", timeout));
}

/** Exported for tests on recorded answers. @throws {HaproxyError} */
export function parseProcesses(text: string): Processes {
  const master = /^(\d+)\s+master\s+(\d+)(?:\s+\[failed: (\d+)\])?/m.exec(text);
  if (master === null) throw new HaproxyError(`"show proc" gave no master: ${JSON.stringify(text.slice(0, 200))}`);
  const [current = "", old = ""] = text.split(/^# old workers$/m);
  const workers = (section: string) => [...section.matchAll(/^(\d+)\s+worker\s/gm)].map((match) => Number(match[1]));
  return {
    master: Number(master[1]),
    reloads: Number(master[2]),
    failed: Number(master[3] ?? 0),
    worker: workers(current)[0] ?? null,
    oldWorkers: workers(old),
  };
}
