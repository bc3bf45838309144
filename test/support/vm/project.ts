/** This project as it is now, to be put into a test machine: sources, and the modules that the product needs. */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { FileTree } from "../../../images/tree.ts";

const ROOT = join(import.meta.dirname, "../../..");
const SOURCES = ["agent", "controller", "images", "templates", "test", "package.json"];
/** What only a person or a compiler reads. */
const UNREAD = /\.(md|map|d\.[cm]?ts|[cm]?ts\.map|markdown|flow)$|\/(docs?|tests?|examples?|typings)\//;

/** @param target the folder in the machine */
export async function projectTree(target: string): Promise<FileTree> {
  const tree = new FileTree();
  for (const each of SOURCES) await add(tree, target, each, () => true);
  for (const each of await productModules()) await add(tree, target, each, (path) => !UNREAD.test(path));
  return tree.link(`${target}/node_modules/.bin/node`, "/usr/bin/node");
}

/** Folders of the npm packages that are installed with the product, without Node itself. */
async function productModules(): Promise<string[]> {
  const lock = JSON.parse(await readFile(join(ROOT, "package-lock.json"), "utf8")) as {
    packages: Record<string, { dev?: boolean; optional?: boolean }>;
  };
  return Object.entries(lock.packages)
    .filter(([path, { dev, optional }]) => path !== "" && !dev && !optional)
    .map(([path]) => path);
}

async function add(tree: FileTree, target: string, path: string, wanted: (path: string) => boolean): Promise<void> {
  const absolute = join(ROOT, path);
  const found = await stat(absolute);
  if (found.isFile()) {
    tree.file(`${target}/${path}`, await readFile(absolute), found.mode & 0o777);
    return;
  }
  for (const each of await readdir(absolute, { withFileTypes: true, recursive: true })) {
    const file = join(each.parentPath, each.name);
    const relative = file.slice(ROOT.length + 1);
    // modules within modules are packages of their own
    if (!each.isFile() || file.slice(absolute.length).includes("/node_modules/") || !wanted(relative)) continue;
    tree.file(`${target}/${relative}`, await readFile(file), (await stat(file)).mode & 0o777);
  }
}
