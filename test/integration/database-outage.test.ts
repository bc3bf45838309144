/** The API while PostgreSQL is away: it says so at once, and goes on by itself. */
import t from "tap";
import { eventually } from "../support/agent.ts";
import { startApi } from "../support/api.ts";
import { Postgres, withOpen } from "../support/postgres.ts";

const OUTAGES: Record<
  string,
  { begin: (server: Postgres) => Promise<void>; end: (server: Postgres) => Promise<void> }
> = {
  "has died": { begin: (server) => server.fail(), end: (server) => server.back() },
  "does not answer": { begin: (server) => server.freeze(), end: (server) => server.thaw() },
};

for (const [what, { begin, end }] of Object.entries(OUTAGES)) {
  t.test(`while the database ${what}, everybody is told at once, and afterwards it goes on`, async (t) => {
    const server = await Postgres.start();
    t.teardown(() => server.stop());
    const api = await startApi(
      t,
      withOpen("PostgreSQL", async () => server.url(await server.createDatabase())),
      { settles: false },
    );
    const made = await api.call("POST", "/loadbalancers", { loadbalancer: { name: "before" } });
    t.equal(made.status, 201);

    t.equal((await api.call("GET", "//healthcheck")).status, 200);
    await begin(server);
    // those that were first may have to wait until it is known
    await api.call("GET", "/loadbalancers");
    for (let i = 0; i < 20; i++) {
      const started = performance.now();
      const [read, write] = await Promise.all([
        api.call("GET", "/loadbalancers"),
        api.call("POST", "/loadbalancers", { loadbalancer: { name: "meanwhile" } }),
      ]);
      t.strictSame([read.status, write.status], [503, 503]);
      t.equal((await api.call("GET", "//healthcheck")).status, 503);
      t.match(read.body, { faultstring: /database/ });
      t.equal(read.headers.get("retry-after"), "1");
      t.ok(performance.now() - started < 4000);
    }

    await end(server);
    await eventually("it goes on", async () => (await api.call("GET", "/loadbalancers")).status === 200);
    const names = (await api.call("GET", "/loadbalancers")).body.loadbalancers as { name: string }[];
    t.strictSame(
      names.map(({ name }) => name),
      ["before"],
    );
    t.equal((await api.call("POST", "/loadbalancers", { loadbalancer: { name: "after" } })).status, 201);
  });
}
