/** The generator as a command, for anybody. */
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import t from "tap";

const ROOT = join(import.meta.dirname, "../..");

t.test("amphora-agent render needs neither root nor network", async (t) => {
  const out = await mkdtemp(join(tmpdir(), "amphora-render-"));
  t.teardown(() => rm(out, { recursive: true }));
  await chmod(out, 0o777);
  const nobody = ["--net", "--", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"];
  const { stdout } = await execa("unshare", [
    ...nobody,
    ...["env", "-u", "NODE_OPTIONS", join(ROOT, "agent/amphora-agent")],
    ...["render", join(ROOT, "templates/examples/http/spec.json"), "--out", out, "--check"],
  ]);
  t.match(stdout, /checked by HAProxy: valid/);
  t.match(await readFile(join(out, "haproxy/haproxy.cfg"), "utf8"), /^frontend 33333333-3333-4333-8333-333333333333$/m);
});
