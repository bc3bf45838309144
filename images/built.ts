/** What builds leave on this machine, and what is known of a built image. */
import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import packageJson from "../package.json" with { type: "json" };
import type { Architecture } from "./architectures.ts";
import { BuildError } from "./build-error.ts";
import { imageOf } from "./manifest.ts";
import { type Accelerator, chooseAccelerator } from "./qemu.ts";

const ROOT = join(import.meta.dirname, "..");
export const CACHE = join(ROOT, ".cache/images");
/** Where images go, unless the build is told otherwise. */
export const OUT = join(ROOT, "dist");

/** Without the format at its end. */
export function imageName({ name }: Architecture): string {
  return `amphora-${packageJson.version}-${name}`;
}

/** The kernel of the last image of an architecture that was built here. */
export function kernelFile({ name }: Architecture): string {
  return join(CACHE, `vmlinuz-${name}`);
}

export async function sha256(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

/**
 * @returns the image's sha256, and whether there is a manifest that it was compared with
 * @throws {BuildError} when the manifest beside it is of other bytes
 */
export async function identify(image: string): Promise<{ sha256: string; named: boolean }> {
  const found = await sha256(image);
  const text = await readFile(`${image}.cdx.json`, "utf8").catch(() => null);
  if (text === null) return { sha256: found, named: false };
  const { name, sha256: wanted } = imageOf(text);
  if (found === wanted) return { sha256: found, named: true };
  throw new BuildError(`${basename(image)}: sha256 is ${found}, not ${wanted} as for ${name}`);
}

/**
 * What runs machines of an architecture on this host. It is found out with a kernel: the one of the last image that was
 * built here, or this host's; without any, they are emulated.
 */
export async function acceleratorFor(architecture: Architecture): Promise<Accelerator> {
  const installed = (await readdir("/boot").catch(() => [])).filter((name) => name.startsWith("vmlinuz-"));
  const kernels = [kernelFile(architecture), ...installed.map((name) => join("/boot", name))];
  const kernel = kernels.find((file) => existsSync(file));
  return kernel === undefined ? "tcg" : chooseAccelerator(architecture, kernel);
}
