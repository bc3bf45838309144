/** What IPVS listeners render to, the installed keepalived and nft take. The kernel need not have IPVS for that. */
import { globSync } from "node:fs";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import t, { type Test } from "tap";
import { Checkers } from "../../agent/dataplane/checkers.ts";
import { KeepalivedError } from "../../agent/dataplane/keepalived.ts";
import { checkRules, RulesError } from "../../agent/dataplane/nftables.ts";
import { layoutIn } from "../../templates/layout.ts";
import { CHECKERS_CONF, NFTABLES_RULES, render } from "../../templates/render.ts";
import { arbitraryIpvsSpec } from "../support/ipvs.ts";

const EXAMPLES = join(import.meta.dirname, "../../templates/examples");

/** keepalived runs no command that anybody but root could change, at any place of its path. */
async function folderOfRoot(t: Test): Promise<string> {
  const folder = await mkdtemp("/run/amphora-test-");
  await chmod(folder, 0o711);
  t.teardown(() => rm(folder, { recursive: true }));
  return folder;
}

function keepalivedIn(folder: string): Checkers {
  return new Checkers({
    binary: "/usr/sbin/keepalived",
    namespace: "none",
    configFile: join(folder, "checkers.conf"),
    runDir: folder,
    scriptUser: "nobody",
  });
}

t.test("keepalived takes the examples", async (t) => {
  const keepalived = keepalivedIn(await folderOfRoot(t));
  const files = globSync(`*/files/${CHECKERS_CONF}`, { cwd: EXAMPLES });
  t.ok(files.length >= 2);
  for (const file of files) {
    await t.resolves(keepalived.check(await readFile(join(EXAMPLES, file), "utf8")), file);
  }
});

t.test("nft and the kernel take the examples", async (t) => {
  const files = globSync(`*/files/${NFTABLES_RULES}`, { cwd: EXAMPLES });
  t.ok(files.length >= 2);
  for (const file of files) await t.resolves(checkRules(await readFile(join(EXAMPLES, file), "utf8")), file);
});

t.test("both take specs by chance, to the limits of every field", async (t) => {
  const folder = await folderOfRoot(t);
  const keepalived = keepalivedIn(folder);
  for (const spec of fc.sample(arbitraryIpvsSpec, 40)) {
    const files = render(spec, layoutIn("/etc/amphora", folder));
    const [checkers, rules] = [files.get(CHECKERS_CONF), files.get(NFTABLES_RULES)];
    if (checkers === undefined || rules === undefined) continue;
    await t.resolves(keepalived.check(checkers.content), checkers.content);
    await t.resolves(checkRules(rules.content), rules.content);
  }
});

t.test("both refuse what they don't understand, in their own words", async (t) => {
  const keepalived = keepalivedIn(await folderOfRoot(t));
  await t.rejects(keepalived.check("virtual_server 10.0.0.1 80 {\n    weight 1\n}\n"), KeepalivedError);
  await t.rejects(keepalived.check("global_defs {\n    no_such_word\n}\n"), { message: /no_such_word/ });
  await t.rejects(checkRules("table inet amphora {\n\tchain x { no such rule }\n}\n"), RulesError);
});

t.test("keepalived tells its version", async (t) => {
  t.match(await keepalivedIn("/nowhere").version(), /^2\.\d+\.\d+$/);
  const none = new Checkers({ binary: "/nowhere", namespace: "", configFile: "", runDir: "", scriptUser: "" });
  t.equal(await none.version(), null);
});
