/** A file system as data: what lies where, whose it is and what is in it. Nothing here touches the disk. */
import { posix } from "node:path";

export type Entry =
  | { readonly type: "file"; readonly mode: number; readonly uid: number; readonly gid: number; readonly data: Buffer }
  | { readonly type: "folder"; readonly mode: number; readonly uid: number; readonly gid: number }
  | { readonly type: "link"; readonly target: string };

/** A path that is not there, or that is something else than what was asked for. */
export class TreeError extends Error {
  override readonly name = "TreeError";
}

/** Paths have no leading slash. A folder is made with the first thing put into it, 0755 and root's. */
export class FileTree {
  readonly #entries = new Map<string, Entry>();

  get size(): number {
    return this.#entries.size;
  }

  /** Everything, folders before what is in them, in the order of the bytes of their names: the same tree, the same order. */
  *entries(): Generator<[string, Entry]> {
    const paths = [...this.#entries.keys()].map((path) => ({ path, bytes: Buffer.from(path) }));
    paths.sort((a, b) => Buffer.compare(a.bytes, b.bytes));
    for (const { path } of paths) {
      const entry = this.#entries.get(path);
      if (entry !== undefined) yield [path, entry];
    }
  }

  get(path: string): Entry | undefined {
    return this.#entries.get(path);
  }

  has(path: string): boolean {
    return this.#entries.has(path);
  }

  /** Puts an entry at a path, in place of what was there. Symbolic links on the way are followed, as the kernel does. */
  set(path: string, entry: Entry): this {
    const real = this.#throughLinks(path);
    this.#makeParents(real);
    this.#entries.set(real, entry);
    return this;
  }

  file(path: string, data: Buffer | string, mode = 0o644): this {
    return this.set(path, {
      type: "file",
      mode,
      uid: 0,
      gid: 0,
      data: typeof data === "string" ? Buffer.from(data) : data,
    });
  }

  folder(path: string, mode = 0o755): this {
    return this.set(path, { type: "folder", mode, uid: 0, gid: 0 });
  }

  link(path: string, target: string): this {
    return this.set(path, { type: "link", target });
  }

  /** Removes what is at the path, and below it. Nothing happens when there is nothing. */
  remove(path: string): this {
    this.#entries.delete(path);
    for (const each of this.#entries.keys()) if (each.startsWith(`${path}/`)) this.#entries.delete(each);
    return this;
  }

  /** The path that this one comes to when every symbolic link on it is followed; null when it leads nowhere. */
  resolve(path: string): string | null {
    let at = this.#throughLinks(path);
    for (let hops = 0; hops < 16; hops++) {
      const entry = this.#entries.get(at);
      if (entry === undefined) return null;
      if (entry.type !== "link") return at;
      at = this.#throughLinks(follow(at, entry.target));
    }
    return null;
  }

  /** The bytes of a file, links followed. @throws {TreeError} when there is no such file */
  read(path: string): Buffer {
    const real = this.resolve(path);
    const entry = real === null ? undefined : this.#entries.get(real);
    if (entry?.type !== "file") throw new TreeError(`${path}: no such file`);
    return entry.data;
  }

  /** The names in a folder. */
  list(path: string): string[] {
    const prefix = path === "" ? "" : `${path}/`;
    const inside = [...this.#entries.keys()].filter((each) => each.startsWith(prefix));
    return inside.map((each) => each.slice(prefix.length)).filter((name) => name !== "" && !name.includes("/"));
  }

  #makeParents(path: string): void {
    const parent = posix.dirname(path);
    if (parent === "." || this.#entries.has(parent)) return;
    this.#makeParents(parent);
    this.#entries.set(parent, { type: "folder", mode: 0o755, uid: 0, gid: 0 });
  }

  /** The path with links in its folders followed; its last part stays as it is. */
  #throughLinks(path: string): string {
    const parts = posix
      .normalize(path)
      .split("/")
      .filter((part) => part !== "" && part !== ".");
    const last = parts.pop();
    if (last === undefined) throw new TreeError(`not a path: ${JSON.stringify(path)}`);
    let at = "";
    for (const part of parts) {
      at = at === "" ? part : `${at}/${part}`;
      for (let hops = 0; hops < 16; hops++) {
        const entry = this.#entries.get(at);
        if (entry?.type !== "link") break;
        at = this.#throughLinks(follow(at, entry.target));
      }
    }
    return at === "" ? last : `${at}/${last}`;
  }
}

function follow(path: string, target: string): string {
  return posix.normalize(target.startsWith("/") ? target.slice(1) : posix.join(posix.dirname(path), target));
}
