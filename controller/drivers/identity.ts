/** Tokens that stand in files: the embedded default, with one for the administrator. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { chmod, readFile } from "node:fs/promises";
import writeFileAtomic from "write-file-atomic";
import type { Caller, IdentityDriver } from "../api/identity.ts";

/** Whoever can read a token is its owner. */
const MODE = 0o600;

export class StaticIdentity implements IdentityDriver {
  readonly authUrl = null;
  readonly #tokens: readonly { readonly digest: Buffer; readonly caller: Caller }[];

  constructor(tokens: readonly { readonly token: string; readonly caller: Caller }[]) {
    this.#tokens = tokens.map(({ token, caller }) => ({ digest: digest(token), caller }));
  }

  async authenticate(token: string): Promise<Caller | null> {
    const shown = digest(token);
    // digests are of one length, and comparing them tells nothing by its time
    return this.#tokens.find((each) => timingSafeEqual(each.digest, shown))?.caller ?? null;
  }

  close(): void {}
}

/** The token in the file, made up when there is no file; or the given one, which is then what the file holds. */
export async function keepToken(file: string, given: string): Promise<string> {
  const kept = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  const token = given || kept.trim() || randomBytes(24).toString("base64url");
  if (token !== kept.trim()) await writeFileAtomic(file, `${token}\n`, { mode: MODE });
  // the file may have been made by hand
  else await chmod(file, MODE);
  return token;
}

function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
