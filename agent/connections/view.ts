/** Connections shown to a person, or to a pipe, wherever they are read. */
import { setTimeout as sleep } from "node:timers/promises";
import type { ViewOptions } from "./command-line.ts";
import type { Connection, ConnectionsEnd } from "./protocol.ts";
import { newness, Ranking, Rates } from "./ranking.ts";
import { Screen } from "./screen.ts";
import { tableLines } from "./table.ts";

/** Rows of a table that nobody asked to be longer. */
const ROWS = 1000;

/** Reads all that match once more, a batch at a time. */
export type Read = () => AsyncIterable<readonly (Connection | ConnectionsEnd)[]>;

/**
 * Shows connections, until all are shown or the person has seen enough.
 * @returns the exit code: 1 when something could not be read
 */
export async function view(options: ViewOptions, read: Read): Promise<number> {
  const screen = new Screen(options.follow || options.top);
  try {
    if (!options.json) return await showTables(options, read, screen);
    return await (options.follow ? followJson(options, read, screen) : listJson(read, screen));
  } finally {
    screen.close();
  }
}

/** Goes through all that there are. @returns what could not be read */
async function each(read: Read, use: (batch: readonly Connection[]) => Promise<void> | void) {
  const missing: string[] = [];
  for await (const batch of read()) {
    await use(batch.filter((one): one is Connection => !("end" in one)));
    for (const one of batch) if ("end" in one) missing.push(...one.end.missing);
  }
  return missing;
}

async function listJson(read: Read, screen: Screen): Promise<number> {
  const missing = await each(read, async (batch) => {
    if (batch.length > 0) await screen.write(batch.map((one) => `${JSON.stringify(one)}\n`).join(""));
  });
  screen.complain(missing);
  return missing.length === 0 ? 0 : 1;
}

/** Lines for what has begun since the look before, and for what has ended. */
async function followJson({ interval }: ViewOptions, read: Read, screen: Screen): Promise<number> {
  let before = new Map<string, Connection>();
  while (!screen.over) {
    const now = new Map<string, Connection>();
    const lines: string[] = [];
    screen.complain(
      await each(read, (batch) => {
        for (const one of batch) {
          now.set(one.id, one);
          if (!before.has(one.id)) lines.push(JSON.stringify(one));
        }
      }),
    );
    for (const [id, one] of before) if (!now.has(id)) lines.push(JSON.stringify({ ...one, status: "CLOSED" }));
    if (lines.length > 0) await screen.write(`${lines.join("\n")}\n`);
    before = now;
    await sleep(interval * 1000, undefined, { signal: screen.signal }).catch(() => undefined);
  }
  return 0;
}

async function showTables(options: ViewOptions, read: Read, screen: Screen): Promise<number> {
  const { top, follow, interval, limit } = options;
  const rates = new Rates();
  for (;;) {
    const now = Date.now();
    rates.begin(now);
    const ranking = new Ranking(limit ?? (top || follow ? (screen.rows ?? ROWS) : ROWS));
    const missing = await each(read, (batch) => {
      for (const one of batch) ranking.add(one, top ? rates.of(one) : newness(one));
    });
    const rows = ranking.best.map(({ one, score }) => ({ one, rate: top ? score : null }));
    const shown = rows.length < ranking.count ? `, ${rows.length} shown` : "";
    const title = `${ranking.count} connections${shown}, ${new Date(now).toISOString().slice(0, 19).replace("T", " ")} UTC`;
    await screen.show([title, ...missing.map((each) => `not read: ${each}`), ...tableLines(rows, now)]);
    if (!(top || follow)) return missing.length === 0 ? 0 : 1;
    await sleep(interval * 1000, undefined, { signal: screen.signal }).catch(() => undefined);
    if (screen.over) return 0;
  }
}
