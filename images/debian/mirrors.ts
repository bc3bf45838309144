/** Where Debian's packages come from: the mirrors that this machine's apt uses, unless others are named. */
import { execa } from "execa";
import { BuildError } from "../build-error.ts";

export interface Mirrors {
  readonly main: string;
  readonly security: string;
  /** a snapshot of the past has an expired Release file; a mirror of today must not have one */
  readonly checkValidUntil: boolean;
}

/** The keys that Debian signs with, of the package debian-archive-keyring. */
export const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** @throws {BuildError} when this machine's apt names no mirror of Debian */
export async function machineMirrors(): Promise<Mirrors> {
  const format = "$(LABEL) $(REPO_URI)";
  const { stdout } = await execa("apt-get", ["indextargets", "--format", format, "Created-By: Packages"], {
    timeout: 30_000,
  });
  const found = (label: string) =>
    stdout
      .split("\n")
      .map((line) => line.split(" "))
      .find(([each, uri]) => each === label && uri !== undefined)?.[1]
      ?.replace(/\/$/, "");
  const main = found("Debian");
  if (main === undefined) throw new BuildError("this machine's apt names no mirror of Debian: give one with --mirror");
  return { main, security: found("Debian-Security") ?? securityOf(main), checkValidUntil: true };
}

/** @param security where that differs from the usual place, beside the mirror itself */
export function namedMirrors(main: string, security?: string): Mirrors {
  const bare = main.replace(/\/$/, "");
  return { main: bare, security: security?.replace(/\/$/, "") ?? securityOf(bare), checkValidUntil: false };
}

function securityOf(main: string): string {
  return `${main}-security`;
}

/** A sources.list of a suite. */
export function sourcesList(mirrors: Mirrors, suite: string): string {
  const options = `[signed-by=${KEYRING}${mirrors.checkValidUntil ? "" : " check-valid-until=no"}]`;
  return [
    `deb ${options} ${mirrors.main} ${suite} main`,
    `deb ${options} ${mirrors.main} ${suite}-updates main`,
    `deb ${options} ${mirrors.security} ${suite}-security main`,
    "",
  ].join("\n");
}
