/**
 * The kernel's connections, read by conntrack(8): as a stream, filtered by mark in the kernel. That mark is what makes it
 * fast: of 1,000,000 entries a listener's 100 are there in 0.3 s, where a filter by address and port, which the command
 * applies to what the kernel sends, takes 3.8 s.
 */
import { execa } from "execa";
import { hexMark } from "../../templates/nftables.ts";
import { type Entry, parseEntry } from "./conntrack-entry.ts";
import { CommandError, runInside, wordsInside } from "./inside.ts";

/** 1,000,000 entries take some 10 s on a busy machine (ms). */
const DUMP_LIMIT = 120_000;
const FORMAT = ["-o", "extended,ktimestamp,id"];
/** What is read depends neither on the agent's language nor on its time zone. */
/** How the command is run: what it says is read as it comes. */
const STREAMED = {
  env: { LC_ALL: "C", TZ: "UTC" },
  buffer: false,
  reject: false,
  stdin: "ignore",
  stderr: "ignore",
} as const;

export interface Wanted {
  readonly mark: number;
  readonly family: 4 | 6;
  /** words that have the command leave out the others: fewer lines to read */
  readonly words: readonly string[];
}

/**
 * Entries with a mark, a batch for each piece of the command's output.
 * @throws {CommandError} when the command fails or takes too long; what came before is right
 */
export async function* entries(namespace: string, { mark, family, words }: Wanted): AsyncGenerator<Entry[]> {
  const [file, ...args] = wordsInside(namespace, [
    "conntrack",
    "-L",
    ...["-f", family === 4 ? "ipv4" : "ipv6", "-m", hexMark(mark)],
    ...words,
    ...FORMAT,
  ]);
  const command = execa(file, args, { ...STREAMED, timeout: DUMP_LIMIT });
  try {
    for await (const batch of batchesOf(command.stdout)) yield batch;
    const result = await command;
    if (result.failed) throw new CommandError(`conntrack -L: ${result.shortMessage}`);
  } finally {
    // whoever asked may not want the rest
    command.kill("SIGKILL");
  }
}

/**
 * Each line becomes a string of its own: parts of it, which are kept, would keep all of what they were cut out of.
 * Exported for tests.
 */
export async function* batchesOf(output: AsyncIterable<Buffer>): AsyncGenerator<Entry[]> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const piece of output) {
    const text = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
    const batch: Entry[] = [];
    let from = 0;
    for (let to = text.indexOf(NEWLINE); to >= 0; to = text.indexOf(NEWLINE, from)) {
      addEntry(batch, text.toString("latin1", from, to));
      from = to + 1;
    }
    rest = text.subarray(from);
    yield batch;
  }
  const batch: Entry[] = [];
  addEntry(batch, rest.toString("latin1"));
  yield batch;
}

const NEWLINE = 10;

function addEntry(batch: Entry[], line: string): void {
  const entry = parseEntry(line);
  if (entry !== null) batch.push(entry);
}

/** Connections that end, as they do, until `signal` says so or the command ends. */
export async function* endings(namespace: string, signal: AbortSignal): AsyncGenerator<Entry[]> {
  const [file, ...args] = wordsInside(namespace, [
    "conntrack",
    ...["-E", "-e", "DESTROY", "--buffer-size", String(EVENT_BUFFER)],
    ...FORMAT,
  ]);
  const command = execa(file, args, { ...STREAMED, cancelSignal: signal });
  try {
    yield* batchesOf(command.stdout);
  } finally {
    command.kill("SIGKILL");
  }
}

/** Some 20,000 endings that come at once (bytes). */
const EVENT_BUFFER = 8 * 1024 * 1024;

/** How long each state lasts without a packet, in seconds: names as in /proc/sys/net/netfilter. */
export type StateTimeouts = ReadonlyMap<string, number>;

/** @throws {CommandError} */
export async function stateTimeouts(namespace: string): Promise<StateTimeouts> {
  const text = await runInside(namespace, ["sysctl", "-a", "-r", "nf_conntrack_(tcp|udp|sctp)_timeout"]);
  const lines = text.matchAll(/^net\.netfilter\.nf_conntrack_(\w+) = (\d+)$/gm);
  return new Map([...lines].map(([, name = "", value]) => [name, Number(value)]));
}

/**
 * When the last packet came, in ms since 1970, to the second: the kernel does not say, but how long it will still wait
 * for the next one. Null when the state's time-out is not known.
 */
export function lastPacket({ protocol, state, replied, remaining }: Entry, timeouts: StateTimeouts, now: number) {
  if (remaining === null) return null;
  const name = protocol === "udp" ? (replied ? "udp_timeout_stream" : "udp_timeout") : stateName(protocol, state);
  const whole = timeouts.get(name);
  if (whole === undefined) return null;
  // data that nobody has acknowledged yet is waited for not as long (nf_conntrack_proto_tcp.c, tcp_packet)
  const unacknowledged = timeouts.get("tcp_timeout_unacknowledged") ?? whole;
  const began = protocol === "tcp" && remaining <= unacknowledged ? Math.min(whole, unacknowledged) : whole;
  return now - Math.max(0, began - remaining) * 1000;
}

function stateName(protocol: string, state: string | null): string {
  return `${protocol}_timeout_${(state ?? "").toLowerCase()}`;
}
