/** Rendered files on disk: each is there whole or not at all. */
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { dirname } from "node:path";
import writeFileAtomic from "write-file-atomic";
import type { Layout } from "../templates/layout.ts";
import { RENDERED_FOLDERS, type RenderedFile, type RenderedFiles, targetOf } from "../templates/render.ts";

export async function writeFiles(files: RenderedFiles, layout: Layout): Promise<void> {
  for (const [path, { content, mode }] of files) {
    const target = targetOf(path, layout);
    await mkdir(dirname(target), { recursive: true, mode: 0o700 });
    await writeFileAtomic(target, content, { mode });
  }
}

/** What stands on disk at the paths of these sets; a file that is missing there is missing in the answer. */
export async function readFiles(layout: Layout, ...sets: readonly RenderedFiles[]): Promise<RenderedFiles> {
  const found = new Map<string, RenderedFile>();
  for (const [path, file] of sets.flatMap((files) => [...files])) {
    const content = await readFile(targetOf(path, layout), "utf8").catch(() => null);
    if (content !== null) found.set(path, { ...file, content });
  }
  return found;
}

/** Removes from the folders of rendered files whatever is none of these: a key outlives its listener by nothing. */
export async function removeOthers(files: RenderedFiles, layout: Layout): Promise<void> {
  for (const folder of RENDERED_FOLDERS) {
    const names = await readdir(targetOf(folder, layout)).catch(() => []);
    for (const name of names) {
      if (!files.has(folder + name)) await rm(targetOf(folder + name, layout), { recursive: true, force: true });
    }
  }
}
