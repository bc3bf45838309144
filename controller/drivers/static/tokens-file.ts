/** The file of tokens beside the administrator's: who has one, and what they may do. */
import YAML from "yaml";
import { z } from "zod";
import type { Caller } from "../../api/identity.ts";
import { ROLES } from "../../api/policy.ts";
import { projectId, SettingsError } from "../../settings.ts";

export interface StaticToken {
  readonly token: string;
  readonly caller: Caller;
}

const entry = z
  .strictObject({
    // what others could find by trying is no token
    token: z.string().regex(/^[\x21-\x7e]{16,512}$/, "must be 16 to 512 characters of printable ASCII without spaces"),
    user: z.string().min(1).max(255),
    project: projectId.optional(),
    roles: z.array(z.enum(ROLES)).min(1),
    system: z.boolean().default(false),
  })
  .refine((each) => !(each.system && each.project !== undefined), {
    path: ["system"],
    message: "a token for the deployment as a whole has no project",
  });

/**
 * @param file for messages
 * @throws {SettingsError} naming for each fault file, entry and field, and no token
 */
export function parseTokens(file: string, text: string): StaticToken[] {
  const failed = (faults: readonly string[]) =>
    new SettingsError(faults.map((fault) => `tokens-file: ${file}: ${fault}`).join("; "));
  const lines = new YAML.LineCounter();
  // a message with the line's text would show a token
  const document = YAML.parseDocument(text, { prettyErrors: false, lineCounter: lines });
  if (document.errors.length > 0) {
    throw failed(document.errors.map(({ message, pos }) => `line ${lines.linePos(pos[0]).line}: ${message}`));
  }
  const entries: unknown = document.toJS();
  if (!Array.isArray(entries)) throw failed(["must hold a list of tokens"]);
  const tokens: StaticToken[] = [];
  const faults: string[] = [];
  for (const [i, each] of entries.entries()) {
    const parsed = entry.safeParse(each);
    if (!parsed.success) {
      faults.push(...parsed.error.issues.map((issue) => fault(i, issue)));
      continue;
    }
    const { token, user, project = "", roles, system } = parsed.data;
    const same = tokens.findIndex((other) => other.token === token);
    if (same >= 0) faults.push(`entry ${i + 1}: token: is that of entry ${same + 1} too`);
    tokens.push({ token, caller: { userId: user, projectId: project, roles, system } });
  }
  if (faults.length > 0) throw failed(faults);
  return tokens;
}

function fault(index: number, { path, message }: z.core.$ZodIssue): string {
  return [`entry ${index + 1}`, ...(path.length > 0 ? [path.join(".")] : []), message].join(": ");
}
