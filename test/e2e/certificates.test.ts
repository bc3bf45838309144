/** A certificate from the key manager to a listener: served, replaced without a failed request, and gone. */
import { readdir, readFile } from "node:fs/promises";
import { Agent } from "node:https";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { Deployment, type Json, LBAAS, until } from "../support/deployment.ts";
import { call } from "../support/http.ts";
import { Machine, WEB_PORT } from "../support/machine.ts";
import { type Issued, Openssl, RSA } from "../support/openssl.ts";

/** What the API promises, and a margin for a machine under load (ms). */
const ROTATION_LIMIT = 75_000;
const KEYS = "/key-manager/v1";

t.test("a certificate that is replaced in the key manager reaches its listener, and nobody notices", async (t) => {
  const openssl = await Openssl.make(t);
  const [first, second, third] = [
    await openssl.issue("/CN=first", { key: RSA }),
    await openssl.issue("/CN=second"),
    await openssl.issue("/CN=third", { key: RSA }),
  ];
  const deployment = await Deployment.make(t);
  await deployment.start();
  const machine = await Machine.make(t, "10.77.0.201/24", "10.77.0.1");
  await machine.serve();
  const secret = await store(deployment, await openssl.bundle(first));
  const site = await makeSecureSite(deployment, secret, machine);
  const shown = (servername = "") => subject(site.vip, servername);
  t.equal(await shown(), "first");

  await t.test("within a minute, without a failed request, and without a PENDING that nobody asked for", async (t) => {
    const load = new Load(deployment, site);
    await put(deployment, secret, await openssl.bundle(second));
    await until("the listener has the second certificate", async () => (await shown()) === "second", ROTATION_LIMIT);
    await until("there was load", async () => load.requests > 50);
    await load.stop();
    t.strictSame(load.failures, []);
    t.strictSame([...load.statuses], ["ACTIVE"]);
  });

  await t.test("or with the next change, and others by the name that clients ask for", async (t) => {
    await put(deployment, secret, third.certificate + third.key);
    const named = await openssl.issue("/CN=www.example.org");
    const sni = { sni_container_refs: [await store(deployment, Buffer.from(named.certificate + named.key))] };
    await deployment.change("PUT", `${LBAAS}/listeners/${site.listener}`, { listener: sni });
    await deployment.becomes("loadbalancer", site.path, { provisioning_status: "ACTIVE" });
    t.equal(await shown(), "third");
    t.equal(await shown("www.example.org"), "www.example.org");
  });

  await t.test(
    "one that is deleted is served until something else is wanted, which then says what is missing",
    async (t) => {
      await deployment.call("DELETE", new URL(secret).pathname);
      t.equal(await shown(), "third");
      await deployment.change("PUT", `${LBAAS}/listeners/${site.listener}`, { listener: { connection_limit: 1000 } });
      const failed = await deployment.becomes("loadbalancer", site.path, { provisioning_status: "ERROR" });
      const reason = `listener ${site.listener}, default_tls_container_ref ${secret}: It can't be retrieved`;
      t.match(failed.status_reason, reason);
      t.equal(await shown(), "third", "what served goes on serving");
      const other = { default_tls_container_ref: await store(deployment, await openssl.bundle(first)) };
      await deployment.change("PUT", `${LBAAS}/listeners/${site.listener}`, { listener: other });
      const healed = await deployment.becomes("loadbalancer", site.path, { provisioning_status: "ACTIVE" });
      t.equal(healed.status_reason, null);
      t.equal(await shown(), "first");
    },
  );

  await t.test("no key is in a log, in the database, or in what is left on disk", async (t) => {
    await tellsNoKey(t, deployment, [first, second, third]);
  });
});

interface Site {
  readonly vip: string;
  readonly listener: string;
  readonly path: string;
}

async function makeSecureSite(deployment: Deployment, secret: string, machine: Machine): Promise<Site> {
  const { id, vip_address } = await deployment.create("loadbalancer", "/loadbalancers", {});
  const listener = await deployment.create("listener", "/listeners", {
    loadbalancer_id: id,
    protocol: "TERMINATED_HTTPS",
    protocol_port: 443,
    default_tls_container_ref: secret,
  });
  const pooling = { listener_id: listener.id, protocol: "HTTP", lb_algorithm: "ROUND_ROBIN" };
  const pool = await deployment.create("pool", "/pools", pooling);
  const member = { address: machine.address, protocol_port: WEB_PORT };
  await deployment.create("member", `/pools/${pool.id}/members`, member);
  const path = `/loadbalancers/${id}`;
  await deployment.becomes("loadbalancer", path, { provisioning_status: "ACTIVE" });
  return { vip: String(vip_address), listener: String(listener.id), path };
}

/** @returns the secret's URL */
async function store(deployment: Deployment, payload: Buffer): Promise<string> {
  const { status, body } = await deployment.call("POST", `${KEYS}/secrets`, {
    payload: payload.toString("base64"),
    payload_content_type: "application/octet-stream",
    payload_content_encoding: "base64",
  } satisfies Json);
  if (status !== 201) throw new Error(`storing a secret: ${status} ${JSON.stringify(body)}`);
  return String(body.secret_ref);
}

async function put(deployment: Deployment, secret: string, payload: string | Buffer): Promise<void> {
  const { status } = await fetch(secret, {
    method: "PUT",
    headers: { "x-auth-token": await deployment.token(), "content-type": "application/octet-stream" },
    body: new Uint8Array(Buffer.from(payload)),
  });
  if (status !== 204) throw new Error(`replacing a secret: ${status}`);
}

/** Whom the server's certificate is for, on a connection of its own. */
async function subject(vip: string, servername = ""): Promise<string> {
  const { secured } = await call({ host: vip, tls: { servername, rejectUnauthorized: false } });
  return secured?.server ?? "";
}

/** Requests over connections that are kept, one after the other, and looks at the load balancer's status. */
class Load {
  readonly failures: string[] = [];
  readonly statuses = new Set<unknown>();
  requests = 0;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #working: Promise<unknown>;
  #stopped = false;

  constructor(deployment: Deployment, { vip, path }: Site) {
    const ask = async () => {
      while (!this.#stopped) {
        const request = call({ host: vip, tls: { agent: this.#agent, servername: "", rejectUnauthorized: false } });
        const outcome = await request.then(
          ({ status }) => (status === 200 ? "" : `status ${status}`),
          (error: Error) => error.message,
        );
        if (outcome !== "") this.failures.push(outcome);
        this.requests++;
        await sleep(20);
      }
    };
    const look = async () => {
      while (!this.#stopped) {
        this.statuses.add((await deployment.show("loadbalancer", path)).provisioning_status);
        await sleep(20);
      }
    };
    this.#working = Promise.all([ask(), look()]);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#working;
    this.#agent.destroy();
  }
}

async function tellsNoKey(t: Test, deployment: Deployment, issued: readonly Issued[]): Promise<void> {
  const lines = issued.flatMap(({ key }) => key.split("\n").slice(1, 3));
  const entries = await readdir(deployment.dataDir, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  t.ok(files.some((file) => file.endsWith("amphora.db")) && files.some((file) => file.endsWith("controller.log")));
  for (const file of files) {
    const content = await readFile(file, "latin1");
    t.notOk(
      lines.some((line) => content.includes(line)),
      file.slice(deployment.dataDir.length),
    );
  }
}
