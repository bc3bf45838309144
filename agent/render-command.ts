/** `amphora-agent render`: the generator as a command, with neither root nor network. */
import { access, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { execa } from "execa";
import writeFileAtomic from "write-file-atomic";
import { layoutIn } from "../templates/layout.ts";
import { HAPROXY_CFG, render, targetOf } from "../templates/render.ts";
import { type AmphoraSpec, parseSpec, SpecError } from "../templates/spec.ts";
import { complaints } from "./dataplane/haproxy.ts";
import { fileFault, messageOf } from "./faults.ts";
import { writeFiles } from "./files.ts";

/** What stops the command; the message is for the person who called it. */
export class RenderError extends Error {
  override readonly name = "RenderError";
}

export interface RenderOptions {
  /** a file, or - for standard input */
  readonly spec: string;
  readonly out: string;
  /** have HAProxy read the result */
  readonly check: boolean;
  readonly haproxy: string;
}

/**
 * Writes the same files as on the instance below `out`.
 * @param say receives what was done, a line at a time
 * @throws {RenderError}
 */
export async function renderCommand(options: RenderOptions, say: (line: string) => void): Promise<void> {
  const spec = await readSpec(options.spec);
  // checked before anything is written: a refused spec leaves no files behind
  if (options.check) say(await check(spec, options.haproxy));
  try {
    for (const [path, file] of render(spec)) {
      const target = join(options.out, path);
      await mkdir(dirname(target), { recursive: true });
      await writeFileAtomic(target, file.content, { mode: file.mode });
      say(target);
    }
  } catch (error) {
    throw new RenderError(`--out ${options.out}: ${messageOf(error)}`);
  }
}

async function readSpec(file: string): Promise<AmphoraSpec> {
  const name = file === "-" ? "standard input" : file;
  try {
    return parseSpec(JSON.parse(file === "-" ? await text(process.stdin) : await readFile(file, "utf8")));
  } catch (error) {
    if (error instanceof SpecError) {
      throw new RenderError(
        error.problems.map((each) => `${name}: ${each.path || "spec"}: ${each.message}`).join("\n"),
      );
    }
    throw new RenderError(`${name}: ${fileFault(error)}`);
  }
}

/** Has HAProxy read the result in a folder of its own, certificates and all. */
async function check(spec: AmphoraSpec, haproxy: string): Promise<string> {
  const found = await access(haproxy).then(
    () => true,
    () => false,
  );
  if (!found) return `not checked: there is no ${haproxy}`;
  const folder = await mkdtemp(join(tmpdir(), "amphora-render-"));
  const layout = layoutIn(folder, folder);
  try {
    await writeFiles(render(spec, layout), layout);
    const args = ["-c", "-f", targetOf(HAPROXY_CFG, layout)];
    const result = await execa(haproxy, args, { reject: false, timeout: 30_000, stdin: "ignore" });
    if (result.failed) throw new RenderError(`HAProxy refuses the result: ${complaints(result.stderr).join("; ")}`);
    return "checked by HAProxy: valid";
  } finally {
    await rm(folder, { recursive: true });
  }
}
