/** A disk from its parts: an EFI system partition that also boots a PC without UEFI, and the root file system. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Architecture } from "./architectures.ts";
import { BuildError } from "./build-error.ts";
import { writeCpio } from "./cpio.ts";
import { efiSuffix } from "./root.ts";
import { tar } from "./tar.ts";
import type { Tools } from "./tools.ts";
import type { FileTree } from "./tree.ts";

const MIB = 1024 * 1024;
export const ROOT_LABEL = "amphora-root";
/** Serial numbers and identifiers that would be drawn by lot: of no meaning, and the same in every image. */
const FAT_SERIAL = "0A0B0C0D";
const GUIDS = {
  disk: "6d6f7068-6172-4a00-8000-000000000001",
  esp: "6d6f7068-6172-4a00-8000-000000000002",
  root: "6d6f7068-6172-4a00-8000-000000000003",
};
/** UEFI specification, 5.3.3 */
const ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";

export interface DiskOptions {
  readonly architecture: Architecture;
  readonly root: FileTree;
  readonly initrd: FileTree;
  readonly kernel: Buffer;
  readonly bootLoader: Buffer;
  readonly tools: Tools;
  /** where parts are made; nothing else is in it */
  readonly scratch: string;
  /** every time in the image, seconds since 1970 */
  readonly time: number;
  /** of the disk that an instance sees, MiB */
  readonly size: number;
}

/** @returns the raw disk's file */
export async function makeDisk(options: DiskOptions): Promise<string> {
  const { tools, scratch, size, architecture } = options;
  const root = join(scratch, "root.squashfs");
  await makeSquashfs(options, root);
  const esp = join(scratch, "esp.fat");
  await makeEsp(options, esp);

  const espSize = Math.ceil((await stat(esp)).size / MIB);
  const rootSize = Math.ceil((await stat(root)).size / MIB);
  // the first and the last MiB hold the two copies of the partition table, 64 are the least for data
  const least = 1 + espSize + rootSize + 64 + 1;
  if (size < least) throw new BuildError(`--size: an image needs ${least}M or more`);
  const disk = join(scratch, "disk.raw");
  await writeFile(disk, "");
  await truncate(disk, size * MIB);
  const legacy = architecture.name === "x86_64" ? ', attrs="LegacyBIOSBootable"' : "";
  const table = [
    "label: gpt",
    `label-id: ${GUIDS.disk}`,
    `start=1MiB, size=${espSize}MiB, type=${ESP_TYPE}, uuid=${GUIDS.esp}, name=amphora-boot${legacy}`,
    `size=${rootSize}MiB, type=${architecture.rootType}, uuid=${GUIDS.root}, name=${ROOT_LABEL}`,
  ];
  await tools.run("sfdisk", ["--quiet", "--no-reread", "--no-tell-kernel", disk], { input: `${table.join("\n")}\n` });
  if (architecture.name === "x86_64") {
    await copyInto(tools.path("usr/lib/syslinux/mbr/gptmbr.bin"), disk, 0);
  }
  await copyInto(esp, disk, MIB);
  await copyInto(root, disk, (1 + espSize) * MIB);
  return disk;
}

async function makeSquashfs({ root, tools, time }: DiskOptions, file: string): Promise<void> {
  const times = ["-mkfs-time", String(time), "-all-time", String(time), "-root-time", String(time)];
  const owner = ["-default-mode", "0755", "-default-uid", "0", "-default-gid", "0"];
  const compression = ["-comp", "zstd", "-Xcompression-level", "15", "-b", "131072"];
  const rest = ["-noappend", "-quiet", "-no-progress", "-reproducible", "-no-exports", "-no-xattrs"];
  const child = spawn(tools.program("mksquashfs"), ["-", file, "-tar", ...owner, ...times, ...compression, ...rest], {
    stdio: ["pipe", "ignore", "pipe"],
    timeout: 600_000,
    killSignal: "SIGKILL",
  });
  let words = "";
  child.stderr.on("data", (chunk: Buffer) => {
    words += chunk.toString();
  });
  const closed = once(child, "close") as Promise<[number | null]>;
  await pipeline(Readable.from(tar(root, time)), child.stdin).catch(() => undefined);
  const [code] = await closed;
  if (code !== 0) throw new BuildError(`mksquashfs: ${words.trim() || `ended with ${code}`}`);
}

