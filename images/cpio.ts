/** Writes a file tree as an initramfs: a cpio archive of the kind that the kernel unpacks (initramfs-buffer-format.rst). */
import { createWriteStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Entry, FileTree } from "./tree.ts";

const TRAILER = "TRAILER!!!";
const FORMAT = { file: 0o100000, folder: 0o040000, link: 0o120000 };

/** Writes the tree to a file, or appends it: the kernel unpacks one archive after the other. */
export async function writeCpio(tree: FileTree, file: string, options: { append?: boolean } = {}): Promise<void> {
  await pipeline(Readable.from(cpio(tree)), createWriteStream(file, { flags: options.append ? "a" : "w" }));
}

/** The archive in pieces. Equal trees give equal bytes: inodes are counted and every time is 0. */
export function* cpio(tree: FileTree): Generator<Buffer> {
  let inode = 0;
  for (const [path, entry] of tree.entries()) {
    const data = contentOf(entry);
    yield header({ inode: ++inode, path, mode: modeOf(entry), ...ownerOf(entry), size: data.length });
    yield data;
    yield padding(data.length);
  }
  yield header({ inode: 0, path: TRAILER, mode: 0, uid: 0, gid: 0, size: 0 });
}

interface Header {
  readonly inode: number;
  readonly path: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
}

function header({ inode, path, mode, uid, gid, size }: Header): Buffer {
  const name = Buffer.from(`${path}\0`);
  const links = 1;
  const fields = [inode, mode, uid, gid, links, 0, size, 0, 0, 0, 0, name.length, 0];
  const text = fields.map((field) => field.toString(16).padStart(8, "0")).join("");
  const start = Buffer.concat([Buffer.from(`070701${text}`), name]);
  return Buffer.concat([start, padding(start.length)]);
}

/** Headers and contents begin at multiples of 4. */
function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}

function contentOf(entry: Entry): Buffer {
  if (entry.type === "file") return entry.data;
  return Buffer.from(entry.type === "link" ? entry.target : "");
}

function modeOf(entry: Entry): number {
  return FORMAT[entry.type] | (entry.type === "link" ? 0o777 : entry.mode);
}

function ownerOf(entry: Entry): { uid: number; gid: number } {
  return entry.type === "link" ? { uid: 0, gid: 0 } : { uid: entry.uid, gid: entry.gid };
}
