/** Certificates of amphorae: renewed in time, replaced with their authority, and taken back when they have expired. */
import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { createServer } from "node:tls";
import pino from "pino";
import t, { type Test } from "tap";
import { AGENT_PORT, type CertificateBundle } from "../../agent/protocol.ts";
import { Authorities, replaceAuthority } from "../../controller/amphorae/authorities.ts";
import { Authority } from "../../controller/amphorae/authority.ts";
import { AgentClient, UnreachableError } from "../../controller/amphorae/client.ts";
import { type Amphora, amphora } from "../../controller/model/amphora.ts";
import { loadBalancer } from "../../controller/model/load-balancer.ts";
import { CertificateWatch } from "../../controller/reconcile/certificates.ts";
import { KEY_BYTES, Vault } from "../../controller/secrets/vault.ts";
import { keepFirst, listAuthorities, promoteNext } from "../../controller/store/authorities.ts";
import { claimCertificate, dueCertificates, endClaim } from "../../controller/store/certificates.ts";
import { findRow, timestamp, updateRow } from "../../controller/store/rows.ts";
import { startAgent } from "../support/agent.ts";
import { databases, SQLITE, type TestDatabase } from "../support/postgres.ts";
import { aLoadBalancer, anAmphora, insertAll } from "../support/tree.ts";

const log = pino({ level: "silent" });
const DAY = 24 * 3600 * 1000;
const DAYS = 30;
/** Days: certificates have whole seconds, and what is done before it ends must be done in them. */
const SHORT = 6 / (24 * 3600);

