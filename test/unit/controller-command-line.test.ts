import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { readCommandLine, settingsHelp } from "../../controller/command-line.ts";
import { SETTINGS, SettingsError } from "../../controller/settings.ts";

t.test("settings come from the command line, else from the file, else from their defaults", async (t) => {
  const file = await settingsFile(t, "port: 1001\nlog-level: debug\nsettle-wait-ms: 5\n");
  const { settings } = readCommandLine(["run", "--config", file, "--port", "1002"]);
  t.equal(settings.port, 1002);
  t.equal(settings["log-level"], "debug");
  t.equal(settings["settle-wait-ms"], 5);
  t.equal(settings["heartbeat-port"], SETTINGS["heartbeat-port"].default);
});

t.test("a command line is its words, its flags and its settings", async (t) => {
  const { settings, ...rest } = readCommandLine(["up", "extra", "--no-demo", "--listen=::1", "--version"]);
  t.strictSame(rest, { positionals: ["up", "extra"], help: false, version: true });
  t.equal(settings.demo, false);
  t.equal(settings.listen, "::1");
  t.equal(readCommandLine(["up", "--demo"]).settings.demo, true);
  t.equal(readCommandLine([]).settings.demo, true);
  for (const help of ["-h", "--help"]) t.equal(readCommandLine([help]).help, true);
});

t.test("texts of digits stay texts, where the setting is one", async (t) => {
  t.equal(readCommandLine(["--admin-token", "0123"]).settings["admin-token"], "0123");
  t.equal(readCommandLine(["--metrics-port", "0"]).settings["metrics-port"], 0);
});

t.test("a command line that can't be understood is told, with what is wrong", async (t) => {
  const file = await settingsFile(t, "port: 1001\n");
  const cases: [string[], RegExp][] = [
    [["--nonsense"], /--nonsense/],
    [["--port"], /--port/],
    [["--port", "x"], /^port: /],
    [["--port", "0"], /^port: /],
    [["--port", "1e3"], /^port: /],
    [["--port=-1"], /^port: /],
    [["--no-port"], /port/],
    [["--demo=1"], /--demo/],
    [["-x"], /-x/],
    [["--subnet", "10.0.0.1/24"], /^subnet: must be a network/],
    [["--subnets", "x"], /--subnets/],
    [["--log-level", "loud", "--config", file], /^log-level: /],
  ];
  for (const [args, message] of cases) t.throws(() => readCommandLine(args), faulty(message), args.join(" "));
});

t.test("a file that holds no settings is told by its name", async (t) => {
  const cases: [string, RegExp][] = [
    ["- port\n", /must hold names and values/],
    ["port\n", /must hold names and values/],
    ["port: [\n", /settings\.yaml: /],
    ["port: 1\nport: 2\n", /unique/i],
    ["a: &a [*a]\n", /settings|a: there is no such setting/],
  ];
  for (const [text, message] of cases) {
    const file = await settingsFile(t, text);
    t.throws(() => readCommandLine(["--config", file]), faulty(message), text);
  }
  t.throws(
    () => readCommandLine(["--config", "/nowhere/settings.yaml"]),
    faulty(/^config: \/nowhere\/settings\.yaml: there is no such file$/),
  );
  t.throws(() => readCommandLine(["--config", tmpdir()]), faulty(/: is a folder$/));
  const fault = await settingsFile(t, "port: 0\nnonsense: 1\n");
  t.throws(() => readCommandLine(["--config", fault]), faulty(/port: .*nonsense: there is no such setting/));
});

t.test("a file without any setting is one", async (t) => {
  for (const text of ["", "# nothing\n", "{}\n", "---\n"]) {
    const file = await settingsFile(t, text);
    t.equal(readCommandLine(["--config", file]).settings.port, SETTINGS.port.default, JSON.stringify(text));
  }
});

t.test("the help names every option that the command line takes, with what it means", async (t) => {
  const help = settingsHelp();
  for (const [name, setting] of Object.entries(SETTINGS)) {
    if ("value" in setting) {
      t.ok(help.includes(`--${name} ${setting.value} `), name);
      t.ok(help.includes(setting.doc), name);
      t.doesNotThrow(() => readCommandLine([`--${name}`, String(setting.default)]), name);
    }
  }
  t.ok(help.includes("--config FILE"));
  t.ok(help.includes("--no-demo"));
});

function faulty(message: RegExp) {
  return { constructor: SettingsError, message };
}

async function settingsFile(t: Test, text: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "amphora-settings-"));
  t.teardown(() => rm(dir, { recursive: true }));
  const file = join(dir, "settings.yaml");
  await writeFile(file, text);
  return file;
}
