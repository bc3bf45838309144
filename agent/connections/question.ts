/** A question for connections: read from the words of a request, and answered from wherever they are. */
import { isIpvs } from "../../templates/fields.ts";
import { activeListeners } from "../../templates/haproxy/names.ts";
import { ipvsListeners } from "../../templates/ipvs.ts";
import type { AmphoraSpec } from "../../templates/spec.ts";
import { HaproxyError } from "../dataplane/haproxy-socket.ts";
import { CommandError } from "../dataplane/inside.ts";
import { Page } from "./page.ts";
import {
  CONNECTION_FILTERS,
  type Connection,
  type ConnectionFilter,
  type ConnectionsEnd,
  FilterError,
  MAX_LIMIT,
  parseFilter,
} from "./protocol.ts";

export interface Question {
  /** null: all of the amphora */
  readonly listener: string | null;
  readonly filter: ConnectionFilter;
  readonly includeClosed: boolean;
  readonly limit: number | null;
  readonly cursor: string | null;
}

/** Where connections are read. Each gives those that match, a batch at a time. */
export interface Sources {
  readonly forwarded: (listenerId: string, filter: ConnectionFilter) => AsyncIterable<Connection[]>;
  readonly served: (listenerIds: ReadonlySet<string>, filter: ConnectionFilter) => AsyncIterable<Connection[]>;
  readonly ended: (listenerIds: ReadonlySet<string>, filter: ConnectionFilter) => Connection[];
}

const NAMES: readonly string[] = ["listener", ...CONNECTION_FILTERS, "include_closed", "limit", "cursor"];

/** @throws {FilterError} on a name that there is not, or a value that is not allowed */
export function parseQuestion(query: URLSearchParams): Question {
  const given = new Map<string, string>();
  for (const [name, value] of query) {
    if (!NAMES.includes(name)) throw new FilterError(name, `is unknown: there are ${NAMES.join(", ")}`);
    if (given.has(name)) throw new FilterError(name, "may be given once");
    given.set(name, value);
  }
  const limit = given.get("limit");
  const cursor = given.get("cursor");
  if (limit !== undefined && !(/^[1-9]\d{0,5}$/.test(limit) && Number(limit) <= MAX_LIMIT)) {
    throw new FilterError("limit", `must be a number from 1 to ${MAX_LIMIT}`);
  }
  if (cursor !== undefined && limit === undefined) throw new FilterError("cursor", "means nothing without limit");
  const closed = given.get("include_closed") ?? "false";
  if (closed !== "true" && closed !== "false") throw new FilterError("include_closed", "must be true or false");
  return {
    listener: given.get("listener") ?? null,
    filter: parseFilter(Object.fromEntries(CONNECTION_FILTERS.flatMap((name) => pair(name, given.get(name))))),
    includeClosed: closed === "true",
    limit: limit === undefined ? null : Number(limit),
    cursor: cursor ?? null,
  };
}

function pair<Name extends string>(name: Name, value: string | undefined): [Name, string][] {
  return value === undefined ? [] : [[name, value]];
}

/**
 * The connections that a question asks for, a batch at a time, and the end at last. What can't be read is named there,
 * and does not keep the rest from being given.
 */
export async function* answer(
  question: Question,
  spec: AmphoraSpec,
  sources: Sources,
): AsyncGenerator<readonly (Connection | ConnectionsEnd)[]> {
  const missing: string[] = [];
  const found = read(question, spec, sources, missing);
  if (question.limit === null) {
    yield* found;
    yield [{ end: { next: null, missing } }];
    return;
  }
  const page = new Page(question.limit, question.cursor);
  for await (const batch of found) page.add(batch);
  yield page.connections;
  yield [{ end: { next: page.next, missing } }];
}

async function* read(
  { listener, filter, includeClosed }: Question,
  spec: AmphoraSpec,
  sources: Sources,
  missing: string[],
): AsyncGenerator<Connection[]> {
  const asked = (id: string) => listener === null || id === listener;
  const ended = new Set(spec.listeners.filter(({ id, protocol }) => asked(id) && isIpvs(protocol)).map(({ id }) => id));
  for (const { id } of ipvsListeners(spec)) {
    if (!asked(id)) continue;
    yield* guarded(`listener ${id}`, sources.forwarded(id, filter), missing);
  }
  const served = new Set(activeListeners(spec).flatMap(({ id }) => (asked(id) ? [id] : [])));
  if (served.size > 0) yield* guarded("HAProxy", sources.served(served, filter), missing);
  // at last: what ends meanwhile comes twice, rather than not at all
  if (includeClosed) yield sources.ended(ended, filter);
}

async function* guarded(
  what: string,
  source: AsyncIterable<Connection[]>,
  missing: string[],
): AsyncGenerator<Connection[]> {
  try {
    yield* source;
  } catch (error) {
    if (!(error instanceof CommandError || error instanceof HaproxyError)) throw error;
    missing.push(`${what}: ${error.message}`);
  }
}
