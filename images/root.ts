/** The root file system of an image, as a tree: what the packages bring, what their installation would have made, and ours. */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Architecture } from "./architectures.ts";
import { BuildError } from "./build-error.ts";
import { addAgent } from "./bundle.ts";
import type { Package } from "./debian/packages.ts";
import { unpack } from "./debian/unpack.ts";
import { indexModules, keepModules, moduleNames, type RunTool } from "./modules.ts";
import { needed } from "./programs.ts";
import {
  ACCOUNTS,
  AGENT_PROGRAMS,
  COPYRIGHT,
  ENABLED,
  GROUPS,
  NOT_NEEDED,
  UNWANTED,
  UNWANTED_MODULES,
} from "./recipe.ts";
import { addSsh } from "./ssh.ts";
import { FileTree } from "./tree.ts";

const FILES = join(import.meta.dirname, "files");

export interface Root {
  readonly tree: FileTree;
  readonly kernel: Buffer;
  /** systemd-boot, of the architecture */
  readonly bootLoader: Buffer;
  /** package name -> its copyright file */
  readonly copyrights: ReadonlyMap<string, string>;
  /** folders of npm packages in the agent's bundle */
  readonly modules: readonly string[];
}

export interface RootOptions {
  readonly architecture: Architecture;
  readonly packages: readonly Package[];
  /** the folder of the packages' files */
  readonly archives: string;
  /** Node's program for the architecture */
  readonly node: Buffer;
  readonly runTool: RunTool;
  /** of an image for debugging */
  readonly sshKey: string | null;
}

export async function makeRoot({
  architecture,
  packages,
  archives,
  node,
  runTool,
  sshKey,
}: RootOptions): Promise<Root> {
  const tree = new FileTree();
  const copyrights = new Map<string, string>();
  for (const { name, file } of packages) {
    const own = new FileTree();
    const used = !NOT_NEEDED.has(name);
    await unpack(join(archives, file), own, (path) => COPYRIGHT.test(path) || (used && !UNWANTED.test(path)));
    for (const [path, entry] of own.entries()) {
      if (COPYRIGHT.test(path) && entry.type === "file") copyrights.set(name, entry.data.toString());
      else if (!path.startsWith("usr/share/doc") && !(entry.type === "folder" && tree.has(path))) tree.set(path, entry);
    }
  }
  const kernel = takeKernel(tree);
  const bootLoader = tree.read(`usr/lib/systemd/boot/efi/systemd-boot${efiSuffix(architecture)}.efi`);
  tree.remove("usr/lib/systemd/boot");

  await keepModules(
    tree,
    moduleNames(tree, (path) => !UNWANTED_MODULES.test(path)),
    runTool,
  );
  await indexModules(tree, runTool);
  addAccounts(tree);
  addCertificates(tree);
  enableUnits(tree);
  tree.file("usr/bin/node", node, 0o755);
  const { modules } = await addAgent(tree);
  await addFiles(tree, FILES);
  addPlaces(tree);
  if (sshKey !== null) addSsh(tree, sshKey);
  checkUnits(tree);
  checkPrograms(tree, architecture.triplet);
  return { tree, kernel, bootLoader, copyrights, modules };
}

export function efiSuffix({ name }: Architecture): string {
  return { x86_64: "x64", aarch64: "aa64" }[name];
}

function takeKernel(tree: FileTree): Buffer {
  const name = tree.list("boot").find((each) => each.startsWith("vmlinuz-"));
  if (name === undefined) throw new BuildError("the packages bring no kernel");
  const kernel = tree.read(`boot/${name}`);
  tree.remove("boot");
  for (const each of ["vmlinuz", "vmlinuz.old", "initrd.img", "initrd.img.old"]) tree.remove(each);
  return kernel;
}

