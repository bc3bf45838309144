/** The identity driver that settings choose. */
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Logger } from "pino";
import { fileFault } from "../../agent/faults.ts";
import type { IdentityDriver } from "../api/identity.ts";
import { type Settings, SettingsError } from "../settings.ts";
import { StaticIdentity } from "./identity.ts";
import { KeystoneIdentity } from "./keystone/identity.ts";
import { readSecretFile } from "./secret-file.ts";
import { parseTokens, type StaticToken } from "./static/tokens-file.ts";

/** What stands in files that settings name. */
export interface IdentityFiles {
  readonly tokens: readonly StaticToken[];
  /** authorities of Keystone's certificate, PEM; absent: the system's */
  readonly ca?: string;
}

/** Makes nothing, and asks nobody. @throws {SettingsError} for what can't work */
export async function readIdentityFiles(settings: Settings): Promise<IdentityFiles> {
  const { identity, keystone, "admin-token": adminToken, "tokens-file": tokensFile } = settings;
  if (identity === "static") {
    const tokens = tokensFile === "" ? [] : parseTokens(tokensFile, await readSecretFile("tokens-file", tokensFile));
    if (adminToken !== "" && tokens.some(({ token }) => token === adminToken)) {
      throw new SettingsError(`tokens-file: ${tokensFile}: the administrator's token stands in it too`);
    }
    return { tokens };
  }
  const unused = Object.entries({ "admin-token": adminToken, "tokens-file": tokensFile }).find(([, value]) => value);
  if (unused !== undefined) throw new SettingsError(`${unused[0]}: is of no use with identity keystone`);
  for (const name of ["auth-url", "password-file"] as const) {
    if (keystone[name] === "") throw new SettingsError(`keystone.${name}: must be set with identity keystone`);
  }
  await readPassword(settings);
  return { tokens: [], ...(keystone["ca-file"] === "" ? {} : { ca: await readAuthorities(keystone["ca-file"]) }) };
}

/** @param adminToken null: there is none, with identity keystone */
export function openIdentity(
  settings: Settings,
  { tokens, ca }: IdentityFiles,
  adminToken: string | null,
  log: Logger,
): IdentityDriver {
  const { keystone } = settings;
  if (settings.identity === "static") {
    const caller = { userId: "admin", projectId: settings["admin-project"], roles: ["admin"], system: false };
    return new StaticIdentity(adminToken === null ? tokens : [{ token: adminToken, caller }, ...tokens]);
  }
  const identity = new KeystoneIdentity({
    authUrl: versionThree(keystone["auth-url"]),
    username: keystone.username,
    password: () => readPassword(settings),
    userDomain: keystone["user-domain"],
    project: keystone.project,
    projectDomain: keystone["project-domain"],
    ...(ca === undefined ? {} : { ca }),
    cacheLimit: keystone["cache-s"] * 1000,
    log,
  });
  void identity.prepare();
  return identity;
}

async function readPassword({ keystone }: Settings): Promise<string> {
  const file = keystone["password-file"];
  const password = (await readSecretFile("keystone.password-file", file)).replace(/\r?\n$/, "");
  if (password === "") throw new SettingsError(`keystone.password-file: ${file}: is empty`);
  return password;
}

async function readAuthorities(file: string): Promise<string> {
  try {
    const text = await readFile(file, "utf8");
    // throws unless a certificate is in it
    new X509Certificate(text);
    return text;
  } catch (error) {
    throw new SettingsError(`keystone.ca-file: ${file}: ${fileFault(error)}`);
  }
}

/** Cloud configurations write Keystone's URL with the version and without. */
function versionThree(url: string): string {
  const { href } = new URL(url);
  const base = href.replace(/\/+$/, "");
  return base.endsWith("/v3") ? base : `${base}/v3`;
}
