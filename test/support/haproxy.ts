/** HAProxy's own opinion of a configuration, and a reader of its language for checks that need no HAProxy. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { writeFiles } from "../../agent/files.ts";
import { layoutIn } from "../../templates/layout.ts";
import { HAPROXY_CFG, render, targetOf } from "../../templates/render.ts";
import type { AmphoraSpec } from "../../templates/spec.ts";

/**
 * Has HAProxy read what a spec renders to (`haproxy -c`).
 * @returns whether it takes it, its alerts and warnings (that the server state file is missing is none), and the text
 */
export async function haproxyCheck(
  spec: AmphoraSpec,
  haproxy = "haproxy",
): Promise<{ readonly valid: boolean; readonly said: string[]; readonly config: string }> {
  const folder = await mkdtemp(join(tmpdir(), "amphora-check-"));
  try {
    const layout = layoutIn(folder, folder);
    const files = render(spec, layout);
    await writeFiles(files, layout);
    const args = ["-c", "-f", targetOf(HAPROXY_CFG, layout)];
    const { exitCode, stderr } = await execa(haproxy, args, { reject: false, stdin: "ignore" });
    const said = stderr
      .split("\n")
      .filter((line) => /^\[(ALERT|WARNING)\]/.test(line) && !line.includes("server state file"));
    return { valid: exitCode === 0, said, config: files.get(HAPROXY_CFG)?.content ?? "" };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** One section of a configuration: `frontend NAME` and its lines, each as the words that HAProxy reads. */
export interface Section {
  readonly kind: string;
  readonly name: string;
  readonly lines: string[][];
}

const SECTIONS = new Set(["global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "userlist"]);

/** The sections of a configuration. @throws when a quote does not end, or a line stands outside any section */
export function readConfig(text: string): Section[] {
  const sections: Section[] = [];
  for (const line of text.split("\n")) {
    const words = readWords(line);
    const [keyword, name = ""] = words;
    if (keyword === undefined) continue;
    if (SECTIONS.has(keyword)) sections.push({ kind: keyword, name, lines: [] });
    else {
      const section = sections.at(-1);
      if (section === undefined) throw new Error(`outside any section: ${line}`);
      section.lines.push(words);
    }
  }
  return sections;
}

/**
 * The words of one line, by the rules of the configuration manual, 2.2 "Quoting and escaping": spaces part words, #
 * begins a comment, single quotes take everything literally, double quotes all but backslashes and variables, and a
 * backslash outside single quotes takes the meaning from what follows. No variable is set here: naming one throws.
 */
export function readWords(line: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  let quote = "";
  for (let i = 0; i < line.length; i++) {
    const c = line[i] ?? "";
    if (c === "\0" || c === "\r") throw new Error(`a control character in ${JSON.stringify(line)}`);
    if (quote === "'") {
      if (c === "'") quote = "";
      else word += c;
    } else if (c === "\\") {
      word = `${word ?? ""}${escaped(line[++i] ?? "", line)}`;
    } else if (quote === '"') {
      if (c === "$") throw new Error(`a variable in ${JSON.stringify(line)}`);
      if (c === '"') quote = "";
      else word += c;
    } else if (c === "'" || c === '"') {
      quote = c;
      word ??= "";
    } else if (c === "#") {
      break;
    } else if (c === " " || c === "\t") {
      if (word !== null) words.push(word);
      word = null;
    } else {
      word = `${word ?? ""}${c}`;
    }
  }
  if (quote !== "") throw new Error(`a quote does not end in ${JSON.stringify(line)}`);
  if (word !== null) words.push(word);
  return words;
}

function escaped(c: string, line: string): string {
  if (/^[nrtx]$/.test(c)) throw new Error(`an escape makes a control character of ${JSON.stringify(line)}`);
  return c;
}
