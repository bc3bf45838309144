/** Files that hold a secret. */
import { open } from "node:fs/promises";
import { fileFault } from "../../agent/faults.ts";
import { SettingsError } from "../settings.ts";

const OTHERS = 0o007;

/**
 * What is in the file that a setting names.
 * @throws {SettingsError} naming setting and file, when it can't be read, or can be read or written by others
 */
export async function readSecretFile(setting: string, file: string): Promise<string> {
  const failed = (reason: string) => new SettingsError(`${setting}: ${file}: ${reason}`);
  let opened: Awaited<ReturnType<typeof open>>;
  try {
    opened = await open(file, "r");
  } catch (error) {
    throw failed(fileFault(error));
  }
  try {
    // of what has been opened: whatever the name leads to a moment later
    if (((await opened.stat()).mode & OTHERS) !== 0) {
      throw failed("is open to other users of this host: take it from them with chmod o=");
    }
    return await opened.readFile("utf8").catch((error: unknown) => {
      throw failed(fileFault(error));
    });
  } finally {
    await opened.close();
  }
}
