/** The command line that HAProxy's master offers on a UNIX socket (management guide, 9.4 "Master CLI"). */
import { connect } from "node:net";

/** HAProxy did not answer, or refused a command; the message holds what it said. */
export class HaproxyError extends Error {
  override readonly name = "HaproxyError";
  /** what it said, a complaint each */
  readonly complaints: readonly string[];

  constructor(message: string, complaints: readonly string[] = [message]) {
    super(message);
    this.complaints = complaints;
  }
}

/** Silent commands that go out together fit one buffer of the command line (16,384 bytes): each takes at most 150. */
const COMMANDS_PER_CALL = 64;
/** What a command takes besides its payload, generously (bytes). */
const LINE_LIMIT = 1024;
/** Of a command with its payload (tune.bufsize). */
const BUFFER = 16_384;

/** One command to a worker, and what it says when it has carried it out. */
export interface Command {
  readonly line: string;
  /** lines for the command to take in, none of them empty */
  readonly payload?: string;
  /** null: nothing */
  readonly answer: RegExp | null;
  /** may be refused */
  readonly optional?: boolean;
}

/**
 * Sends one line and returns the whole answer.
 * @param line may not hold line ends; one line is all that the master reads from a connection
 * @throws {HaproxyError} when nothing listens, or no whole answer came within `timeout` ms
 */
export function ask(socketPath: string, line: string, timeout = 5000): Promise<string> {
  if (/[\r\n]/.test(line)) throw new RangeError("a HAProxy command holds a line end");
  return send(socketPath, `${line}\n`, timeout);
}

function send(socketPath: string, text: string, timeout = 5000): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect(socketPath);
    const timer = setTimeout(() => socket.destroy(new Error(`no answer within ${timeout} ms`)), timeout);
    socket.on("connect", () => socket.end(text));
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("error", (error) => reject(new HaproxyError(`${socketPath}: ${error.message}`)));
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(Buffer.concat(chunks).toString("utf8"));
    });
  });
}

/**
 * Has the serving worker carry out commands, in their order.
 * @throws {HaproxyError} with the answer to the first one that was refused, or the first group of silent ones in which
 * one was; later ones are not sent. Payloads are secret: no error holds one.
 */
export async function tell(socketPath: string, commands: readonly Command[]): Promise<void> {
  for (let i = 0; i < commands.length; ) {
    const group = groupAt(commands, i);
    i += group.length;
    const [first] = group;
    if (first === undefined) return;
    if (first.payload !== undefined) await tellPayload(socketPath, first, first.payload);
    else judge(await ask(socketPath, group.map(({ line }) => `@1 ${line}`).join("; ")), first);
  }
}

/** The command at this place, with those after it that may go out in one line: silent ones. */
function groupAt(commands: readonly Command[], start: number): readonly Command[] {
  const isSilent = (command: Command | undefined) => command?.answer === null && command.payload === undefined;
  let end = start + 1;
  while (isSilent(commands[start]) && isSilent(commands[end]) && end - start < COMMANDS_PER_CALL) end++;
  return commands.slice(start, end);
}

async function tellPayload(socketPath: string, command: Command, payload: string): Promise<void> {
  if (/\n\n|^\n|\r/.test(payload)) throw new RangeError("a payload holds an empty line");
  if (/[\r\n]/.test(command.line)) throw new RangeError("a HAProxy command holds a line end");
  if (Buffer.byteLength(payload) > BUFFER - LINE_LIMIT) {
    throw new HaproxyError(`${command.line}: ${Buffer.byteLength(payload)} bytes are more than the command line takes`);
  }
  judge(await send(socketPath, `@1 ${command.line} <<\n${payload.trimEnd()}\n\n`), command);
}

function judge(answer: string, { answer: expected, optional, line }: Command): void {
  // success is an empty line at least; nothing at all means that the worker is gone
  if (answer === "") throw new HaproxyError("HAProxy ended before it answered a change");
  const taken = expected === null ? answer.trim() === "" : expected.test(answer);
  if (taken || optional) return;
  throw new HaproxyError(`HAProxy refused a change: ${answer.trim() || `no answer to "${line}"`}`);
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
