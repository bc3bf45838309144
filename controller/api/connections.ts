/**
 * The connections of a listener, as its amphorae know them now. They are passed on as they come: however many there are,
 * only a few are held here.
 */
import { Readable } from "node:stream";
import type Router from "@koa/router";
import type { Context } from "koa";
import { CONNECTION_FILTERS, type Connection, FilterError, MAX_LIMIT, parseFilter } from "../../agent/protocol.ts";
import { type AgentAddress, addressOf, UnreachableError } from "../amphorae/client.ts";
import type { ConnectionsClient } from "../amphorae/connections.ts";
import { type Listener, listener } from "../model/listener.ts";
import type { Engine } from "./engine.ts";
import { ApiError, invalidField, shortened } from "./errors.ts";
import { caller, flagParameter, id, origin, parameters } from "./requests.ts";

export const CONNECTION_PARAMETERS = [...CONNECTION_FILTERS, "include_closed", "limit", "cursor"] as const;

/** What the reference shows of a connection. */
export const REFERENCE_FIELDS = [
  "ip_version",
  "protocol",
  "status",
  ...CONNECTION_FILTERS,
  "start_time",
  "active_time",
] as const satisfies readonly (keyof Connection)[];

export function connectionRoutes(router: Router, engine: Engine): void {
  router.get("/listeners/:id/connection", async (context) => {
    const row = await engine.requireRow(listener, caller(context), id(context));
    if (row.protocol !== "FORWARD_TCP") {
      throw new ApiError(
        400,
        `Only FORWARD_TCP listeners tell their connections, listener ${row.id} is ${row.protocol}.`,
      );
    }
    await respond(context, engine, row, shownToTenants);
  });
  router.get("/listeners/:id/connections", async (context) => {
    const row = await engine.requireRow(listener, caller(context), id(context), {}, "administer");
    await respond(context, engine, row, (one) => one);
  });
}

type Show = (one: Connection) => Record<string, unknown>;

function shownToTenants(one: Connection): Record<string, unknown> {
  return Object.fromEntries(REFERENCE_FIELDS.map((name) => [name, one[name]]));
}

export interface Question {
  /** what every agent is asked */
  readonly query: URLSearchParams;
  readonly limit: number | null;
  /** where an earlier answer ended: the amphora, and what its agent called the place */
  readonly after: { readonly amphoraId: string; readonly id: string } | null;
}

/** @throws {ApiError} 400 a parameter that there is not, or a value that is not allowed */
export function parseQuestion(given: URLSearchParams, listenerId: string, includeClosed: boolean): Question {
  const known: readonly string[] = CONNECTION_PARAMETERS;
  const query = new URLSearchParams({ listener: listenerId });
  for (const [name, value] of given) {
    if (!known.includes(name)) {
      throw new ApiError(400, `Unknown filter for connections: ${shortened(name)}. There are ${known.join(", ")}.`);
    }
    if (given.getAll(name).length > 1) throw invalidField(name, value, "It may be given once.");
  }
  const filters = CONNECTION_FILTERS.filter((name) => given.has(name));
  try {
    parseFilter(Object.fromEntries(filters.map((name) => [name, given.get(name) ?? ""])));
  } catch (error) {
    if (!(error instanceof FilterError)) throw error;
    throw invalidField(error.field, given.get(error.field), `It ${error.message.slice(error.field.length + 1)}.`);
  }
  for (const name of filters) query.set(name, given.get(name) ?? "");
  if (includeClosed) query.set("include_closed", "true");
  const limit = given.get("limit");
  if (limit !== null && !(/^[1-9]\d{0,5}$/.test(limit) && Number(limit) <= MAX_LIMIT)) {
    throw invalidField("limit", limit, `It must be a number from 1 to ${MAX_LIMIT}.`);
  }
  const cursor = given.get("cursor");
  if (cursor !== null && limit === null) throw invalidField("cursor", cursor, "It means nothing without limit.");
  const [, amphoraId = "", place = ""] = /^([0-9a-f-]{36})~([0-9a-z-]{1,40})$/.exec(cursor ?? "") ?? [];
  if (cursor !== null && place === "") throw invalidField("cursor", cursor, "It must be that of an earlier answer.");
  return {
    query,
    limit: limit === null ? null : Number(limit),
    after: place === "" ? null : { amphoraId, id: place },
  };
}

