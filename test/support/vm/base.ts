/**
 * What every test machine boots: a Debian kernel, and an initramfs with the data plane's programs and the project's
 * Node. It is built from Debian packages once, and kept in .cache/vm until the packages or the recipe change.
 */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import writeFileAtomic from "write-file-atomic";
import { ownArchitecture } from "../../../images/architectures.ts";
import { BuildError } from "../../../images/build-error.ts";
import { writeCpio } from "../../../images/cpio.ts";
import { machineMirrors } from "../../../images/debian/mirrors.ts";
import { type Package, Packages } from "../../../images/debian/packages.ts";
import { unpack } from "../../../images/debian/unpack.ts";
import { lock } from "../../../images/lock.ts";
import { indexModules, keepModules, kernelVersion } from "../../../images/modules.ts";
import { copyPrograms } from "../../../images/programs.ts";
import { FileTree } from "../../../images/tree.ts";
import { DATA, MODULES, PROGRAMS, packagesFor, SUITE } from "./recipe.ts";

const ROOT = join(import.meta.dirname, "../../..");
export const CACHE = join(ROOT, ".cache/vm");
/** Which base is in use, and since when. */
const CURRENT = join(CACHE, "current.json");
/** The mirror is asked for newer packages once a day (ms). */
const FRESH = 24 * 3600 * 1000;
const BUILD_LIMIT = 600_000;
/** The base in use and the one before: another run may still boot from that. */
const KEPT = 2;

export interface Base {
  readonly kernel: string;
  readonly initramfs: string;
}

interface Current {
  readonly recipe: string;
  readonly folder: string;
  readonly checkedAt: number;
}

/** The base, built when it is not there. Tests have no network of their own: the build is done outside of their namespace. */
export async function base(): Promise<Base> {
  const ready = await fresh(await recipeKey());
  if (ready !== null) return baseIn(ready);
  const outside = process.env.AMPHORA_TEST_OUTSIDE;
  const prefix = outside === undefined ? [] : ["nsenter", `--net=${outside}`, "--"];
  const { NODE_OPTIONS: _, ...env } = process.env;
  const [program = "", ...args] = [...prefix, process.execPath, join(import.meta.dirname, "build.ts")];
  const { stdout } = await execa(program, args, {
    timeout: BUILD_LIMIT,
    env,
    extendEnv: false,
    stdin: "ignore",
  });
  return baseIn(stdout.trim());
}

function baseIn(folder: string): Base {
  return { kernel: join(folder, "vmlinuz"), initramfs: join(folder, "initramfs") };
}

/** Builds the base, unless another process has done it meanwhile. @returns its folder */
export async function build(): Promise<string> {
  await mkdir(CACHE, { recursive: true });
  const release = await lock(join(CACHE, "lock"), BUILD_LIMIT);
  try {
    const recipe = await recipeKey();
    return (await fresh(recipe)) ?? (await renew(recipe).catch((error: unknown) => yesterdays(recipe, error)));
  } finally {
    await release();
  }
}

async function renew(recipe: string): Promise<string> {
  const architecture = ownArchitecture();
  const names = packagesFor(architecture);
  const packages = await Packages.open({
    suite: SUITE,
    architecture: architecture.debian,
    mirrors: await machineMirrors(),
    cache: join(CACHE, "debian"),
  });
  const list = await packages.resolve(names);
  const folder = join(CACHE, `base-${digest([recipe, JSON.stringify(list)])}`);
  if (!(await exists(folder))) {
    const archives = await packages.download(names);
    const unfinished = join(CACHE, "unfinished");
    await rm(unfinished, { recursive: true, force: true });
    await mkdir(unfinished);
    await make(list, archives, unfinished);
    await rename(unfinished, folder);
  }
  const current: Current = { recipe, folder, checkedAt: Date.now() };
  await writeFileAtomic(CURRENT, JSON.stringify(current));
  await packages.forgetOthers(list);
  await forgetOldBases();
  return folder;
}