/** Numbers are fixed, and every password is locked. @throws {BuildError} for an account of a package that has no number */
function addAccounts(tree: FileTree): void {
  const masters = "usr/share/base-passwd";
  const users = tree.read(`${masters}/passwd.master`).toString().trim().split("\n");
  const groups = tree.read(`${masters}/group.master`).toString().trim().split("\n");
  for (const [name, { id, home, comment }] of Object.entries(ACCOUNTS)) {
    users.push(`${name}:*:${id}:${id}:${comment}:${home}:/usr/sbin/nologin`);
    groups.push(`${name}:*:${id}:`);
  }
  for (const [name, id] of Object.entries(GROUPS)) groups.push(`${name}:*:${id}:`);
  const names = new Set([...users, ...groups].map((line) => line.split(":")[0]));
  for (const file of tree.list("usr/lib/sysusers.d")) {
    for (const line of tree.read(`usr/lib/sysusers.d/${file}`).toString().split("\n")) {
      const [kind = "", name] = line.trim().split(/\s+/);
      if (/^[ug]!?$/.test(kind) && !names.has(name)) {
        throw new BuildError(`${file} wants the account ${name}: give it a number in images/recipe.ts`);
      }
    }
  }
  const hidden = (lines: readonly string[]) => `${lines.map((line) => line.replace(":*:", ":x:")).join("\n")}\n`;
  tree.file("etc/passwd", hidden(users)).file("etc/group", hidden(groups));
  const locked = users.map((line) => `${line.split(":")[0]}:!*:19000:0:99999:7:::`);
  tree.set("etc/shadow", { type: "file", mode: 0o640, uid: 0, gid: 42, data: Buffer.from(`${locked.join("\n")}\n`) });
  tree.remove(masters);
}

/** The authorities that the world trusts, in one file: for members with TLS that are to be verified. */
function addCertificates(tree: FileTree): void {
  const certificates: Buffer[] = [];
  for (const [path, entry] of tree.entries()) {
    if (path.startsWith("usr/share/ca-certificates/") && entry.type === "file") certificates.push(entry.data);
  }
  tree.remove("usr/share/ca-certificates");
  tree.file("etc/ssl/certs/ca-certificates.crt", Buffer.concat(certificates));
}

function enableUnits(tree: FileTree): void {
  const units = "usr/lib/systemd/system";
  for (const each of tree.list(units)) if (each.endsWith(".wants")) tree.remove(`${units}/${each}`);
  for (const [target, names] of Object.entries(ENABLED)) {
    for (const name of names) tree.link(`${units}/${target}.wants/${name}`, `../${name}`);
  }
  tree.link(`${units}/default.target`, "multi-user.target");
  // nobody can log in, so nobody is asked to
  for (const each of ["getty@.service", "serial-getty@.service"]) tree.link(`etc/systemd/system/${each}`, "/dev/null");
}

/** Our own files, as they lie in the folder. Those that are scripts are executable there too. */
async function addFiles(tree: FileTree, folder: string): Promise<void> {
  for (const each of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!each.isFile()) continue;
    const file = join(each.parentPath, each.name);
    const executable = ((await stat(file)).mode & 0o100) !== 0;
    tree.file(file.slice(folder.length + 1), await readFile(file), executable ? 0o755 : 0o644);
  }
}

/** Places where file systems are mounted, and the few files that change: they lead to where that is possible. */
function addPlaces(tree: FileTree): void {
  tree.remove("var");
  for (const each of ["dev", "proc", "run", "sys", "tmp", "var"]) tree.remove(each).folder(each);
  tree.folder("root", 0o700);
  tree.link("usr/bin/sh", "dash");
  tree.link("etc/amphora", "/var/lib/amphora/etc");
  tree.link("etc/systemd/network", "/var/lib/amphora-network");
  tree.link("etc/resolv.conf", "/run/resolv.conf");
  tree.link("etc/mtab", "../proc/self/mounts");
  // each start has one of its own, from the hypervisor's number of the machine where there is one
  tree.file("etc/machine-id", "");
}

/** @throws {BuildError} when a unit is enabled that nothing brings */
function checkUnits(tree: FileTree): void {
  for (const name of Object.values(ENABLED).flat()) {
    if (tree.resolve(`usr/lib/systemd/system/${name}`) === null) throw new BuildError(`there is no unit ${name}`);
  }
}

/** @throws {BuildError} when a program that the agent runs is not there, or a program or library lacks another */
function checkPrograms(tree: FileTree, triplet: string): void {
  for (const name of AGENT_PROGRAMS) {
    if (tree.resolve(`usr/bin/${name}`) === null && tree.resolve(`usr/sbin/${name}`) === null) {
      throw new BuildError(`no package brings ${name}, which the agent runs`);
    }
  }
  for (const [path, entry] of tree.entries()) {
    if (entry.type === "file" && /^usr\/(s?bin|lib)\//.test(path)) needed(tree, entry.data, triplet, path);
  }
}
