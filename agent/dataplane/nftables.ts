/** The rules of the tenant's namespace, replaced table by table in one transaction (nft(8), "atomic rule replacement"). */
import { CommandError, run, runInside } from "./inside.ts";

/** nft or the kernel does not take rules; the message holds what it said. */
export class RulesError extends Error {
  override readonly name = "RulesError";
}

/** Tables of this family and name are ours, all others are left alone. */
const OURS = /^table inet (amphora\S*)$/gm;

/**
 * The tables of a file, by name. A file is a row of tables, each of which begins and ends at the start of a line.
 * Exported for tests.
 */
export function tablesOf(text: string): Map<string, string> {
  const found = text.matchAll(/^table inet (\S+) \{\n[\s\S]*?^\}$/gm);
  return new Map([...found].map(([block, name = ""]) => [name, block]));
}

/**
 * What turns one ruleset into another, for `nft -f`. A table that is the same in both is not touched: to replace it
 * would lose what it has counted. Connections are not touched by any of it.
 * @param present names of the tables that the kernel has
 */
export function rulesetChange(before: string, after: string, present: readonly string[]): string {
  const [old, next] = [tablesOf(before), tablesOf(after)];
  const lines: string[] = [];
  for (const name of present) if (!next.has(name)) lines.push(`delete table inet ${name}`);
  for (const [name, block] of next) {
    if (present.includes(name) && old.get(name) === block) continue;
    // a table can only be deleted when it is there: the first line sees to that
    lines.push(`table inet ${name}`, `delete table inet ${name}`, block);
  }
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

/** Has nft and the kernel read rules without using them, in no particular namespace. @throws {RulesError} */
export async function checkRules(text: string): Promise<void> {
  try {
    await run(["nft", "-c", "-f", "-"], { input: text });
  } catch (error) {
    if (error instanceof CommandError) throw new RulesError(error.message);
    throw error;
  }
}

/**
 * Replaces `before` by `after`; an empty text is no rules.
 * @returns whether anything had to be done
 * @throws {CommandError} when the kernel refuses; then nothing has changed
 */
export async function applyRules(namespace: string, before: string, after: string): Promise<boolean> {
  const listed = await runInside(namespace, ["nft", "list", "tables"]);
  const present = [...listed.matchAll(OURS)].flatMap(([, name]) => name ?? []);
  const change = rulesetChange(before, after, present);
  if (change !== "") await runInside(namespace, ["nft", "-f", "-"], { input: change });
  return change !== "";
}
