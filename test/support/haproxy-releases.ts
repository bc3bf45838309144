/**
 * The releases of HAProxy that amphorae are built with: Debian 12's and Debian 13's. The one that this machine has not
 * installed is unpacked into a folder (once; 4 s), and runs there on its own libraries.
 */

import { globSync } from "node:fs";
import { access, chmod, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import t, { type Test } from "tap";

const CACHE = join(import.meta.dirname, "../../node_modules/.cache/haproxy");
const INSTALLED = "/usr/sbin/haproxy";
/** release -> the Debian that has it */
const RELEASES = { "2.6": "bookworm", "3.0": "trixie" } as const;
type Release = keyof typeof RELEASES;

/**
 * Tests on each release, which share what is prepared for them: starting an agent takes longer than most of them.
 * @param prepare gets the path of the program
 */
export function onEachRelease<Site>(
  name: string,
  prepare: (t: Test, haproxy: string) => Promise<Site>,
  tests: Readonly<Record<string, (t: Test, site: Site) => Promise<void>>>,
): void {
  for (const release of chosen()) {
    t.test(`${name} (HAProxy ${release})`, async (t) => {
      const site = await prepare(t, await haproxyOf(release));
      for (const [title, body] of Object.entries(tests)) await t.test(title, (t) => body(t, site));
    });
  }
}

/** All of them, or the one that the person running the tests has named. */
function chosen(): Release[] {
  const all = Object.keys(RELEASES) as Release[];
  const named = process.env.AMPHORA_TEST_HAPROXY;
  if (named === undefined) return all;
  const found = all.filter((release) => release === named);
  if (found.length === 0) throw new Error(`AMPHORA_TEST_HAPROXY names none of ${all.join(", ")}: ${named}`);
  return found;
}

/** The path of a release's program. */
export async function haproxyOf(release: Release): Promise<string> {
  const { stdout } = await execa(INSTALLED, ["-v"]);
  if (stdout.includes(`version ${release}.`)) return INSTALLED;
  const program = join(CACHE, RELEASES[release], "haproxy");
  const there = await access(program).then(
    () => true,
    () => false,
  );
  if (!there) await unpack(RELEASES[release]);
  return program;
}

async function unpack(suite: string): Promise<void> {
  await mkdir(CACHE, { recursive: true });
  const folder = await mkdtemp(join(CACHE, `${suite}-`));
  // the mirror is the one that this machine's apt uses, and reached from where this machine is
  const { stdout } = await execa("apt-get", ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]);
  const mirror = stdout.split("\n")[0] ?? "";
  const outside = [`--net=${process.env.AMPHORA_TEST_OUTSIDE ?? "/proc/self/ns/net"}`, "--"];
  const options = ["--variant=extract", "--include=haproxy", "--quiet"];
  await execa("nsenter", [...outside, "mmdebstrap", ...options, suite, join(folder, "root"), mirror], {
    timeout: 300_000,
  });
  const final = join(CACHE, suite);
  const [loader = ""] = globSync("usr/lib/*/ld-linux-*", { cwd: join(folder, "root") });
  const [libraries = ""] = globSync("usr/lib/*-linux-gnu", { cwd: join(folder, "root") });
  const root = join(final, "root");
  // a reload runs what HAProxy was called as, which must be this script again
  const script = `#!/bin/sh
exec ${join(root, loader)} --library-path ${join(root, libraries)} --argv0 "$0" ${root}/usr/sbin/haproxy "$@"
`;
  await writeFile(join(folder, "haproxy"), script);
  await chmod(join(folder, "haproxy"), 0o755);
  await rm(final, { recursive: true, force: true });
  await rename(folder, final);
}
