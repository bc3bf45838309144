/** Which files of a tree its programs need: the closure over their ELF files' needs. */
import { posix } from "node:path";
import { BuildError } from "./build-error.ts";
import { needsOf } from "./elf.ts";
import type { FileTree } from "./tree.ts";

/** Copies programs from one tree to another, with the loader and every library that they need. */
export function copyPrograms(from: FileTree, to: FileTree, programs: readonly string[], triplet: string): void {
  const queue = [...programs];
  const seen = new Set<string>();
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    const real = from.resolve(path);
    const entry = real === null ? undefined : from.get(real);
    if (entry?.type !== "file") throw new BuildError(`${path}: is in none of the packages`);
    to.set(path, entry);
    queue.push(...needed(from, entry.data, triplet, path));
  }
}

/** Where the loader and the libraries that a file needs are in the tree. @throws {BuildError} for one that is not there */
export function needed(tree: FileTree, program: Buffer, triplet: string, name: string): string[] {
  const needs = needsOf(program);
  if (needs === null) return [];
  const libraries = needs.libraries.map((library) => {
    // libsystemd-shared is where only systemd's own RUNPATH leads
    const places = [`usr/lib/${triplet}`, `usr/lib/${triplet}/systemd`, "usr/lib", "usr/lib64"].map(
      (each) => `${each}/${library}`,
    );
    const place = places.find((each) => tree.resolve(each) !== null);
    if (place === undefined) throw new BuildError(`${name} needs ${library}, which is in none of the packages`);
    return place;
  });
  const loader = needs.loader === null ? [] : [posix.join("usr", needs.loader)];
  return [...libraries, ...loader];
}
