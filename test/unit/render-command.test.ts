/** `amphora-agent render` shows what an instance would run: the same files, and each fault on a line of its own. */
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import t from "tap";
import { HAPROXY_CFG, render } from "../../templates/render.ts";
import { AGENT_MAIN, productEnv } from "../support/agent.ts";
import { TestAuthority } from "../support/pki.ts";
import { idOf, listener, specInput, spec as specOf } from "../support/specs.ts";

/** Runs the command as a user does. */
function amphoraAgent(args: readonly string[], input = "") {
  const env = productEnv();
  return execa(process.execPath, [AGENT_MAIN, ...args], { env, extendEnv: false, input, reject: false });
}

async function specFile(folder: string, document: unknown): Promise<string> {
  const file = join(folder, "spec.json");
  await writeFile(file, typeof document === "string" ? document : JSON.stringify(document));
  return file;
}

/** Whether there is something at a path. */
function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

t.test("the files of an instance are written below --out, and named", async (t) => {
  const folder = t.testdir();
  const out = join(folder, "a/b");
  const { exitCode, stdout, stderr } = await amphoraAgent([
    "render",
    await specFile(folder, specInput()),
    "--out",
    out,
  ]);
  t.equal(stderr, "");
  t.equal(exitCode, 0);
  const files = render(specOf());
  t.strictSame(
    stdout.split("\n"),
    [...files.keys()].map((path) => join(out, path)),
  );
  for (const [path, { content, mode }] of files) {
    t.equal(await readFile(join(out, path), "utf8"), content, path);
    t.equal((await stat(join(out, path))).mode & 0o777, mode, path);
  }
});

t.test("- reads standard input", async (t) => {
  const out = join(t.testdir(), "out");
  const { exitCode, stderr } = await amphoraAgent(["render", "-", "--out", out], JSON.stringify(specInput()));
  t.equal(stderr, "");
  t.equal(exitCode, 0);
  t.equal(await readFile(join(out, HAPROXY_CFG), "utf8"), render(specOf()).get(HAPROXY_CFG)?.content);
});

t.test("an invalid spec: a line for each fault, and nothing is written", async (t) => {
  const folder = t.testdir();
  const broken = { ...specInput(), revision: 0, listeners: [listener(1, { protocol_port: 0 })] };
  const file = await specFile(folder, broken);
  const out = join(folder, "out");
  const { exitCode, stdout, stderr } = await amphoraAgent(["render", file, "--out", out]);
  t.equal(exitCode, 1);
  t.equal(stdout, "");
  const [first = "", second = "", ...more] = stderr.split("\n");
  t.strictSame(more, []);
  t.match(first, new RegExp(`^${file}: revision: \\w`));
  t.match(second, new RegExp(`^${file}: listeners\\[0\\]\\.protocol_port: \\w`));
  t.notOk(await exists(out));
});

t.test("what is no spec at all is named, and nothing is written", async (t) => {
  const folder = t.testdir();
  const file = await specFile(folder, "revision: 1");
  const out = join(folder, "out");
  for (const [spec, said] of [
    [file, `${file}: .*JSON`],
    [`${file}.missing`, `${file}.missing: there is no such file`],
    ["-", "standard input: .*JSON"],
  ] as const) {
    const { exitCode, stderr } = await amphoraAgent(["render", spec, "--out", out]);
    t.equal(exitCode, 1, spec);
    t.match(stderr, new RegExp(`^${said}`));
    t.notMatch(stderr, "\n", "one line");
  }
  t.notOk(await exists(out));
});

t.test("--check has HAProxy read the result", async (t) => {
  const folder = t.testdir();
  const file = await specFile(folder, specInput());
  const { exitCode, stdout } = await amphoraAgent(["render", file, "--out", join(folder, "out"), "--check"]);
  t.equal(exitCode, 0);
  t.match(stdout, /^checked by HAProxy: valid\n/);
});

t.test("certificates and keys are written too, for their owner alone, and --check has HAProxy read them", async (t) => {
  const folder = t.testdir();
  const { certificate, private_key } = await (await TestAuthority.make("authority")).issue("CN=www.example.org");
  const certificates = [{ id: idOf("certificate"), certificate, private_key }];
  const tls = { certificate_ids: [idOf("certificate")] };
  const listeners = [listener(1, { protocol: "TERMINATED_HTTPS", tls })];
  const file = await specFile(folder, specInput({ certificates, listeners }));
  const out = join(folder, "out");
  const { exitCode, stdout } = await amphoraAgent(["render", file, "--out", out, "--check"]);
  t.equal(exitCode, 0);
  t.match(stdout, /^checked by HAProxy: valid\n/);
  const key = join(out, `certificates/${idOf("certificate")}.pem`);
  t.match(await readFile(key, "utf8"), private_key.trim());
  t.equal((await stat(key)).mode & 0o777, 0o600);
});

t.test("--check tells what HAProxy says, and then writes nothing", async (t) => {
  const folder = t.testdir();
  const file = await specFile(folder, specInput());
  const haproxy = join(folder, "haproxy");
  await writeFile(haproxy, "#!/bin/sh\necho '[ALERT]    (7) : unknown keyword' >&2\nexit 1\n", { mode: 0o755 });
  const out = join(folder, "out");
  const { exitCode, stderr } = await amphoraAgent(["render", file, "--out", out, "--check", "--haproxy", haproxy]);
  t.equal(exitCode, 1);
  t.equal(stderr, "HAProxy refuses the result: unknown keyword");
  t.notOk(await exists(out));
});

t.test("--check where there is no HAProxy says so, and writes the files", async (t) => {
  const folder = t.testdir();
  const file = await specFile(folder, specInput());
  const args = ["render", file, "--out", join(folder, "out"), "--check", "--haproxy", "/nowhere/haproxy"];
  const { exitCode, stdout } = await amphoraAgent(args);
  t.equal(exitCode, 0);
  t.match(stdout, /^not checked: there is no \/nowhere\/haproxy\n/);
  t.ok(await exists(join(folder, "out", HAPROXY_CFG)));
});

t.test("used wrongly, it says how it is used", async (t) => {
  for (const args of [
    ["render"],
    ["render", "a", "b", "--out", "x"],
    ["render", "a"],
    ["render", "a", "--outt", "x"],
    ["rendre", "a"],
    ["run", "now"],
  ]) {
    const { exitCode, stderr } = await amphoraAgent(args);
    t.equal(exitCode, 2, args.join(" "));
    t.match(stderr, /^amphora-agent: .*\namphora-agent --help tells what there is$/s);
  }
});

t.test("it says what it is and what it can do", async (t) => {
  t.match((await amphoraAgent(["--version"])).stdout, /^\d+\.\d+\.\d+$/);
  for (const args of [[], ["--help"], ["render", "-h"]]) {
    const { exitCode, stdout } = await amphoraAgent(args);
    t.equal(exitCode, 0);
    t.match(stdout, /amphora-agent render SPEC --out DIR/);
  }
});
