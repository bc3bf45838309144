/**
 * The programs that make file systems and disks. They come from the suite that the image is made of, in a folder of
 * their own, and run with their own libraries: so an image depends neither on what the building machine has installed
 * nor on its release, and nothing has to be installed there.
 */
import { createHash } from "node:crypto";
import { chmod, mkdir, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { ownArchitecture } from "./architectures.ts";
import { BuildError } from "./build-error.ts";
import type { Mirrors } from "./debian/mirrors.ts";
import { Packages } from "./debian/packages.ts";
import { unpack } from "./debian/unpack.ts";
import { needsOf } from "./elf.ts";
import { FileTree } from "./tree.ts";

const PACKAGES = ["dosfstools", "fdisk", "kmod", "mtools", "qemu-utils", "squashfs-tools", "xz-utils"];
/** What boots a PC without UEFI; there is none for other architectures. */
const PC_PACKAGES = ["syslinux", "syslinux-common"];

/** name -> where it is in the packages */
const PROGRAMS = {
  "mkfs.vfat": "usr/sbin/mkfs.vfat",
  depmod: "usr/sbin/depmod",
  mcopy: "usr/bin/mcopy",
  mksquashfs: "usr/bin/mksquashfs",
  mmd: "usr/bin/mmd",
  mattrib: "usr/bin/mattrib",
  mmove: "usr/bin/mmove",
  "qemu-img": "usr/bin/qemu-img",
  sfdisk: "usr/sbin/sfdisk",
  syslinux: "usr/bin/syslinux",
  xz: "usr/bin/xz",
} as const;
export type Tool = keyof typeof PROGRAMS;

/** A program that takes longer hangs (ms). */
const LIMIT = 300_000;

export class Tools {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Downloads and unpacks the tools, unless they are there. One at a time may use a cache. @throws {BuildError} */
  static async open(options: { suite: string; mirrors: Mirrors; cache: string }): Promise<Tools> {
    const { debian, name } = ownArchitecture();
    const names = [...PACKAGES, ...(name === "x86_64" ? PC_PACKAGES : [])];
    const packages = await Packages.open({ ...options, architecture: debian, cache: join(options.cache, "debian") });
    const list = await packages.resolve(names);
    const key = createHash("sha256").update(JSON.stringify(list)).digest("hex").slice(0, 16);
    const folder = join(options.cache, `tools-${key}`);
    if (await exists(folder)) return new Tools(folder);
    const archives = await packages.download(names);
    const tree = new FileTree();
    for (const { file } of list) {
      await unpack(join(archives, file), tree, (path) => !/^usr\/share\/(doc|locale|man|perl)/.test(path));
    }
    const unfinished = `${folder}.unfinished`;
    await rm(unfinished, { recursive: true, force: true });
    await writeTree(tree, join(unfinished, "root"));
    await writeWrappers(tree, unfinished, folder);
    await rename(unfinished, folder);
    return new Tools(folder);
  }

  /** @throws {BuildError} with the program's own words */
  async run(
    tool: Tool,
    args: readonly string[],
    options: { env?: Record<string, string>; input?: string } = {},
  ): Promise<string> {
    const result = await execa(this.program(tool), args, {
      timeout: LIMIT,
      reject: false,
      env: {
        PATH: `${join(this.#folder, "bin")}:/usr/sbin:/usr/bin:/sbin:/bin`,
        LC_ALL: "C",
        TZ: "UTC",
        ...options.env,
      },
      extendEnv: false,
      ...(options.input === undefined ? { stdin: "ignore" } : { input: options.input }),
    });
    if (result.failed) throw new BuildError(`${tool}: ${result.stderr.trim() || result.shortMessage}`);
    return result.stdout;
  }

  /** The program to start, for one that is to be spoken to. */
  program(tool: Tool): string {
    return join(this.#folder, "bin", tool);
  }

  /** A file of the packages. */
  path(file: string): string {
    return join(this.#folder, "root", file);
  }
}

async function writeTree(tree: FileTree, folder: string): Promise<void> {
  for (const [path, entry] of tree.entries()) {
    const at = join(folder, path);
    if (entry.type === "folder") await mkdir(at, { recursive: true });
    else if (entry.type === "link") await symlink(entry.target, at);
    else {
      await mkdir(dirname(at), { recursive: true });
      await writeFile(at, entry.data);
      await chmod(at, entry.mode & 0o777);
    }
  }
}

/** A script for each program that starts it with its own loader and libraries. */
async function writeWrappers(tree: FileTree, folder: string, finalFolder: string): Promise<void> {
  const { triplet } = ownArchitecture();
  await mkdir(join(folder, "bin"));
  const root = join(finalFolder, "root");
  for (const [name, path] of Object.entries(PROGRAMS)) {
    if (!tree.has(path)) continue;
    const loader = needsOf(tree.read(path))?.loader;
    const start = loader ? `${root}/usr${loader} --argv0 ${name} --library-path ${root}/usr/lib/${triplet} ` : "";
    const script = `#!/bin/sh\nGCONV_PATH=${root}/usr/lib/${triplet}/gconv exec ${start}${root}/${path} "$@"\n`;
    await writeFile(join(folder, "bin", name), script, { mode: 0o755 });
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
