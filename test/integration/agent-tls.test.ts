/** Only the controller can talk to an agent: mutual TLS 1.3, and its name in a certificate of the agent's authority. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import { join } from "node:path";
import { connect, TLSSocket } from "node:tls";
import { execa } from "execa";
import t, { type Test } from "tap";
import { AGENT_PORT, agentName, type CertificateBundle } from "../../agent/protocol.ts";
import { Authority } from "../../controller/amphorae/authority.ts";
import { startAgent, type TestAgent } from "../support/agent.ts";
import { idOf } from "../support/specs.ts";

const agent = await startAgent(t);
const other = await Authority.make();
const amphora = async (id: string) => (await agent.authority.issueAmphora(id, 1)).bundle;

const STRANGERS: Record<string, CertificateBundle | null> = {
  "nobody, without a certificate": null,
  "another authority's controller": (await other.issueController()).bundle,
  "the amphora itself": await amphora(agent.id),
  "another amphora": await amphora(idOf("amphora")),
  "a client of this authority with another name": await clientNamed("amphora-controller.example"),
};

t.test("the controller is served", async (t) => {
  t.equal((await agent.call("GET", "/v1/info")).status, 200);
});

for (const [who, as] of Object.entries(STRANGERS)) {
  t.test(`${who} is refused`, async (t) => {
    for (const [method, path] of [
      ["GET", "/v1/info"],
      ["PUT", "/v1/spec"],
      ["GET", "/metrics"],
    ] as const) {
      const body = method === "PUT" ? {} : undefined;
      await t.rejects(agent.call(method, path, body, { as }), { message: /alert|ECONNRESET|hang up/ }, path);
    }
    t.equal((await agent.call("GET", "/v1/info")).status, 200, "the controller is served still");
  });
}

t.test("TLS 1.2 is refused, even to the controller", async (t) => {
  await t.rejects(agent.call("GET", "/v1/info", undefined, { maxVersion: "TLSv1.2" }), {
    message: /alert protocol version/,
  });
});

t.test("without TLS there is nothing", async (t) => {
  await t.rejects(fetch(`http://${agent.address}:${AGENT_PORT}/v1/info`));
});

t.test("an agent proves to be the amphora that was meant", async (t) => {
  const { certificate, key, ca } = agent.controller;
  const options = { host: agent.address, port: AGENT_PORT, cert: certificate, key, ca };
  const name = (servername: string) =>
    new Promise<boolean>((resolve) => {
      const socket = connect({ ...options, servername }, () => socket.end(() => resolve(true)));
      socket.on("error", () => resolve(false));
    });
  t.equal(await name(agentName(agent.id)), true);
  t.equal(await name(agentName(idOf("amphora"))), false);
});

t.test("a new certificate is shown to whoever connects next, and open connections go on", async (t) => {
  const agent = await startAgent(t);
  const open = new KeptConnection(t, agent);
  const before = await open.ask();
  const bundle = (await agent.authority.issueAmphora(agent.id, 2)).bundle;
  t.equal((await agent.call("PUT", "/v1/certificate", bundle)).status, 200);
  t.equal(await open.ask(), before, "over the same connection");
  t.not(await new KeptConnection(t, agent).ask(), before, "a new one is shown the new certificate");
});

t.test("the new certificate outlives the agent", async (t) => {
  const agent = await startAgent(t);
  const bundle = (await agent.authority.issueAmphora(agent.id, 2)).bundle;
  await agent.call("PUT", "/v1/certificate", bundle);
  const shown = await new KeptConnection(t, agent).ask();
  await agent.end("SIGKILL");
  await agent.start();
  t.equal(await new KeptConnection(t, agent).ask(), shown);
});

t.test("a bundle that would not serve is refused, and the old one stays in use", async (t) => {
  const agent = await startAgent(t);
  const before = await new KeptConnection(t, agent).ask();
  const good = (await agent.authority.issueAmphora(agent.id, 2)).bundle;
  const bad: [what: string, bundle: unknown, message: RegExp][] = [
    ["expired", (await agent.authority.issueAmphora(agent.id, -1 / 48)).bundle, /expired/],
    ["another amphora's", (await agent.authority.issueAmphora(idOf("amphora"), 2)).bundle, /does not name/],
    ["with another key", { ...good, key: agent.controller.key }, /is not the key/],
    ["with another authority", { ...good, ca: other.certificate }, /is not signed by ca/],
    ["without key", { certificate: good.certificate, ca: good.ca }, /key/],
  ];
  for (const [what, bundle, message] of bad) {
    const { status, text } = await agent.call("PUT", "/v1/certificate", bundle);
    t.equal(status, 422, what);
    t.match(text, message, what);
    t.notMatch(text, good.key.split("\n")[1] ?? "", "no answer holds a key");
    t.equal(await new KeptConnection(t, agent).ask(), before, what);
  }
  await agent.end("SIGKILL");
  await agent.start();
  t.equal(await new KeptConnection(t, agent).ask(), before, "nor is a bad one kept");
});

t.test("an authority is replaced with the certificate: the old one's controller is refused then", async (t) => {
  const agent = await startAgent(t);
  const successor = await Authority.make();
  const { bundle } = await successor.issueAmphora(agent.id, 2);
  t.equal((await agent.call("PUT", "/v1/certificate", bundle)).status, 200);
  const controller = (await successor.issueController()).bundle;
  t.equal((await agent.call("GET", "/v1/info", undefined, { as: controller, ca: successor.certificate })).status, 200);
  await t.rejects(agent.call("GET", "/v1/info", undefined, { ca: successor.certificate }));
});

t.test("with two authorities in its bundle, the controllers of both are served", async (t) => {
  const agent = await startAgent(t);
  const successor = await Authority.make();
  const both = `${agent.authority.certificate}\n${successor.certificate}`;
  const ask = (as: CertificateBundle) => agent.call("GET", "/v1/info", undefined, { as, ca: both });
  for (const signer of [agent.authority, successor]) {
    const { bundle } = await signer.issueAmphora(agent.id, 2, both);
    t.equal((await agent.call("PUT", "/v1/certificate", bundle, { ca: both })).status, 200);
    t.equal((await ask(agent.controller)).status, 200);
    t.equal((await ask((await successor.issueController()).bundle)).status, 200);
  }
});

/** A certificate for clients, signed by the agent's authority, as no controller's authority issues them. */
async function clientNamed(name: string): Promise<CertificateBundle> {
  const folder = join(agent.folder, "client");
  await mkdir(folder);
  const { certificate: ca, key } = await agent.authority.text();
  await writeFile(join(folder, "ca.pem"), ca);
  await writeFile(join(folder, "ca.key"), key);
  const openssl = (args: string) => execa("openssl", args.split(" "), { cwd: folder });
  await writeFile(join(folder, "extensions"), "extendedKeyUsage=clientAuth\n");
  await openssl(
    `req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=${name} -keyout own.key -out own`,
  );
  await openssl("x509 -req -in own -CA ca.pem -CAkey ca.key -days 1 -extfile extensions -out own.pem");
  const [certificate, own] = await Promise.all(
    ["own.pem", "own.key"].map((file) => readFile(join(folder, file), "utf8")),
  );
  return { certificate: certificate ?? "", key: own ?? "", ca };
}