async function respond(context: Context, engine: Engine, { id, loadbalancer_id }: Listener, show: Show) {
  const given = parameters(context);
  const question = parseQuestion(given, id, flagParameter(context, "include_closed"));
  const rows = await engine.options.store.db
    .selectFrom("amphorae")
    .select(["id", "lb_network_ip"])
    .where("loadbalancer_id", "=", loadbalancer_id)
    .where("status", "!=", "BOOTING")
    .orderBy("id")
    .execute();
  const client = engine.options.services.amphorae?.connections ?? null;
  const gathering = new Gathering(question, client, rows.map(addressOf));
  const nextLink = (cursor: string) => {
    const parameters = new URLSearchParams(given);
    parameters.set("cursor", cursor);
    return { rel: "next", href: `${origin(context)}${context.path}?${parameters}` };
  };
  const body = Readable.from(bodyOf(gathering, show, nextLink), { objectMode: false });
  // whoever asked may not want the rest
  body.on("close", () => gathering.stop());
  context.type = "json";
  context.body = body;
}

async function* bodyOf(gathering: Gathering, show: Show, nextLink: (cursor: string) => unknown) {
  let separator = "";
  yield '{"connections": [';
  for await (const batch of gathering.run()) {
    if (batch.length === 0) continue;
    yield `${separator}${batch.map((one) => JSON.stringify(show(one))).join(",\n")}`;
    separator = ",\n";
  }
  const { next, missing } = gathering;
  const links = next === null ? [] : [nextLink(next)];
  yield `], "connections_links": ${JSON.stringify(links)}, "missing": ${JSON.stringify(missing)}}`;
}

type Asking = Pick<ConnectionsClient, "ask">;

/**
 * Asks one amphora after the other: with a limit the next ones may not be needed, and without one they wait to be read.
 * Exported for tests.
 */
export class Gathering {
  /** where a further question goes on; null: that was all */
  next: string | null = null;
  /** amphorae that did not answer, or not with all, and why */
  readonly missing: { amphora_id: string; reason: string }[] = [];
  readonly #question: Question;
  readonly #client: Asking | null;
  readonly #amphorae: readonly AgentAddress[];
  readonly #stop = new AbortController();

  constructor(question: Question, client: Asking | null, amphorae: readonly AgentAddress[]) {
    this.#question = question;
    this.#client = client;
    this.#amphorae = amphorae.filter(
      ({ amphoraId }) => question.after === null || amphoraId >= question.after.amphoraId,
    );
  }

  stop(): void {
    this.#stop.abort();
  }

  async *run(): AsyncGenerator<Connection[]> {
    let room = this.#question.limit;
    for (const [i, amphora] of this.#amphorae.entries()) {
      if (this.#stop.signal.aborted) return;
      let last: string | null = null;
      let more = false;
      for await (const batch of this.#ask(amphora, room, () => (more = true))) {
        last = batch.at(-1)?.id ?? last;
        if (room !== null) room -= batch.length;
        yield batch;
      }
      const others = i + 1 < this.#amphorae.length;
      if (room !== null && room <= 0 && (more || others)) {
        this.next = `${amphora.amphoraId}~${last}`;
        return;
      }
    }
  }

  async *#ask(amphora: AgentAddress, room: number | null, onMore: () => void): AsyncGenerator<Connection[]> {
    const { query, after } = this.#question;
    const miss = (reason: string) => this.missing.push({ amphora_id: amphora.amphoraId, reason });
    if (this.#client === null) {
      miss("this controller speaks to no amphorae");
      return;
    }
    const asked = new URLSearchParams(query);
    if (room !== null) asked.set("limit", String(room));
    if (after !== null && after.amphoraId === amphora.amphoraId) asked.set("cursor", after.id);
    try {
      for await (const lines of this.#client.ask(amphora, asked, this.#stop.signal)) {
        yield lines.filter((one): one is Connection => !("end" in one));
        for (const line of lines) {
          if (!("end" in line)) continue;
          if (line.end.next !== null) onMore();
          for (const reason of line.end.missing) miss(reason);
        }
      }
    } catch (error) {
      if (!(error instanceof UnreachableError)) throw error;
      miss(error.message);
    }
  }
}
