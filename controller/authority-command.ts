/** `amphora-controller ca show|rotate`: the certificate authority, seen and replaced. */
import { X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Authorities, replaceAuthority } from "./amphorae/authorities.ts";
import { openVault } from "./secrets/key.ts";
import { type Settings, SettingsError } from "./settings.ts";
import { Store } from "./store/database.ts";

export const AUTHORITY_ACTIONS = ["show", "rotate"] as const;
type Action = (typeof AUTHORITY_ACTIONS)[number];

/** The replacement can't begin; the message says why. */
export class RotationError extends Error {
  override readonly name = "RotationError";
}

/** @throws {SettingsError} for an unknown action, or a deployment that has none @throws {RotationError} */
export async function authorityCommand(
  action: string | undefined,
  settings: Settings,
  say: (line: string) => void,
): Promise<void> {
  const known: Action | undefined = AUTHORITY_ACTIONS.find((each) => each === action);
  if (known === undefined)
    throw new SettingsError(`ca: ${action ?? ""} must be one of ${AUTHORITY_ACTIONS.join(", ")}`);
  if (settings.secrets !== "local") throw new SettingsError("ca: with secrets noop there is no certificate authority");
  const dataDir = settings["data-dir"];
  const file = join(dataDir, "amphora.db");
  // or it would be made
  if (settings.database === "sqlite" && !existsSync(file)) throw new SettingsError(`data-dir: there is no ${file}`);
  const store = await Store.open(settings.database === "sqlite" ? file : settings.database);
  try {
    const vault = await openVault(store, settings["secrets-key-file"] || join(dataDir, "secrets.key"));
    const authorities = await Authorities.open(store, vault);
    if (known === "rotate") {
      if (!(await replaceAuthority(store, vault))) {
        throw new RotationError("ca: the authority is being replaced already; ca show tells how far that is");
      }
      await authorities.refresh();
      say("A new authority has been made. Running controllers go on by themselves; ca show tells how far they are.");
    }
    await show(store, authorities, say);
  } finally {
    await store.close();
  }
}

async function show(store: Store, authorities: Authorities, say: (line: string) => void): Promise<void> {
  for (const { certificate, state } of authorities.rows) {
    const { subject, validTo, fingerprint256 } = new X509Certificate(certificate);
    say(`${state.padEnd(8)} ${subject.replace("CN=", "")}, until ${validTo}, SHA-256 ${fingerprint256}`);
  }
  const rows = await store.db.selectFrom("amphorae").select("authorities").where("status", "=", "ALLOCATED").execute();
  const done = rows.filter((row) => row.authorities === authorities.stamp).length;
  say(`${done} of ${rows.length} amphorae have what the present step asks for.`);
}
