/** The key manager of the deployment's own database. */
import { createHash } from "node:crypto";
import { mayEverywhere } from "../../api/policy.ts";
import { parseReference } from "../../model/secret-reference.ts";
import { type Guarded, mayOn } from "../../secrets/access.ts";
import type { Vault } from "../../secrets/vault.ts";
import type { Store } from "../../store/database.ts";
import { findContainers, findSecrets, secretsIn } from "../../store/secrets.ts";
import type { ContainerRow, ContainerSecretRow, SecretRow } from "../../store/tables.ts";
import type { Reader, SecretsDriver, Stored } from "../secrets.ts";

/** Rows of everything that some references name. */
interface Known {
  readonly secrets: ReadonlyMap<string, SecretRow>;
  readonly containers: ReadonlyMap<string, ContainerRow>;
  readonly parts: ReadonlyMap<string, readonly ContainerSecretRow[]>;
}

/** What one reference names: a secret, or a container with its secrets, each of which has a payload. */
type Entry =
  | { readonly kind: "secret"; readonly secret: SecretRow }
  | { readonly kind: "container"; readonly container: ContainerRow; readonly parts: ReadonlyMap<string, SecretRow> };

export class LocalSecrets implements SecretsDriver {
  readonly #store: Store;
  readonly #vault: Vault;

  constructor(store: Store, vault: Vault) {
    this.#store = store;
    this.#vault = vault;
  }

  async read(references: readonly string[], reader?: Reader): Promise<ReadonlyMap<string, Stored>> {
    const known = await this.#look(references);
    const found = new Map<string, Stored>();
    for (const reference of references) {
      const entry = entryOf(known, reference);
      if (entry !== null && (reader === undefined || mayUse(reader, entry))) found.set(reference, this.#open(entry));
    }
    return found;
  }

  async versions(references: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const known = await this.#look(references);
    const found = new Map<string, string>();
    for (const reference of references) {
      const entry = entryOf(known, reference);
      if (entry !== null) found.set(reference, versionOf(entry));
    }
    return found;
  }

  /** Three statements, however many references there are, of one moment. */
  #look(references: readonly string[]): Promise<Known> {
    const named = references.flatMap((reference) => parseReference(reference) ?? []);
    const ids = (kind: "secret" | "container") =>
      named.filter((each) => (each.kind ?? kind) === kind).map((each) => each.id);
    return this.#store.snapshot(async (trx) => {
      const containers = await findContainers(trx, ids("container"));
      const parts = await secretsIn(trx, [...containers.keys()]);
      const inContainers = [...parts.values()].flat().map((part) => part.secret_id);
      return { containers, parts, secrets: await findSecrets(trx, [...ids("secret"), ...inContainers]) };
    });
  }

  #open(entry: Entry): Stored {
    const payload = ({ id, payload }: SecretRow) => this.#vault.open(id, payload ?? "");
    const version = versionOf(entry);
    if (entry.kind === "secret") return { kind: "secret", version, payload: payload(entry.secret) };
    const parts = new Map([...entry.parts].map(([name, row]) => [name, payload(row)]));
    return { kind: "container", version, type: entry.container.type, parts };
  }
}

/** @returns null when there is nothing, or not all of it */
function entryOf(known: Known, reference: string): Entry | null {
  const named = parseReference(reference);
  if (named === null) return null;
  const secret = named.kind === "container" ? undefined : known.secrets.get(named.id);
  if (secret !== undefined) return secret.payload === null ? null : { kind: "secret", secret };
  const container = named.kind === "secret" ? undefined : known.containers.get(named.id);
  if (container === undefined) return null;
  const parts = new Map<string, SecretRow>();
  for (const { name, secret_id } of known.parts.get(container.id) ?? []) {
    const row = known.secrets.get(secret_id);
    if (row === undefined || row.payload === null) return null;
    parts.set(name, row);
  }
  return { kind: "container", container, parts };
}

function versionOf(entry: Entry): string {
  if (entry.kind === "secret") return entry.secret.version ?? "";
  const parts = [...entry.parts].map(([name, row]) => [name, row.id, row.version]);
  return createHash("sha256").update(JSON.stringify(parts)).digest("base64");
}

/**
 * The caller must be able to read it. Who may change every project's load balancers may also use what belongs to the
 * load balancer's project, without being able to read it.
 */
function mayUse({ caller, projectId }: Reader, entry: Entry): boolean {
  const guarded: Guarded[] = entry.kind === "secret" ? [entry.secret] : [entry.container, ...entry.parts.values()];
  const inPlace = mayEverywhere(caller, "write") ? projectId : null;
  return guarded.every((each) => mayOn(caller, "decrypt", each) || each.project_id === inPlace);
}
