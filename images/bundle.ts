/** The agent as an image has it: one module with everything that it imports, and its templates beside it. */
import { glob, readFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import type { FileTree } from "./tree.ts";

const ROOT = join(import.meta.dirname, "..");
const FOLDER = "usr/lib/amphora";

const COMMON_JS = [
  'import { createRequire } from "node:module";',
  "const require = createRequire(import.meta.url);",
  "const { filename: __filename, dirname: __dirname } = import.meta;",
];

/** Puts agent and templates into the tree. */
export async function addAgent(tree: FileTree): Promise<{ modules: readonly string[] }> {
  const { outputFiles, metafile } = await build({
    entryPoints: [join(ROOT, "agent/main.ts")],
    bundle: true,
    write: false,
    metafile: true,
    platform: "node",
    format: "esm",
    target: "node24",
    absWorkingDir: ROOT,
    // what CommonJS modules among the packages take for given
    banner: { js: COMMON_JS.join("\n") },
    // names in stack traces are worth more than a few kilobytes
    minifyWhitespace: true,
    legalComments: "eof",
    logLevel: "error",
  });
  const [bundle] = outputFiles;
  if (bundle === undefined) throw new Error("esbuild made nothing");
  tree.file(`${FOLDER}/agent.mjs`, Buffer.from(bundle.contents));
  for (const path of await templates()) {
    tree.file(`${FOLDER}/${path.slice("templates/".length)}`, await readFile(join(ROOT, path)));
  }
  return { modules: packagesOf(Object.keys(metafile.inputs)) };
}

/** Templates, and files that are used as they are, are read from the folder that the bundle is in. */
async function templates(): Promise<string[]> {
  const found: string[] = [];
  for await (const path of glob("templates/{haproxy,keepalived,nftables}/*", { cwd: ROOT })) {
    if (!path.endsWith(".ts")) found.push(path);
  }
  return found.sort();
}

/** The npm packages that the inputs of a bundle are of, such as node_modules/zod. */
function packagesOf(inputs: readonly string[]): string[] {
  const packages = inputs.flatMap((path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []);
  return [...new Set(packages)].sort();
}
