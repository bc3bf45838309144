/** Connections of several amphorae, put together: page by page, and with what is missing named. */
import t from "tap";
import { UnreachableError } from "../../controller/amphorae/client.ts";
import { type Line, linesOf } from "../../controller/amphorae/connections.ts";
import { Gathering, parseQuestion } from "../../controller/api/connections.ts";
import { aConnection } from "../support/connections.ts";
import { idOf } from "../support/specs.ts";

const LISTENER = idOf("listener");
const AMPHORAE = [1, 2, 3].map((number) => idOf("amphora", number)).sort();
const ADDRESSES = AMPHORAE.map((amphoraId) => ({ amphoraId, address: "127.0.0.1" }));

/** Agents with so many connections each; one of them may be silent. */
function agents(counts: readonly number[], silent?: number) {
  return {
    async *ask({ amphoraId }: { readonly amphoraId: string }, query: URLSearchParams): AsyncGenerator<Line[]> {
      const number = AMPHORAE.indexOf(amphoraId);
      if (number === silent) throw new UnreachableError("no answer");
      const limit = Number(query.get("limit") ?? Number.POSITIVE_INFINITY);
      const all = Array.from({ length: counts[number] ?? 0 }, (_, i) => `4-${String(i).padStart(10, "0")}`);
      const after = all.filter((id) => id > (query.get("cursor") ?? ""));
      const ids = after.slice(0, limit);
      for (const id of ids) yield [aConnection({ id, amphora_id: amphoraId })];
      yield [{ end: { next: after.length > ids.length ? (ids.at(-1) ?? null) : null, missing: [] } }];
    },
  };
}

async function gather(query: string, counts: readonly number[], silent?: number) {
  const question = parseQuestion(new URLSearchParams(query), LISTENER, false);
  const gathering = new Gathering(question, agents(counts, silent), ADDRESSES);
  const found: string[] = [];
  for await (const batch of gathering.run()) found.push(...batch.map((one) => `${one.amphora_id} ${one.id}`));
  return { found, next: gathering.next, missing: gathering.missing };
}

t.test("pages of any length hold every connection of every amphora once", async (t) => {
  const counts = [3, 0, 4];
  const whole = await gather("", counts);
  t.equal(whole.found.length, 7);
  t.equal(whole.next, null);
  for (const limit of [1, 2, 3, 4, 6, 7, 8]) {
    const seen: string[] = [];
    let pages = 0;
    for (let cursor: string | null = ""; cursor !== null; pages++) {
      const page: Awaited<ReturnType<typeof gather>> = await gather(
        `limit=${limit}${cursor && `&cursor=${cursor}`}`,
        counts,
      );
      t.ok(page.found.length <= limit && pages < 20);
      seen.push(...page.found);
      cursor = page.next;
    }
    t.strictSame(seen, whole.found, `limit ${limit}`);
  }
});

t.test("an amphora that does not answer is named, and the others are there", async (t) => {
  const { found, missing } = await gather("", [2, 2, 2], 1);
  t.equal(found.length, 4);
  t.strictSame(missing, [{ amphora_id: AMPHORAE[1], reason: "no answer" }]);
});

t.test("without anybody who speaks to amphorae all of them are missing", async (t) => {
  const gathering = new Gathering(parseQuestion(new URLSearchParams(), LISTENER, false), null, ADDRESSES);
  for await (const batch of gathering.run()) t.strictSame(batch, []);
  t.equal(gathering.missing.length, 3);
});

t.test("lines come whole, however they are cut", async (t) => {
  const text = Buffer.from('{"a":"ä"}\n{"b":2}\n');
  for (const size of [1, 2, 5, 100]) {
    const pieces = Array.from({ length: Math.ceil(text.length / size) }, (_, i) =>
      text.subarray(i * size, (i + 1) * size),
    );
    const lines: string[] = [];
    for await (const batch of linesOf(asStream(pieces))) lines.push(...batch);
    t.strictSame(lines, ['{"a":"ä"}', '{"b":2}']);
  }
  await t.rejects(async () => {
    for await (const _ of linesOf(asStream(["x".repeat(70_000)]))) t.fail("there is no line");
  }, /not of the known form/);
});

async function* asStream<T>(pieces: readonly T[]): AsyncGenerator<T> {
  yield* pieces;
}
