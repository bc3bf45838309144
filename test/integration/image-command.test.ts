/** `npm run image`, used wrongly or interrupted: one clear line, exit code 1, and nothing left behind. */
import { once } from "node:events";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { execa } from "execa";
import t, { type Test } from "tap";
import { eventually, productEnv } from "../support/agent.ts";
import { fullFolder } from "../support/full-folder.ts";

const COMMAND = join(import.meta.dirname, "../../images/image.ts");

function image(...args: string[]) {
  return execa(process.execPath, [COMMAND, ...args], {
    env: productEnv(),
    extendEnv: false,
    reject: false,
    timeout: 60_000,
    stdin: "ignore",
  });
}

const WRONG: Record<string, [args: string[], message: RegExp]> = {
  "no architecture": [[], /--arch: say which architecture/],
  "an unknown architecture": [["--arch", "riscv64"], /unknown architecture riscv64: choose x86_64 or aarch64$/],
  "an unknown suite": [["--arch", "x86_64", "--suite", "sid"], /--suite: unknown sid: choose trixie$/],
  "an unknown format": [["--arch", "x86_64", "--format", "vmdk"], /--format: unknown vmdk: choose qcow2 or raw$/],
  "a size that is none": [["--arch", "x86_64", "--size", "2T"], /--size: "2T" is no size such as 2G or 1500M$/],
  "a size that is too small": [["--arch", "x86_64", "--size", "100M"], /--size: an image needs 256M or more$/],
  "a mirror that is none": [["--arch", "x86_64", "--mirror", "x] y"], /--mirror: "x\] y" is no http or https URL$/],
  "a mirror that does not answer": [
    ["--arch", "x86_64", "--mirror", "http://127.0.0.1:9/debian"],
    /Failed to fetch.*Connection refused/,
  ],
  "a key that is not there": [["--arch", "x86_64", "--ssh-key", "/dev/null/no.pub"], /--ssh-key: ENOTDIR/],
  "a private key": [["--arch", "x86_64", "--ssh-key", COMMAND], /--ssh-key: .* is no public key of OpenSSH$/],
  "an unknown option": [["--arch", "x86_64", "--fast"], /Unknown option '--fast'/],
  "an image that is not there": [["--check", "/dev/null/x86_64.qcow2"], /ENOTDIR/],
  "an image without an architecture": [["--check", "/etc/passwd"], /its name says no architecture/],
};
for (const [name, [args, message]] of Object.entries(WRONG)) {
  t.test(`${name} is one clear line, and exit code 1`, async (t) => {
    const out = join(t.testdir(), "out");
    const result = await image(...args, "--out", out);
    t.equal(result.exitCode, 1);
    t.match(result.stderr, message);
    t.match(result.stderr, /^amphora image: [^\n]*$/);
    t.strictSame(await readdir(out).catch(() => []), []);
  });
}

t.test("an image that was cut short does not pass", async (t) => {
  const folder = t.testdir();
  const file = join(folder, "broken-x86_64.qcow2");
  await writeFile(file, "QFI");
  const alone = await image("--check", file);
  t.match(alone, { exitCode: 1, stdout: /FAIL boots .*it is no image/ });
  const component = { name: "broken-x86_64.qcow2", hashes: [{ alg: "SHA-256", content: "0".repeat(64) }] };
  await writeFile(`${file}.cdx.json`, JSON.stringify({ metadata: { component } }));
  const named = await image("--check", file);
  t.match(named, {
    exitCode: 1,
    stdout: /FAIL the image is the one of its manifest .*sha256 is [0-9a-f]{64}, not 000/,
  });
});

t.test("a build that is interrupted leaves nothing, and a second one at the same time says so", async (t) => {
  const out = join(t.testdir(), "out");
  await mkdir(out);
  const args = ["--arch", "x86_64", "--out", out, "--mirror", await silentMirror(t)];
  const first = image(...args);
  await eventually("the first build has begun", async () => (await readdir(out)).length > 0, 20_000);
  const second = await image(...args);
  t.match(second, { exitCode: 1, stderr: /^amphora image: another build is under way$/ });
  first.kill("SIGINT");
  t.match(await first, { exitCode: 1, stderr: /^amphora image: the build was interrupted \(SIGINT\)$/ });
  t.strictSame(await readdir(out), []);
});

t.test("without space left it says so", async (t) => {
  const out = await fullFolder(t, "nr_inodes=1");
  const result = await image("--arch", "x86_64", "--out", out);
  t.match(result, { exitCode: 1, stderr: /^amphora image: no space is left for [^\n]*$/ });
});

/** Takes connections, and says nothing. */
async function silentMirror(t: Test): Promise<string> {
  const server = createServer();
  t.teardown(() => server.close());
  await once(server.listen(0, "127.0.0.1"), "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/debian`;
}