async function make(list: readonly Package[], archives: string, folder: string): Promise<void> {
  const architecture = ownArchitecture();
  const system = new FileTree();
  for (const { file } of list) await unpack(join(archives, file), system, (path) => !path.startsWith("usr/share/"));
  system.file("usr/bin/node", await readFile(process.execPath), 0o755);
  await keepModules(system, MODULES);
  await indexModules(system);

  const tree = new FileTree();
  for (const each of ["bin", "sbin", "lib", "lib64"]) tree.folder(`usr/${each}`).link(each, `usr/${each}`);
  for (const each of ["dev", "proc", "sys", "run", "tmp", "root", "var/lib/haproxy"]) tree.folder(each);
  tree.link("var/run", "/run");
  const programs = PROGRAMS.map((each) => each.replace("%", architecture.triplet));
  copyPrograms(system, tree, programs, architecture.triplet);
  tree.link("usr/bin/sh", "dash");
  for (const each of ["modprobe", "lsmod", "rmmod"]) tree.link(`usr/sbin/${each}`, "../bin/kmod");
  for (const each of DATA) tree.file(each, system.read(each));
  const modules = `usr/lib/modules/${kernelVersion(system)}`;
  for (const [path, entry] of system.entries()) if (path.startsWith(`${modules}/`)) tree.set(path, entry);
  const nologin = "/usr/sbin/nologin";
  const users = ["root:x:0:0:root:/root:/bin/sh", `haproxy:x:101:101::/var/lib/haproxy:${nologin}`];
  tree.file("etc/passwd", `${[...users, `nobody:x:65534:65534::/nonexistent:${nologin}`].join("\n")}\n`);
  tree.file("etc/group", "root:x:0:\nhaproxy:x:101:\nnogroup:x:65534:\n");
  tree.file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n");
  tree.file("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n");
  tree.file("etc/resolv.conf", "");
  tree.file("init", await readFile(join(import.meta.dirname, "init.sh")), 0o755);
  await writeCpio(tree, join(folder, "initramfs"));

  const [kernel = ""] = system.list("boot").filter((name) => name.startsWith("vmlinuz-"));
  await writeFileAtomic(join(folder, "vmlinuz"), system.read(`boot/${kernel}`));
}

/** The folder of the base that this recipe made within the last day, or null. */
function fresh(recipe: string): Promise<string | null> {
  return lastBase(recipe, Date.now() - FRESH);
}

/** The base that this recipe made earlier, while the mirror can't be reached. @throws the reason when there is none */
async function yesterdays(recipe: string, reason: unknown): Promise<string> {
  const folder = reason instanceof BuildError ? await lastBase(recipe, 0) : null;
  if (folder === null) throw reason;
  return folder;
}

async function lastBase(recipe: string, since: number): Promise<string | null> {
  const text = await readFile(CURRENT, "utf8").catch(() => null);
  if (text === null) return null;
  const current = JSON.parse(text) as Current;
  const usable = current.recipe === recipe && current.checkedAt >= since && (await exists(current.folder));
  return usable ? current.folder : null;
}

/** Everything of this project that decides what is in the base. */
async function recipeKey(): Promise<string> {
  const folders = ["images", "images/debian", "test/support/vm"];
  const files = (
    await Promise.all(
      folders.map(async (folder) => (await readdir(join(ROOT, folder))).map((name) => join(folder, name))),
    )
  )
    .flat()
    .filter((file) => /(^images.*\.ts|vm\/(base|recipe)\.ts|vm\/init\.sh)$/.test(file))
    .sort();
  const sources = await Promise.all(files.map((file) => readFile(join(ROOT, file), "utf8")));
  return digest([process.version, process.arch, ROOT, ...files, ...sources]);
}

async function forgetOldBases(): Promise<void> {
  const names = (await readdir(CACHE)).filter((name) => name.startsWith("base-"));
  const ages = await Promise.all(names.map(async (name) => ({ name, time: (await stat(join(CACHE, name))).mtimeMs })));
  ages.sort((a, b) => b.time - a.time);
  for (const { name } of ages.slice(KEPT)) await rm(join(CACHE, name), { recursive: true, force: true });
}

function digest(parts: readonly string[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${part.length}:${part}`);
  return hash.digest("hex").slice(0, 16);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
