/** Writes a file tree as a tar archive, for the programs that make file systems from one. */
import { Header, Pax } from "tar";
import type { Entry, FileTree } from "./tree.ts";

const BLOCK = 512;
const TYPES = { file: "File", folder: "Directory", link: "SymbolicLink" } as const;

/** The archive in pieces. @param time of every file, seconds since 1970 */
export function* tar(tree: FileTree, time: number): Generator<Buffer> {
  for (const [path, entry] of tree.entries()) {
    const data = entry.type === "file" ? entry.data : Buffer.alloc(0);
    const fields = {
      path,
      type: TYPES[entry.type],
      size: data.length,
      mtime: new Date(time * 1000),
      ...ownerOf(entry),
    };
    const header = new Header(entry.type === "link" ? { ...fields, linkpath: entry.target } : fields);
    const block = Buffer.alloc(BLOCK);
    // a name too long for the old format goes before it, in one of its own
    if (header.encode(block)) yield new Pax(fields).encode();
    yield block;
    yield data;
    yield Buffer.alloc((BLOCK - (data.length % BLOCK)) % BLOCK);
  }
  yield Buffer.alloc(2 * BLOCK);
}

function ownerOf(entry: Entry): { mode: number; uid: number; gid: number } {
  return entry.type === "link" ? { mode: 0o777, uid: 0, gid: 0 } : { mode: entry.mode, uid: entry.uid, gid: entry.gid };
}
