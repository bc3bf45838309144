/** Settings that can't be used are refused with the file, the field and what is wrong with it. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { type AgentSettings, readSettings } from "../../agent/settings.ts";
import { idOf } from "../support/specs.ts";

const MINIMAL = {
  amphora_id: idOf("amphora"),
  listen: { address: "192.0.2.10" },
  controllers: [{ address: "192.0.2.1" }],
  heartbeat_key_file: "/etc/amphora/heartbeat.key",
  identity_file: "/etc/amphora/identity.json",
};

t.test("what may be left out has the place it has on an instance", async (t) => {
  t.strictSame(await settings(t.testdir(), MINIMAL), {
    ...MINIMAL,
    listen: { address: "192.0.2.10", port: 9443 },
    controllers: [{ address: "192.0.2.1", port: 5555 }],
    heartbeat_interval_ms: 3000,
    namespace: "amphora",
    config_dir: "/etc/amphora",
    run_dir: "/run/amphora",
    state_dir: "/var/lib/amphora",
    haproxy: "/usr/sbin/haproxy",
    hard_stop_after_s: 1800,
    keepalived: "/usr/sbin/keepalived",
    catch_up_limit_ms: 15_000,
  });
});

const FAULTS: Record<string, [document: object, message: RegExp]> = {
  "an unknown setting": [{ ...MINIMAL, namesapce: "x" }, /: document: .*namesapce/],
  "a missing setting": [{ ...MINIMAL, amphora_id: undefined }, /: amphora_id: /],
  "an address that is none": [{ ...MINIMAL, listen: { address: "localhost" } }, /: listen\.address: must be an IP/],
  "a port that is none": [{ ...MINIMAL, listen: { address: "192.0.2.10", port: 0 } }, /: listen\.port: /],
  "no controller": [{ ...MINIMAL, controllers: [] }, /: controllers: /],
  "a controller of the other family": [
    { ...MINIMAL, controllers: [{ address: "192.0.2.1" }, { address: "fd00::1" }] },
    /: controllers\.1\.address: .*listen\.address, 192\.0\.2\.10/,
  ],
  "a relative path": [{ ...MINIMAL, run_dir: "run" }, /: run_dir: /],
  "a path too long for HAProxy's sockets": [{ ...MINIMAL, run_dir: `/${"a".repeat(77)}` }, /: run_dir: /],
  "a heartbeat every 99 ms": [{ ...MINIMAL, heartbeat_interval_ms: 99 }, /: heartbeat_interval_ms: /],
  "a namespace with a slash": [{ ...MINIMAL, namespace: "../x" }, /: namespace: /],
};

for (const [what, [document, message]] of Object.entries(FAULTS)) {
  t.test(`${what} is refused by name`, async (t) => {
    const folder = t.testdir();
    await t.rejects(settings(folder, document), { name: "SettingsError", message });
    await t.rejects(settings(folder, document), { message: new RegExp(`^${folder}/agent.json: `) }, "names the file");
  });
}

t.test("every fault is told at once", async (t) => {
  const document = { ...MINIMAL, run_dir: "run", namespace: "/" };
  await t.rejects(settings(t.testdir(), document), { message: /namespace: .*; .*run_dir: / });
});

t.test("a file that is not there, or no JSON, is named", async (t) => {
  const file = join(t.testdir(), "agent.json");
  await t.rejects(readSettings(file), {
    name: "SettingsError",
    message: new RegExp(`^${file}: there is no such file`),
  });
  await writeFile(file, "amphora_id: x");
  await t.rejects(readSettings(file), { name: "SettingsError", message: new RegExp(`^${file}: .*JSON`) });
});

async function settings(folder: string, document: object): Promise<AgentSettings> {
  const file = join(folder, "agent.json");
  await writeFile(file, JSON.stringify(document));
  return readSettings(file);
}
