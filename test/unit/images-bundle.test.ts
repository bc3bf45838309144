/** The agent as it is in an image does what the agent here does. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { execa } from "execa";
import t from "tap";
import { addAgent } from "../../images/bundle.ts";
import { FileTree } from "../../images/tree.ts";
import packageJson from "../../package.json" with { type: "json" };
import { productEnv } from "../support/agent.ts";

const EXAMPLE = join(import.meta.dirname, "../../templates/examples/http");

t.test("the agent is one module beside its templates, and needs no other", async (t) => {
  const tree = new FileTree();
  const { modules } = await addAgent(tree);
  const again = new FileTree();
  await addAgent(again);
  t.ok(tree.read("usr/lib/amphora/agent.mjs").equals(again.read("usr/lib/amphora/agent.mjs")), "the same every time");
  t.ok(
    modules.includes("node_modules/zod") && modules.includes("node_modules/handlebars"),
    "what it is made of is known",
  );
  t.notOk(modules.includes("node_modules/koa"), "and nothing of the controller is in it");

  const folder = t.testdir();
  for (const [path, entry] of tree.entries()) {
    if (entry.type !== "file") continue;
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), entry.data);
  }
  const agent = (...args: string[]) =>
    execa(process.execPath, [join(folder, "usr/lib/amphora/agent.mjs"), ...args], {
      cwd: "/",
      env: productEnv(),
      extendEnv: false,
      reject: false,
      timeout: 30_000,
    });
  t.equal((await agent("--version")).stdout, packageJson.version);
  await agent("render", join(EXAMPLE, "spec.json"), "--out", join(folder, "out"));
  const rendered = await readFile(join(folder, "out/haproxy/haproxy.cfg"), "utf8");
  t.equal(rendered, await readFile(join(EXAMPLE, "files/haproxy/haproxy.cfg"), "utf8"));
  const bootstrap = await agent("bootstrap", "--from", join(folder, "nowhere"));
  t.match(bootstrap, { exitCode: 1, stderr: /has neither a file \/etc\/amphora\/bootstrap.json nor user data/ });
  const run = await agent("run", "--config", join(folder, "none.json"));
  t.match(
    run,
    { exitCode: 1, stderr: /none\.json: there is no such file/ },
    "every module of the agent finds its files",
  );
});
