/** An instance without a config drive asks the metadata service, and says what that lacks. */
import { readFile } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import { join } from "node:path";
import { execa } from "execa";
import t, { type Test } from "tap";
import { Authority } from "../../controller/amphorae/authority.ts";
import { AGENT_MAIN, productEnv } from "../support/agent.ts";
import { idOf } from "../support/specs.ts";

const SERVICE = "169.254.169.254";
const ID = idOf("amphora");

/** The service, in this test's own network namespace. */
async function serve(t: Test, listener: RequestListener): Promise<void> {
  await execa("ip", ["address", "replace", `${SERVICE}/32`, "dev", "lo"]);
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(80, SERVICE, resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
}

function bootstrap(folder: string) {
  const args = ["bootstrap", "--config", join(folder, "agent.json"), "--state", join(folder, "state")];
  const options = { env: productEnv(), extendEnv: false, reject: false, timeout: 60_000 } as const;
  return execa(process.execPath, [AGENT_MAIN, ...args], options);
}

t.test("what the service tells makes an instance an amphora", async (t) => {
  const folder = t.testdir();
  const authority = await Authority.make();
  const document = {
    amphora_id: ID,
    controllers: [{ address: "192.0.2.1" }],
    heartbeat_key: Buffer.alloc(32, 7).toString("base64"),
    identity: (await authority.issueAmphora(ID, 1)).bundle,
  };
  await serve(t, ({ url }, response) => {
    if (url === "/openstack/latest/user_data") response.end(JSON.stringify(document));
    else response.writeHead(404).end();
  });
  t.match(await bootstrap(folder), { exitCode: 0, stdout: `this is amphora ${ID}` });
  t.match(JSON.parse(await readFile(join(folder, "agent.json"), "utf8")), { amphora_id: ID });
});

const FAULTS: Record<string, [listener: RequestListener, message: RegExp]> = {
  "knows nothing": [(_, response) => response.writeHead(404).end(), /has neither a file .* nor user data/],
  "is broken": [(_, response) => response.writeHead(500).end(), /answers 500 for latest\/meta_data\.json/],
  "does not answer": [() => undefined, /does not answer: .*timeout/],
  "cuts its answer short": [
    (_, response) => {
      response.writeHead(200, { "content-length": 100 }).write("{");
      setTimeout(() => response.destroy(), 50);
    },
    /does not answer: /,
  ],
};
for (const [what, [listener, message]] of Object.entries(FAULTS)) {
  t.test(`a service that ${what} is one clear line`, async (t) => {
    await serve(t, listener);
    const { exitCode, stderr } = await bootstrap(t.testdir());
    t.equal(exitCode, 1);
    t.match(
      stderr,
      /^amphora-agent: there is no config drive \(.*\), and the metadata service http:\/\/169\.254\.169\.254: [^\n]*$/,
    );
    t.match(stderr, message);
  });
}
