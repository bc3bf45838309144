/** Kernel modules: the ones that are wanted with those that they need, and the indexes that modprobe reads. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, posix } from "node:path";
import { execa } from "execa";
import { BuildError } from "./build-error.ts";
import type { FileTree } from "./tree.ts";

const MODULES = "usr/lib/modules";
const LIMIT = 120_000;

/** The kernel whose modules are in the tree, such as 6.12.118+deb13-cloud-amd64. */
export function kernelVersion(tree: FileTree): string {
  const versions = tree.list(MODULES);
  const [version] = versions;
  if (version === undefined || versions.length > 1) {
    throw new BuildError(`one kernel was expected, not ${versions.length}: ${versions.join(" ")}`);
  }
  return version;
}

/** Runs xz or depmod: this machine's own, or another. */
export type RunTool = (tool: "xz" | "depmod", args: readonly string[]) => Promise<unknown>;

export const ownTool: RunTool = (tool, args) => execa(tool, args, { timeout: LIMIT, stdin: "ignore" });

/** The names of the modules in the tree, of those whose path is wanted. */
export function moduleNames(tree: FileTree, wanted: (path: string) => boolean): string[] {
  return [...modulePaths(tree)].filter(([, path]) => wanted(path)).map(([name]) => name);
}

function modulePaths(tree: FileTree): Map<string, string> {
  const folder = `${MODULES}/${kernelVersion(tree)}/kernel/`;
  const paths = new Map<string, string>();
  for (const [path] of tree.entries()) {
    if (path.startsWith(folder) && /\.ko(\.xz)?$/.test(path)) paths.set(nameOf(path), path);
  }
  return paths;
}

/**
 * Replaces the modules in the tree by the wanted ones and those that they need, not compressed: a kernel under emulation
 * takes seconds for what this machine does at once.
 * @throws {BuildError} when one does not exist
 */
export async function keepModules(tree: FileTree, wanted: readonly string[], run = ownTool): Promise<void> {
  const version = kernelVersion(tree);
  const folder = `${MODULES}/${version}`;
  const paths = modulePaths(tree);
  const builtin = new Set(tree.read(`${folder}/modules.builtin`).toString().split("\n").map(nameOf));

  const kept = new Map<string, Buffer>();
  let missing = [...wanted].map(nameOf);
  while (missing.length > 0) {
    const found = missing.map((name) => {
      const path = paths.get(name);
      if (path === undefined) throw new BuildError(`the kernel ${version} has no module ${name}`);
      return path;
    });
    const modules = await decompress(
      found.map((path) => ({ path, data: tree.read(path) })),
      run,
    );
    for (const [name, data] of modules) kept.set(name, data);
    missing = [...new Set([...modules.values()].flatMap(dependencies))].filter(
      (name) => !kept.has(name) && !builtin.has(name),
    );
  }
  tree.remove(`${folder}/kernel`);
  for (const [name, data] of kept) {
    const path = paths.get(name);
    if (path !== undefined) tree.file(path.replace(/\.xz$/, ""), data);
  }
}

/** Makes the indexes of the modules in the tree, as depmod does when a kernel is installed. */
export async function indexModules(tree: FileTree, run = ownTool): Promise<void> {
  const version = kernelVersion(tree);
  const folder = `${MODULES}/${version}`;
  await inScratch(async (scratch) => {
    const modules = join(scratch, "lib/modules", version);
    for (const [path, entry] of tree.entries()) {
      if (!path.startsWith(`${folder}/`) || entry.type !== "file") continue;
      const file = join(modules, path.slice(folder.length + 1));
      await mkdir(posix.dirname(file), { recursive: true });
      await writeFile(file, entry.data);
    }
    await run("depmod", ["-b", scratch, version]);
    for (const name of await readdir(modules)) {
      if (name.startsWith("modules.")) tree.file(`${folder}/${name}`, await readFile(join(modules, name)));
    }
  });
}

/** A module's name: files and dependencies spell it with either - or _. */
function nameOf(path: string): string {
  return basename(path)
    .replace(/\.ko(\.xz)?$/, "")
    .replaceAll("-", "_");
}

/** What a module says that it needs: the "depends" of its .modinfo section. */
function dependencies(module: Buffer): string[] {
  const at = module.indexOf("\0depends=");
  if (at < 0) return [];
  const text = module.toString("latin1", at + "\0depends=".length, module.indexOf(0, at + 1));
  return text.split(",").filter(Boolean).map(nameOf);
}

async function decompress(
  modules: readonly { path: string; data: Buffer }[],
  run: RunTool,
): Promise<Map<string, Buffer>> {
  const out = new Map<string, Buffer>();
  for (const { path, data } of modules) if (!path.endsWith(".xz")) out.set(nameOf(path), data);
  const packed = modules.filter(({ path }) => path.endsWith(".xz"));
  if (packed.length === 0) return out;
  await inScratch(async (scratch) => {
    const files = packed.map(({ path }) => join(scratch, basename(path)));
    for (const [i, { data }] of packed.entries()) await writeFile(files[i] ?? "", data);
    await run("xz", ["--decompress", ...files]);
    for (const file of files) out.set(nameOf(file), await readFile(file.replace(/\.xz$/, "")));
  });
  return out;
}

async function inScratch<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "amphora-modules-"));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
