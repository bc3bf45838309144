/** Node for the image: the npm package of the project's own version, for whichever architecture. */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { x } from "tar";
import { type Architecture, ownArchitecture } from "./architectures.ts";
import { BuildError } from "./build-error.ts";

const ROOT = join(import.meta.dirname, "..");
const DOWNLOAD_LIMIT = 300_000;

export interface Node {
  readonly program: Buffer;
  readonly name: string;
  readonly version: string;
}

/**
 * The one that is installed, or, for another architecture, one that npm fetches from where this machine's npm does; it
 * must be the one that the lockfile names.
 * @throws {BuildError}
 */
export async function nodeFor(architecture: Architecture, cache: string): Promise<Node> {
  const name = architecture.nodePackage;
  const lock = JSON.parse(await readFile(join(ROOT, "package-lock.json"), "utf8")) as {
    packages: Record<string, { version: string; integrity: string }>;
  };
  const locked = lock.packages[`node_modules/${name}`];
  if (locked === undefined) throw new BuildError(`package-lock.json has no ${name}`);
  const { version, integrity } = locked;
  if (architecture.name === ownArchitecture().name) {
    return { name, version, program: await readFile(join(ROOT, "node_modules", name, "bin/node")) };
  }
  const file = join(cache, `${name}-${version}`);
  const kept = await readFile(file).catch(() => null);
  if (kept !== null) return { name, version, program: kept };
  await mkdir(cache, { recursive: true });
  const scratch = await mkdtemp(join(cache, "node-"));
  try {
    const tarball = await pack(`${name}@${version}`, scratch);
    const sum = `sha512-${createHash("sha512")
      .update(await readFile(tarball))
      .digest("base64")}`;
    if (sum !== integrity)
      throw new BuildError(`${name}@${version}: what npm fetched is not what package-lock.json names`);
    await x({ file: tarball, cwd: scratch, filter: (path) => path === "package/bin/node" });
    await rename(join(scratch, "package/bin/node"), file);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return { name, version, program: await readFile(file) };
}

async function pack(spec: string, folder: string): Promise<string> {
  const result = await execa("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", folder, spec], {
    cwd: folder,
    timeout: DOWNLOAD_LIMIT,
    reject: false,
    stdin: "ignore",
  });
  if (result.failed) throw new BuildError(`npm pack ${spec}: ${result.stderr.trim() || result.shortMessage}`);
  return join(folder, result.stdout.trim().split("\n").at(-1) ?? "");
}
