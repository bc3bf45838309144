/** HAProxy's own opinion of a configuration, and a reader of its language for checks that need no HAProxy. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";

/**
 * Has the installed HAProxy read a configuration (`haproxy -c`).
 * @returns whether it takes it, and its alerts and warnings; that the server state file is missing is none
 */
export async function haproxyCheck(config: string): Promise<{ readonly valid: boolean; readonly said: string[] }> {
  const folder = await mkdtemp(join(tmpdir(), "amphora-check-"));
  try {
    const file = join(folder, "haproxy.cfg");
    await writeFile(file, config);
    const { exitCode, stderr } = await execa("haproxy", ["-c", "-f", file], { reject: false, stdin: "ignore" });
    const said = stderr
      .split("\n")
      .filter((line) => /^\[(ALERT|WARNING)\]/.test(line) && !line.includes("server state file"));
    return { valid: exitCode === 0, said };
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
