/** What HAProxy serves at this moment, session by session (management guide, 9.3 "show sess"). Reading never throws. */
import { connect } from "node:net";
import { messageOf } from "../faults.ts";
import { HaproxyError } from "./haproxy-socket.ts";

export interface Session {
  /** of its worker: counted from the worker's start */
  readonly id: string;
  readonly frontend: string;
  readonly backend: string;
  readonly server: string;
  readonly client: Endpoint;
  readonly listener: Endpoint | null;
  /** HAProxy's own side of the connection to the server, and the server */
  readonly source: Endpoint | null;
  readonly target: Endpoint | null;
  /** of the side of the server, such as EST or CON */
  readonly state: string | null;
  /** ms since 1970 */
  readonly start: number | null;
  /** ms that the client, and the server, may still be silent */
  readonly clientPatience: number | null;
  readonly serverPatience: number | null;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export interface Endpoint {
  readonly address: string;
  readonly port: string;
}

/** No answer, or no more of it, within this (ms). */
const SILENCE_LIMIT = 10_000;
/** A session is some 2 KB; what is longer is no session. */
const MAX_SESSION = 65_536;

/**
 * Sessions of one worker, a batch for each piece of its answer.
 * @throws {HaproxyError} when HAProxy does not answer; what came before is right
 */
export async function* sessions(masterSocket: string, worker: number): AsyncGenerator<Session[]> {
  const socket = connect(masterSocket);
  socket.setTimeout(SILENCE_LIMIT, () => socket.destroy(new Error(`no answer within ${SILENCE_LIMIT} ms`)));
  socket.on("connect", () => socket.end(`@!${worker} show sess all\n`));
  try {
    yield* sessionsIn(socket);
  } catch (error) {
    throw new HaproxyError(`${masterSocket}: ${messageOf(error)}`);
  } finally {
    socket.destroy();
  }
}

/** Exported for tests. */
export async function* sessionsIn(output: AsyncIterable<Buffer | string>): AsyncGenerator<Session[]> {
  let rest = "";
  for await (const piece of output) {
    // a session begins at the start of a line, all its other lines are indented
    const texts = (rest + piece.toString("latin1" as BufferEncoding)).split(/\n(?=0x)/);
    rest = (texts.pop() ?? "").slice(0, MAX_SESSION);
    yield texts.map(parseSession).filter((session) => session !== null);
  }
  const last = parseSession(rest);
  yield last === null ? [] : [last];
}

/** Null for what is no session of a client over TCP. */
export function parseSession(text: string): Session | null {
  const head = /^0x[0-9a-f]+: \[([^\]]+)\] id=(\d+) proto=tcpv[46] source=(\S+)/.exec(text.trimStart());
  const client = endpoint(head?.[3]);
  if (head === null || client === null) return null;
  const front = / frontend=(\S+) .*?addr=(\S+)/.exec(text);
  const back = / backend=(\S+) [^\n]*?(?:addr=(\S+))?\n/.exec(text);
  const server = / server=(\S+) [^\n]*?(?:addr=(\S+))?\n/.exec(text);
  const side = (name: string) => new RegExp(`\\n +${name}=0x[^\\n]*`).exec(text)?.[0] ?? "";
  const bytes = (name: string) => Number(/ total=(\d+)/.exec(side(name))?.[1] ?? 0);
  return {
    id: head[2] ?? "",
    frontend: front?.[1] ?? "",
    backend: back?.[1] ?? "",
    server: server?.[1] ?? "",
    client,
    listener: endpoint(front?.[2]),
    source: endpoint(back?.[2]),
    target: endpoint(server?.[2]),
    state: / state=(\w+)/.exec(side("scb"))?.[1] ?? null,
    start: startTime(head[1] ?? ""),
    clientPatience: patience(text, "scf", "req"),
    serverPatience: patience(text, "scb", "res"),
    bytesIn: bytes("req"),
    bytesOut: bytes("res"),
  };
}

/** `192.0.2.1:80`, `2001:db8::1:80` */
function endpoint(text: string | undefined): Endpoint | null {
  const found = /^(.+):(\d+)$/.exec(text ?? "");
  return found === null ? null : { address: found[1] ?? "", port: found[2] ?? "" };
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** `25/Nov/2026:05:39:51.534429`: in the time zone of HAProxy, which is that of the agent that started it. */
function startTime(text: string): number | null {
  const [, day, month = "", year, hours, minutes, seconds] =
    /^(\d\d)\/(\w{3})\/(\d{4}):(\d\d):(\d\d):(\d\d)/.exec(text) ?? [];
  if (day === undefined || !MONTHS.includes(month)) return null;
  const numbers = [Number(day), Number(hours), Number(minutes), Number(seconds)] as const;
  return new Date(Number(year), MONTHS.indexOf(month), ...numbers).getTime();
}

/** HAProxy 3 says `rex=48s` beside the side's connection, 2.6 in the line below its channel. */
function patience(text: string, side: string, channel: string): number | null {
  const said =
    new RegExp(`\\n +${side}=0x[^\\n]* rex=(\\S+)`).exec(text) ??
    new RegExp(`\\n +${channel}=0x[^\\n]*\\n[^\\n]* rex=(\\S+)`).exec(text);
  const parts = [...(said?.[1] ?? "").matchAll(/(\d+)(ms|d|h|m|s)/g)];
  if (parts.length === 0) return null;
  return parts.reduce((sum, [, amount, unit = "s"]) => sum + Number(amount) * (UNITS[unit] ?? 0), 0);
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
