/** Unpacks .deb files into a file tree. Nothing of them is run: what their scripts would have done is the recipe's work. */
import { spawn } from "node:child_process";
import { Parser, type ReadEntry } from "tar";
import { BuildError } from "../build-error.ts";
import type { FileTree } from "../tree.ts";

const UNPACK_LIMIT = 120_000;

/**
 * Puts the files of a package into the tree.
 * @param wanted what is not is left out; paths have no leading slash
 * @throws {BuildError} when the file is no package, or cut short
 */
export async function unpack(deb: string, tree: FileTree, wanted: (path: string) => boolean): Promise<void> {
  const child = spawn("dpkg-deb", ["--fsys-tarfile", deb], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: UNPACK_LIMIT,
    killSignal: "SIGKILL",
  });
  let words = "";
  child.stderr.on("data", (chunk: Buffer) => {
    words += chunk.toString();
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  const parser = new Parser({ strict: true, onReadEntry: (entry) => take(entry, tree, wanted) });
  const parsed = new Promise<void>((resolve, reject) => {
    parser.on("end", resolve);
    parser.on("error", reject);
  });
  child.stdout.on("data", (chunk: Buffer) => {
    // the parser asks for patience with false
    if (!parser.write(chunk)) {
      child.stdout.pause();
      parser.once("drain", () => child.stdout.resume());
    }
  });
  child.stdout.on("end", () => parser.end());
  const [code] = await Promise.all([ended, parsed]);
  if (code !== 0) throw new BuildError(`${deb}: ${words.trim() || "dpkg-deb failed"}`);
}

function take(entry: ReadEntry, tree: FileTree, wanted: (path: string) => boolean): void {
  const path = entry.path.replace(/^\.?\//, "").replace(/\/$/, "");
  if (path === "" || path === "." || !wanted(path)) {
    entry.resume();
    return;
  }
  const owner = { mode: (entry.mode ?? 0) & 0o7777, uid: entry.uid ?? 0, gid: entry.gid ?? 0 };
  if (entry.type === "Directory") {
    if (!tree.has(path)) tree.set(path, { type: "folder", ...owner });
    entry.resume();
  } else if (entry.type === "SymbolicLink") {
    tree.link(path, entry.linkpath ?? "");
    entry.resume();
  } else if (entry.type === "Link") {
    const target = (entry.linkpath ?? "").replace(/^\.?\//, "");
    const original = tree.get(target);
    if (original !== undefined) tree.set(path, original);
    entry.resume();
  } else {
    const chunks: Buffer[] = [];
    entry.on("data", (chunk: Buffer) => chunks.push(Buffer.from(chunk)));
    entry.on("end", () => tree.set(path, { type: "file", ...owner, data: Buffer.concat(chunks) }));
  }
}