async function makeEsp(options: DiskOptions, file: string): Promise<void> {
  const { architecture, tools, scratch, time } = options;
  const folder = join(scratch, "esp");
  await mkdir(folder);
  const { serialConsole } = architecture.qemu;
  const kernelOptions = [
    `root=PARTLABEL=${ROOT_LABEL} ro quiet net.ifnames=0`,
    `console=tty0 console=${serialConsole}`,
    // every partition is named in fstab
    "systemd.gpt_auto=0",
    // a kernel that panics starts again, before sysctl has set that
    "panic=10",
  ].join(" ");
  const parts: Record<string, Buffer | string> = {
    vmlinuz: options.kernel,
    "loader.conf": "timeout 0\neditor no\nauto-entries no\n",
    "amphora.conf": `title Amphora\nlinux /vmlinuz\ninitrd /initrd\noptions ${kernelOptions}\n`,
    "syslinux.cfg": `DEFAULT amphora\nPROMPT 0\nTIMEOUT 0\nLABEL amphora\n  LINUX /vmlinuz\n  INITRD /initrd\n  APPEND ${kernelOptions}\n`,
    "loader.efi": options.bootLoader,
  };
  for (const [name, content] of Object.entries(parts)) await writeFile(join(folder, name), content);
  await writeCpio(options.initrd, join(folder, "initrd"));
  for (const name of [...Object.keys(parts), "initrd"]) await utimes(join(folder, name), time, time);

  const bytes = (await Promise.all(["vmlinuz", "initrd"].map((name) => stat(join(folder, name))))).map(
    ({ size }) => size,
  );
  const used = bytes.reduce((sum, each) => sum + each, 0);
  // FAT32 begins at 33 MiB
  const size = Math.max(40, Math.ceil(used / MIB) + 8);
  await writeFile(file, "");
  await truncate(file, size * MIB);
  const env = { SOURCE_DATE_EPOCH: String(time) };
  await tools.run("mkfs.vfat", ["--invariant", "-i", FAT_SERIAL, "-n", "AMPHORA", "-F", "32", file], { env });
  const pc = architecture.name === "x86_64";
  const copy = (name: string, target: string) =>
    tools.run("mcopy", ["-m", "-i", file, join(folder, name), target], { env });
  await tools.run("mmd", ["-i", file, "::EFI", "::EFI/BOOT", "::loader", "::loader/entries"], { env });
  await copy("vmlinuz", "::vmlinuz");
  await copy("initrd", "::initrd");
  await copy("loader.efi", `::EFI/BOOT/BOOT${efiSuffix(architecture).toUpperCase()}.EFI`);
  await copy("loader.conf", "::loader/loader.conf");
  await copy("amphora.conf", "::loader/entries/amphora.conf");
  if (!pc) return;
  await copy("syslinux.cfg", "::syslinux.cfg");
  await tools.run("syslinux", ["--install", file], { env });
}

/** Copies a file's bytes to a place in another, holes left out. */
async function copyInto(source: string, target: string, offset: number): Promise<void> {
  const from = await open(source);
  const to = await open(target, "r+");
  try {
    const buffer = Buffer.alloc(MIB);
    const zeros = Buffer.alloc(MIB);
    for (let at = 0; ; ) {
      const { bytesRead } = await from.read(buffer, 0, MIB, at);
      if (bytesRead === 0) return;
      const chunk = buffer.subarray(0, bytesRead);
      if (!chunk.equals(zeros.subarray(0, bytesRead))) await to.write(chunk, 0, bytesRead, offset + at);
      at += bytesRead;
    }
  } finally {
    await from.close();
    await to.close();
  }
}
