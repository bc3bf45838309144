/** Where settings come from, and how they are shown: command line, file, help, example file. */
import { readFileSync } from "node:fs";
import { type ParseArgsOptionsConfig, parseArgs } from "node:util";
import YAML from "yaml";
import { fileFault, messageOf } from "../agent/faults.ts";
import { checkSettings, SETTINGS, type Setting, type Settings, SettingsError } from "./settings.ts";

/** What a command line says besides the settings. */
export interface CommandLine {
  readonly positionals: readonly string[];
  readonly help: boolean;
  readonly version: boolean;
  readonly settings: Settings;
}

/**
 * Settings from the command line, else from the file that `--config` names, else defaults.
 * @throws {SettingsError}
 */
export function readCommandLine(args: readonly string[]): CommandLine {
  const options: ParseArgsOptionsConfig = {
    config: { type: "string" },
    help: { type: "boolean", short: "h" },
    version: { type: "boolean" },
    demo: { type: "boolean" },
  };
  for (const [key, each] of Object.entries(SETTINGS)) if ("value" in each) options[key] = { type: "string" };
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    parsed = parseArgs({ args: [...args], options, allowPositionals: true, allowNegative: true });
  } catch (error) {
    throw new SettingsError(messageOf(error));
  }
  const { config, help, version, ...given } = parsed.values;
  const fromFile = typeof config === "string" ? readFile(config) : {};
  const numbers = Object.fromEntries(
    Object.entries(given).map(([key, value]) => [
      key,
      typeof value === "string" && /^\d+$/.test(value) && isNumeric(key) ? Number(value) : value,
    ]),
  );
  return {
    positionals: parsed.positionals,
    help: help === true,
    version: version === true,
    settings: checkSettings({ ...fromFile, ...numbers }),
  };
}

/** The text of the example file: every setting with its meaning and its default. */
export function exampleSettings(): string {
  const entries = Object.entries(SETTINGS).map(([key, each]) => {
    const example = "example" in each ? each.example : undefined;
    const text =
      example === undefined ? `#${key}: ${YAML.stringify(each.default).trim()}` : `#${key}:\n${commented(example)}`;
    return `# ${each.doc}\n${text}\n`;
  });
  return [
    "# Settings of amphora-controller: pass this file with --config. Every setting stands here with its default, but",
    "# subnets with an example. What --help lists can be set on the command line too, which wins over the file.\n",
    ...entries,
  ].join("\n");
}

/** The lines about settings in `--help`. */
export function settingsHelp(): string {
  const option = ([key, each]: [string, Setting<unknown>]): [string, string] => {
    if (each.value === undefined) return [`--no-${key}`, "Do without it."];
    return [`--${key} ${each.value}`, `${each.doc}${each.default === "" ? "" : ` Default: ${String(each.default)}`}`];
  };
  const shown = Object.entries(SETTINGS).filter(([key, each]) => "value" in each || key === "demo");
  const lines = shown.map((entry) => option(entry as [string, Setting<unknown>]));
  const all: [string, string][] = [
    ["--config FILE", "Settings from a YAML file; see settings.example.yaml."],
    ...lines,
  ];
  const width = Math.max(...all.map(([left]) => left.length)) + 2;
  return all.map(([left, right]) => `  ${left.padEnd(width)}${right}`).join("\n");
}

function readFile(file: string): Record<string, unknown> {
  let document: unknown;
  try {
    document = YAML.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new SettingsError(`config: ${file}: ${fileFault(error)}`);
  }
  if (document === null || document === undefined) return {};
  if (typeof document === "object" && !Array.isArray(document)) return document as Record<string, unknown>;
  throw new SettingsError(`config: ${file}: must hold names and values`);
}

function isNumeric(key: string): boolean {
  return Object.hasOwn(SETTINGS, key) && typeof SETTINGS[key as keyof typeof SETTINGS].default === "number";
}

function commented(text: string): string {
  return text.replace(/^/gm, "#");
}
