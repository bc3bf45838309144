/** How the key manager's secrets and containers are named. */

const KINDS = { secrets: "secret", containers: "container" } as const;
const UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
const REFERENCE = new RegExp(`^(?:https?://[!-~]+/(secrets|containers)/)?(${UUID})/?$`, "i");

/** What a reference names in the key manager. */
export interface Named {
  /** null: a bare id, of either */
  readonly kind: "secret" | "container" | null;
  readonly id: string;
}

/** @returns null when it is neither a URL whose path ends in /secrets/UUID or /containers/UUID, nor a UUID */
export function parseReference(text: string): Named | null {
  const found = REFERENCE.exec(text);
  if (found === null) return null;
  const [, plural, id = ""] = found;
  const kind = plural?.toLowerCase() as keyof typeof KINDS | undefined;
  return { kind: kind === undefined ? null : KINDS[kind], id: id.toLowerCase() };
}
