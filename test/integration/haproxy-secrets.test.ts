/** Private keys: on tmpfs alone, for HAProxy alone, and yet there again after a reboot. */
import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { eventually, startAgent } from "../support/agent.ts";
import { call, Upstream } from "../support/http.ts";
import { TestAuthority } from "../support/pki.ts";
import { idOf, listener, member, pool } from "../support/specs.ts";
import { plugTenant, tenantSpec } from "../support/tenant.ts";

t.test("a key is in its file on tmpfs, for root alone, and nowhere else", async (t) => {
  const { agent, key, apply, get } = await serving(t);
  t.equal((await get()).status, 200);
  const holders = await filesWith(agent.folder, key);
  t.strictSame(holders, [`run/certificates/${idOf("certificate")}.pem`]);
  const { mode } = await stat(join(agent.folder, holders[0] ?? ""));
  t.equal(mode & 0o777, 0o600);
  for (const path of ["/v1/spec", "/v1/files", "/v1/health", "/metrics"]) {
    const { text } = await agent.call("GET", path);
    t.notOk(holds(text, key), path);
  }
  t.match(JSON.parse((await agent.call("GET", "/v1/spec")).text), { certificates: [{ private_key: null }] });
  t.match(await agent.files(), [/haproxy\.cfg$/, /\.crt-list$/]);

  const refused = await agent.refused(
    apply.next({ certificate: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" }),
  );
  t.equal(refused.status, 422);
  t.strictSame(await filesWith(agent.folder, key), holders, "a refused spec leaves none behind");
  t.notOk(holds(JSON.stringify(refused) + agent.output, key), "and no log or answer tells it");
});

t.test("a key goes with its listener", async (t) => {
  const { agent, key, apply } = await serving(t);
  await apply.plain();
  t.strictSame(await filesWith(agent.folder, key), []);
  t.strictSame(await readdir(join(agent.folder, "run/certificates")), []);
});

t.test("an instance that reboots alone comes back with its TLS", async (t) => {
  const { agent, get } = await serving(t);
  const { master } = await agent.haproxy();
  await agent.end("SIGKILL");
  process.kill(master, "SIGKILL");
  await eventually("nothing is served", async () =>
    get().then(
      () => false,
      () => true,
    ),
  );
  await rm(join(agent.folder, "run"), { recursive: true });
  await agent.start();
  await eventually("served again", async () =>
    get().then(
      ({ status }) => status === 200,
      () => false,
    ),
  );
});

t.test("another instance can't use the disk's copy, and waits for the controller", async (t) => {
  const { agent, apply, get } = await serving(t);
  await agent.end("SIGKILL");
  await writeFile(join(agent.folder, "heartbeat.key"), Buffer.alloc(32, 1));
  await agent.start();
  await eventually("it says why", async () =>
    agent.output.includes("certificates[0].private_key: was not sealed by this amphora"),
  );
  await apply.tls();
  t.equal((await get()).status, 200);
});

/** An agent that serves TLS with a key of its own. */
async function serving(t: Test) {
  const agent = await startAgent(t);
  await plugTenant(t);
  await Upstream.start(t, "a", "10.77.0.21");
  const authority = await TestAuthority.make("authority");
  const { serial: _, ...pair } = await authority.issue("CN=a.example", ["a.example"]);
  let revision = 0;
  const next = (changes: Partial<typeof pair> = {}) =>
    tenantSpec(agent, ++revision, {
      certificates: [{ id: idOf("certificate"), ...pair, ...changes }],
      listeners: [
        listener(1, {
          protocol: "TERMINATED_HTTPS",
          protocol_port: 443,
          tls: { certificate_ids: [idOf("certificate")] },
        }),
      ],
      pools: [pool(1, [member(1)])],
    });
  const apply = {
    next,
    tls: () => agent.apply(next()),
    plain: () => agent.apply(tenantSpec(agent, ++revision, { certificates: next().certificates })),
  };
  await apply.tls();
  const tls = { ca: authority.certificate, servername: "a.example" };
  return { agent, key: pair.private_key, apply, get: () => call({ tls }) };
}

/** Whether any line of the key stands in a text, whatever became of line ends. */
function holds(text: string, key: string): boolean {
  const lines = key.split("\n").filter((line) => line.length > 20 && !line.startsWith("-----"));
  return lines.some((line) => text.includes(line));
}

/** The files of an agent that hold a key, but for the test's own. */
async function filesWith(folder: string, key: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath, entry.name);
    // the agent writes files aside, before it replaces them
    const text = await readFile(file, "latin1").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return "";
      throw error;
    });
    if (holds(text, key)) found.push(file.slice(folder.length + 1));
  }
  return found;
}
