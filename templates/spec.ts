/**
 * The one document an amphora is made from. The controller sends the whole of it (`PUT /v1/spec`); everything on the
 * instance follows from it. Names are spelled as the REST API spells them.
 */
import { type AmphoraSpec, document } from "./spec/document.ts";
import { relationProblems, type SpecProblem } from "./spec/relations.ts";

export type * from "./spec/document.ts";
export { ciphersFault, monitorFault, persistenceFault, ruleFault, type SpecProblem } from "./spec/relations.ts";

/** A document that is no valid spec. `problems` names each fault. */
export class SpecError extends Error {
  override readonly name = "SpecError";
  readonly problems: readonly SpecProblem[];

  constructor(problems: readonly SpecProblem[]) {
    super(problems.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`)).join("; "));
    this.problems = problems;
  }
}

/**
 * Checks a document and fills in its defaults.
 * @throws {SpecError} naming every field that is missing, unknown or out of its range, and every broken reference
 */
export function parseSpec(given: unknown): AmphoraSpec {
  const parsed = document.safeParse(given);
  if (!parsed.success) {
    throw new SpecError(parsed.error.issues.map((issue) => ({ path: pathText(issue.path), message: issue.message })));
  }
  const problems = relationProblems(parsed.data);
  if (problems.length > 0) throw new SpecError(problems);
  return parsed.data;
}

function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, key) => (typeof key === "number" ? `${text}[${key}]` : text === "" ? String(key) : `${text}.${String(key)}`),
    "",
  );
}
