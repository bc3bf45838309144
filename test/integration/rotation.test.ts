/** Certificates that change behind the references to them: found by looking, carried out without anybody's waiting. */
import t from "tap";
import { TlsError } from "../../controller/certificates/tls.ts";
import { MetricsServer } from "../../controller/metrics.ts";
import type { Json } from "../support/api.ts";
import { ask, replace, store, storeContainer } from "../support/key-manager.ts";
import { type Issued, Openssl } from "../support/openssl.ts";
import { databases, SQLITE } from "../support/postgres.ts";
import { World } from "../support/rotation.ts";

const openssl = await Openssl.make(t);
const [first, second] = [await openssl.issue("/CN=first"), await openssl.issue("/CN=second")];
const pem = ({ certificate, key }: Issued) => certificate + key;

for (const database of databases(t)) {
  t.test(`${database.name}: a replaced certificate raises the revision once, and nobody has to wait`, async (t) => {
    const world = await World.make(t, database);
    const secret = await store(world.api, pem(first));
    const lb = await world.served({ default_tls_container_ref: secret });
    const before = await world.row(lb);
    for (let i = 0; i < 2; i++) await world.look();
    t.strictSame(await world.row(lb), before, "nothing has changed");
    await replace(world.api, secret, pem(second));
    await Promise.all([world.look(), world.look()]);
    await world.look();
    const after = await world.row(lb);
    t.strictSame([after.revision, after.provisioning_status], [before.revision + 1, "ACTIVE"]);
    t.ok((after.due_at ?? 0) > 0, "the reconciler is to carry it out");
    t.equal(after.updated_at, before.updated_at);
    const renamed = await world.api.call("PUT", `/loadbalancers/${lb}`, { loadbalancer: { name: "x" } });
    t.equal(renamed.status, 202, "a change meanwhile is taken at once");
    await world.serve(lb);
    await world.look();
    t.equal((await world.row(lb)).revision, after.revision + 1, "and that is that");
    t.match((await world.material(lb)).certificates.get(secret)?.certificate, second.certificate.trim());
  });

  t.test(`${database.name}: what can't be used, or is gone, changes nothing`, async (t) => {
    const world = await World.make(t, database);
    const secret = await store(world.api, pem(first));
    const parts = { certificate: first.certificate, private_key: first.key };
    const container = await storeContainer(world.api, parts);
    const [alone, together] = [
      await world.served({ default_tls_container_ref: secret }),
      await world.served({ default_tls_container_ref: container }),
    ];
    const revisions = async () => [(await world.row(alone)).revision, (await world.row(together)).revision];
    const [one = 0, two = 0] = await revisions();
    await world.overwrite(secret, "nonsense");
    const { secret_refs } = (await ask(world.api, "GET", container)).body;
    const part = (name: string) => String((secret_refs as Json[]).find((each) => each.name === name)?.secret_ref);
    await replace(world.api, part("certificate"), second.certificate);
    await world.look();
    await world.look();
    t.strictSame(await revisions(), [one, two]);
    t.equal(
      world.warnings.filter((each) => each.msg?.includes("replaced by what can't be used")).length,
      2,
      "each told once",
    );
    t.match(
      world.warnings.map(({ reason }) => reason).join("\n"),
      /listener .*, default_tls_container_ref http.*: It is neither PEM/,
    );
    t.match(world.warnings.map(({ reason }) => reason).join("\n"), "The private key belongs to another certificate");
    await replace(world.api, part("private_key"), second.key);
    await world.look();
    t.strictSame(await revisions(), [one, two + 1], "both halves of the new one are there");
    await world.serve(together);
    await ask(world.api, "DELETE", part("certificate"));
    await ask(world.api, "DELETE", secret);
    await world.look();
    t.strictSame(await revisions(), [one, two + 1], "what is served stays");
    await t.rejects(world.material(alone), TlsError);
    await t.rejects(world.material(alone), {
      message: /^listener .*, default_tls_container_ref .*: It can't be retrieved/,
    });
    await t.rejects(world.material(together), { message: /It can't be retrieved|no secret certificate/ });
  });

  t.test(`${database.name}: an authority waits for its list of revoked certificates, and this for it`, async (t) => {
    const world = await World.make(t, database);
    const [former, next] = [
      await openssl.issue("/CN=former", { isAuthority: true }),
      await openssl.issue("/CN=next", { isAuthority: true }),
    ];
    const [oldList, newList] = [await openssl.revocations(former, []), await openssl.revocations(next, [])];
    const [ca, crl] = [await store(world.api, former.certificate), await store(world.api, oldList)];
    const lb = await world.served({
      default_tls_container_ref: await store(world.api, pem(first)),
      client_authentication: "MANDATORY",
      client_ca_tls_container_ref: ca,
      client_crl_container_ref: crl,
    });
    const { revision } = await world.row(lb);
    const steps = [
      [ca, next.certificate, 0],
      [crl, newList, 1],
      [crl, oldList, 1],
      [ca, former.certificate, 2],
    ] as const;
    for (const [secret, payload, raised] of steps) {
      await replace(world.api, secret, payload);
      await world.look();
      t.equal((await world.row(lb)).revision, revision + raised);
      if ((await world.row(lb)).due_at !== null) await world.serve(lb);
    }
    t.match(world.warnings, [
      { reason: /client_crl_container_ref .*: The list of revoked certificates is not signed/ },
    ]);
  });

  t.test(`${database.name}: looking takes as many statements for many load balancers as for one`, async (t) => {
    let statements = 0;
    const world = await World.make(t, database, () => statements++);
    const secret = await store(world.api, pem(first));
    const count = async () => {
      statements = 0;
      await world.look();
      return statements;
    };
    await world.served({ default_tls_container_ref: secret });
    const few = await count();
    for (let i = 0; i < 20; i++) await world.served({ default_tls_container_ref: await store(world.api, pem(first)) });
    t.equal(await count(), few);
  });
}

t.test("what expires is told once a day, and measured", async (t) => {
  const world = await World.make(t, SQLITE);
  const soon = await openssl.issue("/CN=soon", { days: { from: -1, to: 3 } });
  const old = await openssl.issue("/CN=old", { days: { from: -9, to: -2 } });
  const secret = await store(world.api, pem(soon));
  const lb = await world.served({
    default_tls_container_ref: secret,
    sni_container_refs: [await store(world.api, pem(first))],
  });
  for (let i = 0; i < 3; i++) await world.look();
  t.match(world.warnings, [{ msg: "what TLS uses expires soon", days: 2, attribute: "default_tls_container_ref" }]);
  t.equal(world.warnings.length, 1);
  await world.overwrite(secret, pem(old));
  await world.look();
  await world.serve(lb);
  await world.look();
  t.match(world.warnings[1], { msg: "what TLS uses has expired", days: -3, loadbalancer: lb });
  t.equal((await world.row(lb)).provisioning_status, "ACTIVE", "it is served all the same");
  const metrics = new MetricsServer("127.0.0.1", 9877, world.api.store, null);
  await metrics.start();
  t.teardown(() => metrics.stop());
  const text = await (await fetch("http://127.0.0.1:9877/metrics")).text();
  const days = new Map(
    [...text.matchAll(/^amphora_certificate_days_left\{.*kind="listener".*attribute="(\w+)"\} (\S+)$/gm)].map(
      (each) => [each[1], Number(each[2])],
    ),
  );
  t.equal(Math.round(days.get("default_tls_container_ref") ?? 0), -2);
  t.equal(Math.round(days.get("sni_container_refs") ?? 0), 365);
});
