/** Builds an image: packages, root file system, disk, manifest. */
import { mkdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import type { Architecture } from "./architectures.ts";
import { BuildError } from "./build-error.ts";
import { CACHE, imageName, kernelFile, sha256 } from "./built.ts";
import type { Mirrors } from "./debian/mirrors.ts";
import { Packages } from "./debian/packages.ts";
import { makeDisk } from "./disk.ts";
import { makeInitrd } from "./initrd.ts";
import { LockedError, lock } from "./lock.ts";
import { manifest, type Part } from "./manifest.ts";
import { nodeFor } from "./node.ts";
import { packagesFor, SSH_PACKAGES, type Suite } from "./recipe.ts";
import { makeRoot } from "./root.ts";
import { Tools } from "./tools.ts";

const ROOT = join(import.meta.dirname, "..");
/** Of the files of an image that was built from no commit: 2025-10-09. */
const TIME_WITHOUT_COMMIT = 1_760_000_000;

export const FORMATS = ["qcow2", "raw"] as const;
export type Format = (typeof FORMATS)[number];

export interface BuildOptions {
  readonly architecture: Architecture;
  readonly suite: Suite;
  readonly mirrors: Mirrors;
  readonly out: string;
  readonly format: Format;
  /** of the disk that an instance sees, MiB */
  readonly size: number;
  /** a public key that may log in as root, in an image for debugging; null for every other */
  readonly sshKey: string | null;
  readonly signal: AbortSignal;
}

export interface Built {
  readonly image: string;
  readonly manifest: string;
}

/**
 * Builds an image. It has its name only when it is whole; whatever ends the build, nothing else is left.
 * @param say receives each step with what it took
 * @throws {BuildError}
 */
export async function buildImage(options: BuildOptions, say: (line: string) => void): Promise<Built> {
  await mkdir(CACHE, { recursive: true });
  await mkdir(options.out, { recursive: true });
  const release = await lock(join(CACHE, "lock"), 0).catch((error: unknown) => {
    if (error instanceof LockedError) throw new BuildError("another build is under way");
    throw error;
  });
  const scratch = join(options.out, ".amphora-image");
  try {
    await rm(scratch, { recursive: true, force: true });
    await mkdir(scratch);
    return await Promise.race([build(options, scratch, say), aborted(options.signal)]);
  } catch (error) {
    if (error instanceof Error && /ENOSPC|No space left on device/.test(error.message)) {
      throw new BuildError(`no space is left for ${options.out} and ${CACHE}`);
    }
    throw error;
  } finally {
    await rm(scratch, { recursive: true, force: true });
    await release();
  }
}

/** Rejects with the signal's reason. What the build has started ends with this process, or for want of its files. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

async function build(options: BuildOptions, scratch: string, say: (line: string) => void): Promise<Built> {
  const { architecture, suite, mirrors, out, format, size, sshKey } = options;
  let begun = performance.now();
  const done = (what: string) => {
    say(`${what.padEnd(40)} ${((performance.now() - begun) / 1000).toFixed(1)} s`);
    begun = performance.now();
  };
  const time = await sourceDate();
  const tools = await Tools.open({ suite, mirrors, cache: CACHE });
  done("tools");
  const names = [...packagesFor(architecture), ...(sshKey === null ? [] : SSH_PACKAGES)];
  const source = { suite, architecture: architecture.debian, mirrors, cache: join(CACHE, "debian") };
  const debian = await Packages.open(source);
  const packages = await debian.resolve(names);
  const archives = await debian.download(names);
  const node = await nodeFor(architecture, CACHE);
  done(`${packages.length} packages, Node ${node.version}`);
  const runTool = (tool: "xz" | "depmod", args: readonly string[]) => tools.run(tool, args);
  const root = await makeRoot({ architecture, packages, archives, node: node.program, runTool, sshKey });
  await writeFile(kernelFile(architecture), root.kernel);
  const initrd = await makeInitrd(root.tree, runTool);
  done(`root file system, ${root.tree.size} files`);
  const raw = await makeDisk({ ...root, architecture, root: root.tree, initrd, tools, scratch, time, size });
  done("disk");
  const name = `${imageName(architecture)}${sshKey === null ? "" : "-ssh"}`;
  const unfinished = format === "raw" ? raw : join(scratch, "disk.qcow2");
  if (format === "qcow2") {
    const compressed = ["-c", "-o", "compression_type=zstd"];
    await tools.run("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", ...compressed, raw, unfinished]);
  }
  const image: Part = { name: `${name}.${format}`, sha256: await sha256(unfinished) };
  const parts = await Promise.all(
    ["root.squashfs", "esp.fat", "esp/vmlinuz", "esp/initrd"].map(async (file) => ({
      name: file.replace("esp/", ""),
      sha256: await sha256(join(scratch, file)),
    })),
  );
  const sums = await Promise.all(
    packages.map(async (each) => ({ ...each, sha256: await sha256(join(archives, each.file)) })),
  );
  const { copyrights, modules } = root;
  const text = await manifest({ architecture, suite, time, image, parts, packages: sums, copyrights, modules });
  await writeFile(join(scratch, "manifest"), text);
  done(format);
  const built = { image: join(out, image.name), manifest: join(out, `${image.name}.cdx.json`) };
  await rename(join(scratch, "manifest"), built.manifest);
  await rename(unfinished, built.image);
  const used = ((await stat(built.image)).blocks * 512) / 1e6;
  say(`${built.image}: ${used.toFixed(0)} MB, sha256 ${image.sha256}`);
  return built;
}

/** When the commit was made that the image is of, seconds since 1970: SOURCE_DATE_EPOCH, where it is set, comes first. */
async function sourceDate(): Promise<number> {
  const set = process.env.SOURCE_DATE_EPOCH;
  if (set !== undefined) {
    if (/^\d{1,11}$/.test(set)) return Number(set);
    throw new BuildError(`SOURCE_DATE_EPOCH: ${JSON.stringify(set)} is no number of seconds`);
  }
  const options = { cwd: ROOT, timeout: 10_000, reject: false, stdin: "ignore" } as const;
  const { stdout, failed } = await execa("git", ["log", "-1", "--format=%ct"], options);
  return failed || !/^\d+$/.test(stdout) ? TIME_WITHOUT_COMMIT : Number(stdout);
}
