/** Connections as people read them on an instance: which come first, and how each looks. */
import fc from "fast-check";
import t from "tap";
import { ConnectionsUsageError, parseConnectionsArgs } from "../../agent/connections/command-line.ts";
import { newness, Ranking, Rates } from "../../agent/connections/ranking.ts";
import { isHalfOpen, tableLines } from "../../agent/connections/table.ts";
import { aConnection } from "../support/connections.ts";

const NOW = Date.UTC(2024, 7, 15, 14, 32, 38);

t.test("a table: what goes from where to where, how old and how busy it is", async (t) => {
  const rows = [
    { one: aConnection({ bytes_in: 999, bytes_out: 1_500_000 }), rate: null },
    {
      one: aConnection({
        status: "SYN_SENT",
        client_src_ip: "2001:db8::1",
        start_time: "2024-08-15 14:32:37",
        active_time: null,
        forward_src_ip: null,
      }),
      rate: null,
    },
  ];
  t.strictSame(tableLines(rows, NOW), [
    "   CLIENT              VIP               SOURCE          MEMBER           STATE        AGE  IDLE     IN      OUT",
    "   192.0.2.77:8128     tcp 10.77.0.5:80  10.77.0.5:8128  10.77.0.21:8080  ESTABLISHED   5m   38s  999 B  1.4 MiB",
    "!  [2001:db8::1]:8128  tcp 10.77.0.5:80  -               10.77.0.21:8080  SYN_SENT      1s     -    1 B      2 B",
  ]);
});

t.test("the busiest have their rate beside them", async (t) => {
  const [head, row] = tableLines([{ one: aConnection(), rate: 2048 }], NOW);
  t.match(head, /OUT +RATE$/);
  t.match(row, /2 B +2\.0 KiB\/s$/);
});

t.test("without connections there are the headings", async (t) => {
  t.equal(tableLines([], NOW).length, 1);
});

t.test("half open is what waits for its other side", async (t) => {
  const of = (status: string) => isHalfOpen(aConnection({ status }));
  for (const status of ["SYN_SENT", "SYN_RECV", "UNREPLIED", "CONNECTING", "COOKIE_WAIT"]) t.ok(of(status), status);
  for (const status of ["ESTABLISHED", "REPLIED", "TIME_WAIT", "CLOSED"]) t.notOk(of(status), status);
});

t.test("a ranking holds the same as sorting all", async () => {
  const scores = fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 60 });
  fc.assert(
    fc.property(scores, fc.integer({ min: 1, max: 10 }), (all, size) => {
      const ranking = new Ranking(size);
      const ranked = all.map((score, i) => ({ one: aConnection({ id: `4-${String(i).padStart(10, "0")}` }), score }));
      for (const { one, score } of ranked) ranking.add(one, score);
      const sorted = ranked.sort((a, b) => b.score - a.score || (a.one.id < b.one.id ? -1 : 1)).slice(0, size);
      return (
        ranking.count === all.length &&
        JSON.stringify(ranking.best.map(({ one }) => one.id)) === JSON.stringify(sorted.map(({ one }) => one.id))
      );
    }),
  );
});

t.test("rates are of the time between two looks, or of a connection's whole life", async (t) => {
  const rates = new Rates();
  const start = newness(aConnection());
  rates.begin(start + 10_000);
  t.equal(rates.of(aConnection({ bytes_in: 1000, bytes_out: 0 })), 100);
  rates.begin(start + 12_000);
  t.equal(rates.of(aConnection({ bytes_in: 1000, bytes_out: 500 })), 250);
  rates.begin(start + 14_000);
  t.equal(rates.of(aConnection({ bytes_in: 1000, bytes_out: 500 })), 0);
});

t.test("options: what may be asked, and what is wrong with what may not", async (t) => {
  const args = ["here", "--client-src-ip", "10.0.0.0/8", "--top", "--limit", "5", "--config", "x"];
  const { view, own, positionals } = parseConnectionsArgs(args, ["config", "listener"]);
  t.strictSame([{ ...own }, positionals], [{ config: "x", listener: undefined }, ["here"]]);
  const { query, ...options } = view;
  t.strictSame(options, {
    follow: false,
    top: true,
    json: false,
    interval: 2,
    limit: 5,
  });
  t.equal(query.toString(), "client_src_ip=10.0.0.0%2F8");
  t.ok(parseConnectionsArgs(["--follow", "--top"], []).view.top, "which refreshes anyhow");
  for (const [args, said] of [
    [["--top", "--json"], /exclude each other/],
    [["--interval", "0"], /^--interval must be a number from 1 to 3600$/],
    [["--limit", "1000000"], /^--limit must be/],
    [["--client-src-port", "http"], /^--client-src-port must be a port/],
    [["--no-such"], /no-such/],
  ] as const) {
    t.throws(() => parseConnectionsArgs(args, []), { name: ConnectionsUsageError.name, message: said }, args.join(" "));
  }
});
