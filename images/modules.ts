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

/**
 * Replaces the modules in the tree by the wanted ones and those that they need, not compressed: a kernel under emulation
 * takes seconds for what this machine does at once.
 * @throws {BuildError} when one does not exist
 */
export async function keepModules(tree: FileTree, wanted: readonly string[]): Promise<void> {
  const version = kernelVersion(tree);
  const folder = `${MODULES}/${version}`;
  const paths = new Map<string, string>();
  for (const [path] of tree.entries()) {
    if (path.startsWith(`${folder}/kernel/`) && path.endsWith(".ko.xz")) paths.set(nameOf(path), path);
  }
  const builtin = new Set(tree.read(`${folder}/modules.builtin`).toString().split("\n").map(nameOf));

  const kept = new Map<string, Buffer>();
  let missing = [...wanted].map(nameOf);
  while (missing.length > 0) {
    const found = missing.map((name) => {
      const path = paths.get(name);
      if (path === undefined) throw new BuildError(`the kernel ${version} has no module ${name}`);
      return path;
    });
    const modules = await decompress(found.map((path) => ({ name: nameOf(path), data: tree.read(path) })));
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
export async function indexModules(tree: FileTree): Promise<void> {
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
    await execa("depmod", ["-b", scratch, version], { timeout: LIMIT });
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

async function decompress(modules: readonly { name: string; data: Buffer }[]): Promise<Map<string, Buffer>> {
  return inScratch(async (scratch) => {
    for (const { name, data } of modules) await writeFile(join(scratch, `${name}.xz`), data);
    await execa("xz", ["--decompress", ...modules.map(({ name }) => join(scratch, `${name}.xz`))], { timeout: LIMIT });
    const out = new Map<string, Buffer>();
    for (const { name } of modules) out.set(name, await readFile(join(scratch, name)));
    return out;
  });
}

async function inScratch<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "amphora-modules-"));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
