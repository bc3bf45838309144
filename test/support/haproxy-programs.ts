/**
 * The releases of HAProxy that amphorae are built with: Debian 12's and Debian 13's. The one that this machine has not
 * installed is unpacked into a folder (once; 4 s), and runs there on its own libraries.
 */
import { globSync } from "node:fs";
import { access, chmod, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";

const CACHE = join(import.meta.dirname, "../../node_modules/.cache/haproxy");
const INSTALLED = "/usr/sbin/haproxy";
/** release -> the Debian that has it */
export const RELEASES = { "2.6": "bookworm", "3.0": "trixie" } as const;
export type Release = keyof typeof RELEASES;

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
