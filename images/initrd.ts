/** The initramfs of an image: BusyBox, the drivers of disks, and a script that finds the root file system. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { indexModules, keepModules, kernelVersion, moduleNames, type RunTool } from "./modules.ts";
import { INITRD_MODULES } from "./recipe.ts";
import { FileTree } from "./tree.ts";

/** What the script calls. */
const APPLETS = [
  "cat",
  "grep",
  "modprobe",
  "mount",
  "reboot",
  "sh",
  "sleep",
  "sort",
  "switch_root",
  "umount",
  "usleep",
  "xargs",
];

/** @param root the root file system, whose modules and BusyBox are used */
export async function makeInitrd(root: FileTree, runTool: RunTool): Promise<FileTree> {
  const tree = new FileTree();
  for (const each of ["dev", "proc", "sys", "root", "bin"]) tree.folder(each);
  const modules = `usr/lib/modules/${kernelVersion(root)}/`;
  for (const [path, entry] of root.entries()) if (path.startsWith(modules)) tree.set(path, entry);
  const present = new Set(moduleNames(tree, () => true));
  // some are built into the kernel of one architecture, some exist on one alone
  await keepModules(
    tree,
    INITRD_MODULES.filter((name) => present.has(name)),
    runTool,
  );
  await indexModules(tree, runTool);
  tree.link("lib", "usr/lib");
  tree.file("bin/busybox", root.read("usr/bin/busybox"), 0o755);
  for (const each of APPLETS) tree.link(`bin/${each}`, "busybox");
  tree.file("init", await readFile(join(import.meta.dirname, "initrd/init")), 0o755);
  return tree;
}