for (const database of databases(t)) {
  t.test(`${database.name}: two controllers that begin at once have one authority`, async (t) => {
    const store = await database.open(t);
    const vault = new Vault(randomBytes(KEY_BYTES));
    const both = await Promise.all([Authorities.open(store, vault), Authorities.open(store, vault)]);
    t.equal(new Set(both.map(({ trusted }) => trusted)).size, 1);
  });

  t.test(`${database.name}: of several first authorities one is kept, however close they come`, async (t) => {
    const store = await database.open(t);
    for (let round = 0; round < 50; round++) {
      await store.db.deleteFrom("authorities").execute();
      const all = ["a", "b", "c", "d", "e", "f", "g", "h"];
      await Promise.all(all.map((certificate) => keepFirst(store, { certificate, key: "sealed" })));
      t.equal((await listAuthorities(store.db)).length, 1);
    }
  });

  t.test(`${database.name}: of several that replace the authority at once, one does`, async (t) => {
    const store = await database.open(t);
    const vault = new Vault(randomBytes(KEY_BYTES));
    await Authorities.open(store, vault);
    const done = await Promise.all([1, 2, 3].map(() => replaceAuthority(store, vault)));
    t.strictSame(done.sort(), [false, false, true]);
    t.equal((await listAuthorities(store.db)).length, 2);
  });

  t.test(`${database.name}: what is due is one controller's, until it is done or its time is over`, async (t) => {
    const store = await database.open(t);
    const stamp = "what holds";
    const add = async (values: Partial<Amphora>) => {
      const lb = aLoadBalancer();
      const row = anAmphora(lb, values);
      await insertAll(store, loadBalancer, lb);
      await insertAll(store, amphora, row);
      return row.id;
    };
    const id = await add({});
    const soon = await add({ authorities: stamp, cert_expiration: timestamp(Date.now() + DAY) });
    const fresh = await add({ authorities: stamp, cert_expiration: timestamp(Date.now() + 20 * DAY) });
    for (const values of [{ retiring: true }, { suspected_at: 1 }, { status: "ERROR" }] as const) await add(values);
    const wanted = { stamp, halfLife: Date.now() + 15 * DAY };
    const due = async () => (await dueCertificates(store, wanted)).map((row) => row.id).sort();
    t.strictSame(await due(), [id, soon].sort(), "silent ones and those that go are left alone");
    t.equal(await claimCertificate(store, fresh, wanted), null);
    const claims = await Promise.all([1, 2, 3].map(() => claimCertificate(store, id, wanted)));
    const [since = 0, ...more] = claims.filter((claim) => claim !== null);
    t.strictSame(more, [], "of three, one has it");
    const expires = new Date(Date.now() + DAYS * DAY);
    t.ok(await endClaim(store, id, since, { stamp, expires }));
    t.equal(await claimCertificate(store, id, wanted), null, "who saw it due before does not do it again");

    const lost = (await claimCertificate(store, soon, wanted)) ?? 0;
    await updateRow(store.db, amphora, soon, { cert_busy_since: lost - 100_000 });
    t.not(await claimCertificate(store, soon, wanted), null, "whoever had it is taken to be dead");
    t.notOk(await endClaim(store, soon, lost - 1, { stamp, expires }), "it is not");
    t.match(await findRow(store.db, amphora, soon), { authorities: null, cert_busy: true }, "it is done once more");
  });

  t.test(`${database.name}: a certificate is renewed at half its life, by one of several controllers`, async (t) => {
    const { controller, row, change, put } = await scene(t, database);
    const [one, two] = [await controller(), await controller()];
    await Promise.all([one.watch.look(), two.watch.look()]);
    t.equal(put.length, 1);
    const { cert_expiration, cert_busy, authorities } = await row();
    t.match(String(cert_expiration), timestamp(Date.now() + DAYS * DAY).slice(0, 10));
    t.match({ cert_busy, authorities }, { cert_busy: false, authorities: one.authorities.stamp });
    await one.watch.look();
    t.equal(put.length, 1, "not before");
    await change({ cert_expiration: timestamp(Date.now() + (DAYS / 2 - 1) * DAY) });
    await Promise.all([one.watch.look(), two.watch.look()]);
    t.equal(put.length, 2);
    await change({ authorities: null, cert_busy: true, cert_busy_since: Date.now() - 10_000 });
    await one.watch.look();
    t.equal(put.length, 2, "another is at it");
    await change({ cert_busy_since: Date.now() - 100_000 });
    await one.watch.look();
    t.equal(put.length, 3, "which has died");
    t.equal((await row()).cert_busy, false);
  });

  t.test(
    `${database.name}: another authority takes the place of the first, and agents are spoken to all the while`,
    async (t) => {
      const { store, vault, controller, agent } = await scene(t, database);
      const { watch, client, authorities } = await controller();
      const states = () => authorities.rows.map(({ state }) => state).sort();
      await watch.look();
      const first = authorities.trusted;
      const before = (await authorities.issueController()).bundle;
      t.ok(await replaceAuthority(store, vault));
      t.notOk(await replaceAuthority(store, vault), "one at a time");
      const speaks = () => client.info({ amphoraId: agent.id, address: agent.address });
      const seen: string[] = [];
      for (let n = 0; n < 6; n++) {
        await watch.look();
        await speaks();
        seen.push(states().join());
      }
      t.strictSame([...new Set(seen)], ["next,signing", "former,signing", "signing"]);
      t.not(authorities.trusted, first);
      t.notOk(authorities.trusted.includes(first), "nobody believes the first one any more");
      await t.rejects(agent.call("GET", "/v1/info", undefined, { as: before, ca: authorities.trusted }));
    },
  );
}

t.test("what can't be reached is left alone for a while, and is not busy meanwhile", async (t) => {
  const { controller, row, agent, put } = await scene(t, SQLITE);
  const { watch } = await controller();
  await agent.end("SIGKILL");
  await watch.look();
  t.equal((await row()).cert_busy, false);
  await watch.look();
  t.equal(put.length, 1);
});

t.test("a controller that was stopped does not take an amphora back to a former step", async (t) => {
  const { controller, store, vault, row, put } = await scene(t, SQLITE);
  const { watch, authorities } = await controller();
  const refresh = authorities.refresh.bind(authorities);
  let times = 0;
  // the authority is replaced after it has looked, and has claimed what it found due
  authorities.refresh = async () => {
    if (++times === 2) await replaceAuthority(store, vault);
    return refresh();
  };
  await watch.look();
  t.strictSame(put, []);
  t.match(await row(), { cert_busy: false, authorities: null });
  await watch.look();
  t.match(await row(), { authorities: authorities.stamp });
});

