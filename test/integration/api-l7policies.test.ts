/** Policies: their targets, and their order. */
import { randomUUID } from "node:crypto";
import fc from "fast-check";
import t from "tap";
import { LISTENER_PROTOCOLS, REDIRECT_HTTP_CODES } from "../../templates/fields.ts";
import { type Json, object, objects, startApi, type TestApi } from "../support/api.ts";
import { expectRefused, type Refusal } from "../support/api-refusals.ts";
import { databases } from "../support/postgres.ts";

const nobody = randomUUID();
const URL = "https://example.org/";
const PREFIX = "http://example.org";

for (const database of databases(t)) {
  t.test(`${database.name}: a policy has the target of its action, and no other`, async (t) => {
    const api = await startApi(t, database);
    const { listener, pool, lonely } = await api.graph();
    const none = { redirect_pool_id: null, redirect_url: null, redirect_prefix: null, redirect_http_code: null };
    const toPool = { ...none, action: "REDIRECT_TO_POOL", redirect_pool_id: pool };
    const toUrl = { ...none, action: "REDIRECT_TO_URL", redirect_url: URL, redirect_http_code: 302 };
    const toPrefix = { ...none, action: "REDIRECT_PREFIX", redirect_prefix: PREFIX, redirect_http_code: 302 };
    const reject = { ...none, action: "REJECT" };
    const created: [Json, Json][] = [
      [{ action: "REDIRECT_TO_POOL", redirect_pool_id: pool }, toPool],
      [{ action: "REDIRECT_TO_URL", redirect_url: URL }, toUrl],
      [{ action: "REDIRECT_PREFIX", redirect_prefix: PREFIX }, toPrefix],
      [{ action: "REJECT" }, reject],
      [{ action: "REJECT", redirect_url: URL }, reject],
      [{ action: "REJECT", redirect_url: URL, redirect_prefix: PREFIX, redirect_http_code: 301 }, reject],
      [{ action: "REDIRECT_TO_POOL", redirect_pool_id: pool, redirect_http_code: 301 }, toPool],
      ...REDIRECT_HTTP_CODES.map((code): [Json, Json] => [
        { action: "REDIRECT_TO_URL", redirect_url: URL, redirect_http_code: code },
        { ...toUrl, redirect_http_code: code },
      ]),
    ];
    for (const [given, wanted] of created) {
      const made = await api.create("l7policy", "/l7policies", { listener_id: listener, ...given });
      t.match(made, wanted, JSON.stringify(given));
    }
    const { id } = await api.create("l7policy", "/l7policies", { listener_id: listener, action: "REJECT" });
    // one after the other: each begins with what the one before has left
    const changed: [Json, Json][] = [
      [{ redirect_pool_id: pool }, toPool],
      [{ redirect_url: URL }, toUrl],
      [{ redirect_http_code: 308 }, { ...toUrl, redirect_http_code: 308 }],
      [{ name: "other" }, { ...toUrl, redirect_http_code: 308 }],
      [{ redirect_http_code: null }, toUrl],
      [{ redirect_prefix: PREFIX }, toPrefix],
      [
        { action: "REDIRECT_TO_POOL", redirect_pool_id: lonely },
        { ...toPool, redirect_pool_id: lonely },
      ],
      [{ redirect_pool_id: pool, redirect_url: null }, toPool],
      [
        { action: "REDIRECT_TO_URL", redirect_url: URL, redirect_http_code: 303 },
        { ...toUrl, redirect_http_code: 303 },
      ],
      [{ action: "REJECT", redirect_url: PREFIX }, reject],
      [{ action: "REDIRECT_PREFIX", redirect_prefix: PREFIX, redirect_pool_id: null }, toPrefix],
      [{}, toPrefix],
      [{ action: "REJECT" }, reject],
    ];
    for (const [given, wanted] of changed) {
      const answer = await api.call("PUT", `/l7policies/${id}`, { l7policy: given });
      t.match(object(answer, "l7policy"), wanted, JSON.stringify(given));
      t.match(await api.show("l7policy", `/l7policies/${id}`), wanted);
    }
  });

  t.test(`${database.name}: a policy that can't be is refused, saying why, and changes nothing`, async (t) => {
    const api = await startApi(t, database);
    const { lb, listener, pool, policy } = await api.graph();
    const other = await api.graph();
    const pooling = { loadbalancer_id: lb, lb_algorithm: "ROUND_ROBIN", protocol: "TCP" };
    const { id: tcp } = await api.create("pool", "/pools", pooling);
    const { id: leading } = await api.create("l7policy", "/l7policies", {
      listener_id: listener,
      action: "REDIRECT_TO_POOL",
      redirect_pool_id: pool,
    });
    await api.reconciler.settle();
    const make = (values: Json): Refusal => [400, "", "POST", "/l7policies", "l7policy", values];
    const named = (status: number, name: string, [, , ...rest]: Refusal): Refusal => [status, name, ...rest];
    const on = (values: Json) => make({ listener_id: listener, ...values });
    const change = (values: Json, id = policy): Refusal => [400, "", "PUT", `/l7policies/${id}`, "l7policy", values];
    const targets = { redirect_pool_id: pool, redirect_url: URL, redirect_prefix: PREFIX };
    const both = Object.entries(targets).flatMap(([one, value], i) =>
      Object.entries(targets)
        .slice(i + 1)
        .map(([two, second]) => ({ [one]: value, [two]: second })),
    );
    await expectRefused(t, api, [
      named(400, "redirect_pool_id", on({ action: "REDIRECT_TO_POOL" })),
      named(400, "redirect_url", on({ action: "REDIRECT_TO_URL" })),
      named(400, "redirect_prefix", on({ action: "REDIRECT_PREFIX" })),
      named(400, "redirect_url", on({ action: "REDIRECT_TO_URL", redirect_pool_id: pool })),
      named(400, "redirect_pool_id", on({ action: "REDIRECT_TO_POOL", redirect_url: URL })),
      ...both.flatMap((values) => [
        named(400, Object.keys(values).join(" and "), on({ action: "REDIRECT_TO_POOL", ...values })),
        named(400, Object.keys(values).join(" and "), change(values)),
      ]),
      named(400, "redirect_url", change({ action: "REDIRECT_TO_URL" })),
      named(400, "redirect_pool_id", change({ action: "REDIRECT_TO_POOL", redirect_pool_id: null })),
      named(400, "redirect_pool_id", change({ redirect_pool_id: null }, leading)),
      named(404, `Listener ${nobody}`, make({ listener_id: nobody, action: "REJECT" })),
      named(404, `Pool ${nobody}`, on({ action: "REDIRECT_TO_POOL", redirect_pool_id: nobody })),
      named(404, `Pool ${nobody}`, change({ redirect_pool_id: nobody })),
      named(400, "another load balancer", on({ action: "REDIRECT_TO_POOL", redirect_pool_id: other.pool })),
      named(400, "another load balancer", change({ redirect_pool_id: other.pool })),
      named(400, "'TCP' is invalid", on({ action: "REDIRECT_TO_POOL", redirect_pool_id: tcp })),
      named(400, "'TCP' is invalid", change({ redirect_pool_id: tcp })),
      named(400, "listener_id", change({ listener_id: other.listener })),
      named(409, `in use by L7 policy ${leading}`, [409, "", "DELETE", `/pools/${pool}`]),
      named(409, "has 1 rule, which", [409, "", "DELETE", `/l7policies/${policy}`]),
    ]);
  });

  t.test(`${database.name}: only listeners that understand requests have policies`, async (t) => {
    const api = await startApi(t, database, { readsCertificates: false });
    const { id: lb } = await api.create("loadbalancer", "/loadbalancers", {});
    for (const [i, protocol] of LISTENER_PROTOCOLS.entries()) {
      const tls = protocol === "TERMINATED_HTTPS" ? { default_tls_container_ref: nobody } : {};
      const listening = { loadbalancer_id: lb, protocol, protocol_port: 1000 + i, ...tls };
      const { id } = await api.create("listener", "/listeners", listening);
      const answer = await api.call("POST", "/l7policies", { l7policy: { listener_id: id, action: "REJECT" } });
      t.equal(answer.status, protocol === "HTTP" || protocol === "TERMINATED_HTTPS" ? 201 : 400, protocol);
    }
  });

  t.test(
    `${database.name}: positions are 1 to n in the wanted order, whatever is made, moved and deleted`,
    async (t) => {
      const api = await startApi(t, database);
      const { id: lb } = await api.create("loadbalancer", "/loadbalancers", {});
      const position = fc.constantFrom(1, 2, 3, 4, 99, undefined);
      const step = fc.record({ kind: fc.constantFrom("make", "make", "move", "delete"), which: fc.nat(7), position });
      let port = 1;
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 10 }), async (steps) => {
          const listening = { loadbalancer_id: lb, protocol: "HTTP", protocol_port: port++ };
          const { id: listener } = await api.create("listener", "/listeners", listening);
          let order: string[] = [];
          const without = (id: string) => order.filter((each) => each !== id);
          const put = (id: string, at = 99) => {
            const others = without(id);
            order = [...others.slice(0, at - 1), id, ...others.slice(at - 1)];
          };
          for (const { kind, which, position: at } of steps) {
            const id = order[which % Math.max(order.length, 1)];
            if (kind === "make" || id === undefined) {
              const values = { listener_id: listener, action: "REJECT", ...(at === undefined ? {} : { position: at }) };
              const made = await api.create("l7policy", "/l7policies", values);
              put(made.id, at);
              if (made.position !== order.indexOf(made.id) + 1) throw new Error(`made at ${made.position}`);
            } else if (kind === "move") {
              await api.call("PUT", `/l7policies/${id}`, { l7policy: at === undefined ? {} : { position: at } });
              if (at !== undefined) put(id, at);
            } else {
              await api.call("DELETE", `/l7policies/${id}`);
              order = without(id);
            }
            await api.reconciler.settle();
            await expectOrder(api, listener, order);
          }
        }),
        { numRuns: 12 },
      );
    },
  );

  t.test(`${database.name}: policies made at once for the same position have one each`, async (t) => {
    const api = await startApi(t, database);
    const { listener, policy } = await api.graph();
    const l7policy = { listener_id: listener, action: "REJECT", position: 1 };
    const answers = await Promise.all(Array.from({ length: 8 }, () => api.call("POST", "/l7policies", { l7policy })));
    for (const { status, text } of answers) t.equal(status, 201, text);
    const shown = await listed(api, listener);
    t.strictSame(
      shown.map((each) => each.position),
      Array.from({ length: 9 }, (_, i) => i + 1),
    );
    t.equal(shown.at(-1)?.id, policy, "the one that was there first is the last now");
  });
}

async function listed(api: TestApi, listener: string): Promise<Json[]> {
  return objects(await api.call("GET", `/l7policies?listener_id=${listener}&sort=position`), "l7policies");
}

/** @throws unless the listener's policies are these, at 1 to n */
async function expectOrder(api: TestApi, listener: string, order: readonly string[]): Promise<void> {
  const found = (await listed(api, listener)).map(({ id, position }) => `${position} ${id}`);
  const wanted = order.map((id, i) => `${i + 1} ${id}`);
  const shown = objects({ body: await api.show("listener", `/listeners/${listener}`), text: "" }, "l7policies");
  if (found.join() !== wanted.join()) throw new Error(`the policies are ${found}, not ${wanted}`);
  if (shown.map(({ id }) => id).join() !== order.join()) throw new Error("the listener shows another order");
}