/** One connection that is used again and again. */
class KeptConnection {
  readonly #agent: Agent;
  readonly #to: TestAgent;
  #used = 0;

  constructor(t: Test, to: TestAgent) {
    const { certificate, key, ca } = to.controller;
    this.#agent = new Agent({ keepAlive: true, maxSockets: 1, cert: certificate, key, ca });
    this.#to = to;
    t.teardown(() => this.#agent.destroy());
  }

  /** Asks over it. @returns the fingerprint of the certificate that it was shown @throws when it is another one */
  ask(): Promise<string> {
    const options = { agent: this.#agent, host: this.#to.address, port: AGENT_PORT, path: "/v1/info" };
    return new Promise((resolve, reject) => {
      const call = request({ ...options, servername: agentName(this.#to.id) }, (response) => {
        response.resume().on("end", () => {
          if (call.reusedSocket !== this.#used++ > 0) reject(new Error("this was another connection"));
          resolve(fingerprint);
        });
      });
      let fingerprint = "";
      call.on("socket", (socket) => {
        const known = () => {
          if (socket instanceof TLSSocket) fingerprint = socket.getPeerCertificate().fingerprint256;
        };
        if (call.reusedSocket) known();
        else socket.once("secureConnect", known);
      });
      call.on("error", reject);
      call.end();
    });
  }
}