t.test("what is issued while authorities are read again is of the step that its stamp names", async (t) => {
  const store = await SQLITE.open(t);
  const vault = new Vault(randomBytes(KEY_BYTES));
  const authorities = await Authorities.open(store, vault);
  await replaceAuthority(store, vault);
  await authorities.refresh();
  await promoteNext(store);
  const before = authorities.stamp;
  const during: string[] = [];
  const from = Authority.from.bind(Authority);
  t.intercept(Authority, "from", {
    value: (text: Parameters<typeof from>[0]) => {
      during.push(authorities.stamp);
      return from(text);
    },
  });
  t.equal(await authorities.refresh(), true);
  t.strictSame(during, [before]);
  t.not(authorities.stamp, before);
});

t.test("those that are about to go keep what they have", async (t) => {
  const { controller, change, put } = await scene(t, SQLITE);
  const { watch } = await controller();
  await change({ retiring: true });
  await watch.look();
  await change({ retiring: false, status: "ERROR" });
  await watch.look();
  t.equal(put.length, 0);
});

t.test("an amphora whose certificate has expired is taken back", async (t) => {
  const { controller, agent, row } = await scene(t, SQLITE);
  const { watch, client, authorities } = await controller();
  const to = { amphoraId: agent.id, address: agent.address };
  const { bundle, expires } = await authorities.issueAmphora(agent.id, SHORT);
  await client.putCertificate(to, bundle);
  // a connection that was made before would go on
  client.useIdentity((await authorities.issueController()).bundle);
  await sleep(expires.getTime() - Date.now() + 1100);
  await t.rejects(client.info(to), /expired/);
  await watch.look();
  await client.info(to);
  t.equal((await row()).authorities, authorities.stamp);
});

t.test("nothing is sent to what only looks like an expired amphora", async (t) => {
  const { controller } = await scene(t, SQLITE);
  const { client, authorities } = await controller();
  const id = randomUUID();
  const address = "127.0.9.9";
  const stranger = await Authority.make();
  const identities: Record<string, CertificateBundle> = {
    "another authority's": (await stranger.issueAmphora(id, -1 / 48)).bundle,
    "another amphora's": (await authorities.issueAmphora(randomUUID(), -1 / 48)).bundle,
    "a controller's": (await authorities.issueController(-1 / 48)).bundle,
  };
  for (const [whose, { certificate, key }] of Object.entries(identities)) {
    let received = 0;
    const server = createServer({ cert: certificate, key }, (socket) => {
      socket.on("data", (chunk: Buffer) => {
        received += chunk.length;
      });
      socket.on("error", () => undefined);
    });
    await once(server.listen(AGENT_PORT, address), "listening");
    const { bundle } = await authorities.issueAmphora(id, 1);
    await t.rejects(client.takeBack({ amphoraId: id, address }, bundle), UnreachableError, whose);
    t.equal(received, 0, whose);
    await new Promise((resolve) => server.close(resolve));
  }
});

/** A store, an agent that believes its authority, and controllers as many as wanted. */
async function scene(t: Test, database: TestDatabase) {
  const store = await database.open(t);
  const vault = new Vault(randomBytes(KEY_BYTES));
  const agent = await startAgent(t);
  const lb = aLoadBalancer();
  const its = { ...anAmphora(lb, { lb_network_ip: agent.address }), id: agent.id };
  await insertAll(store, loadBalancer, lb);
  await insertAll(store, amphora, its);
  const { bundle } = await (await Authorities.open(store, vault)).issueAmphora(agent.id, DAYS);
  await agent.call("PUT", "/v1/certificate", bundle);
  const put: string[] = [];
  const controller = async () => {
    const authorities = await Authorities.open(store, vault);
    const client = new AgentClient((await authorities.issueController()).bundle);
    t.teardown(() => client.close());
    const watch = new CertificateWatch({
      store,
      authorities,
      client: {
        putCertificate: (to, bundle) => {
          put.push(to.amphoraId);
          return client.putCertificate(to, bundle);
        },
        takeBack: (to, bundle) => client.takeBack(to, bundle),
        useIdentity: (identity) => client.useIdentity(identity),
      },
      days: DAYS,
      formerFor: -1,
      log,
    });
    return { authorities, client, watch };
  };
  return {
    store,
    vault,
    agent,
    put,
    controller,
    row: async (): Promise<Amphora> => {
      const found = await findRow(store.db, amphora, agent.id);
      if (found === undefined) throw new Error("the row is gone");
      return found;
    },
    change: (values: Partial<Amphora>) => updateRow(store.db, amphora, agent.id, values),
  };
}
