/** Images in tests: built, and booted with what a cloud gives them. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import type { Test } from "tap";
import type { BootstrapDocument } from "../../agent/bootstrap/document.ts";
import { Authority } from "../../controller/amphorae/authority.ts";
import { architecture } from "../../images/architectures.ts";
import { Guest } from "../../images/check/guest.ts";
import { productEnv } from "./agent.ts";
import { idOf } from "./specs.ts";

const ROOT = join(import.meta.dirname, "../..");
const COMMAND = join(ROOT, "images/image.ts");
const LIMIT = 1_200_000;

/** Runs `npm run image` with the network that this machine has: tests have none of their own. Never throws. */
export function image(...args: readonly string[]) {
  const outside = process.env.AMPHORA_TEST_OUTSIDE;
  const prefix = outside === undefined ? [] : ["nsenter", `--net=${outside}`, "--"];
  const [program = "", ...rest] = [...prefix, process.execPath, COMMAND, ...args];
  return execa(program, rest, {
    env: productEnv(),
    extendEnv: false,
    reject: false,
    timeout: LIMIT,
    stdin: "ignore",
    cwd: ROOT,
  });
}

/** Builds an image. @returns its file @throws with what the build said when it fails */
export async function build(arch: string, out: string, ...more: readonly string[]): Promise<string> {
  const { failed, stdout, stderr } = await image("--arch", arch, "--out", out, ...more);
  if (failed) throw new Error(`the build failed:\n${stdout}\n${stderr}`);
  return join(out, await nameOf(arch));
}

async function nameOf(arch: string): Promise<string> {
  return `amphora-${JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")).version}-${arch}.qcow2`;
}

/**
 * The image of the sources as they are now. It is built when there is none yet, and those of other sources go.
 * @throws with what the build said when it fails
 */
export async function imageUnderTest(arch: "x86_64" | "aarch64"): Promise<string> {
  const folder = join(ROOT, ".cache/images/under-test", arch);
  const out = join(folder, await digestOfSources());
  for (const other of await readdir(folder).catch(() => [])) {
    if (join(folder, other) !== out) await rm(join(folder, other), { recursive: true });
  }
  const image = join(out, await nameOf(arch));
  return existsSync(image) ? image : build(arch, out);
}

/** Of everything that an image is made from, besides Debian's packages. */
async function digestOfSources(): Promise<string> {
  const places = ["agent", "templates", "images", "package.json", "package-lock.json"];
  const args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", ...places];
  const { stdout } = await execa("git", args, { cwd: ROOT, timeout: 30_000 });
  const commit = await execa("git", ["log", "-1", "--format=%ct"], { cwd: ROOT, timeout: 30_000 });
  const hash = createHash("sha256").update(commit.stdout);
  for (const path of stdout.split("\0").sort()) {
    const file = join(ROOT, path);
    if (path !== "" && existsSync(file))
      hash
        .update(path)
        .update("\0")
        .update(await readFile(file));
  }
  return hash.digest("hex").slice(0, 16);
}

/** Where the agent's port is, on the host. */
const ADDRESS = "127.9.9.9";
export const AMPHORA_ID = idOf("amphora");
const BOOT_LIMIT = 300_000;

/** Boots an image that may be written to. @param drive the file of a CD, or null */
export async function boot(t: Test, file: string, drive: string | null): Promise<Guest> {
  const scratch = await mkdtemp(join(tmpdir(), "amphora-boot-"));
  t.teardown(() => rm(scratch, { recursive: true, force: true }));
  const disk = join(scratch, "disk.qcow2");
  await execa("qemu-img", ["create", "-q", "-f", "qcow2", "-b", file, "-F", "qcow2", disk, "4G"], { timeout: 30_000 });
  const guest = await Guest.boot({
    architecture: architecture("x86_64"),
    accelerator: "tcg",
    firmware: "bios",
    disk,
    configDrive: drive === null ? null : { file: drive },
    scratch,
    address: ADDRESS,
  });
  t.teardown(() => guest.kill());
  return guest;
}

/** Waits until the console says so. */
export async function says(guest: Guest, pattern: RegExp): Promise<void> {
  await guest.until(`the console says ${pattern}`, BOOT_LIMIT, async () =>
    pattern.test(await guest.console()) ? true : null,
  );
}

/** QEMU takes the connection, and closes it when the guest refuses. */
export function knock(): Promise<"open" | "closed"> {
  return new Promise((resolve, reject) => {
    const socket = connect(9443, ADDRESS);
    const timer = setTimeout(() => resolve("open"), 5000);
    socket.on("error", reject);
    socket.on("close", () => {
      clearTimeout(timer);
      resolve("closed");
    });
    socket.resume();
  });
}

/** What an amphora would be told, by an authority of its own. */
export async function bootstrapDocument(): Promise<BootstrapDocument> {
  const authority = await Authority.make();
  return {
    amphora_id: AMPHORA_ID,
    controllers: [{ address: "10.0.2.2", port: 5555 }],
    heartbeat_interval_ms: 3000,
    heartbeat_key: Buffer.alloc(32, 7).toString("base64"),
    time_servers: [],
    identity: (await authority.issueAmphora(AMPHORA_ID, 1)).bundle,
  };
}

/** A config drive as Nova makes it. */
export async function configDrive(t: Test, files: Record<string, string>): Promise<string> {
  const folder = join(t.testdirName, "drive");
  for (const [path, content] of Object.entries(files)) {
    await mkdir(join(folder, path, ".."), { recursive: true });
    await writeFile(join(folder, path), content);
  }
  const drive = join(t.testdirName, "drive.iso");
  const names = ["-ldots", "-allow-lowercase", "-allow-multidot", "-l", "-J", "-r"];
  await execa("genisoimage", ["-quiet", "-o", drive, ...names, "-V", "config-2", folder], { timeout: 30_000 });
  t.ok((await readFile(drive)).length > 0);
  return drive;
}
