/**
 * Debian packages for another system than this one: what a list of names needs, downloaded and checked by apt, in
 * folders of its own. Nothing is installed here.
 */
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { BuildError } from "../build-error.ts";
import { type Mirrors, sourcesList } from "./mirrors.ts";

const UPDATE_LIMIT = 120_000;
const RESOLVE_LIMIT = 60_000;
/** 100 MB over a slow line */
const DOWNLOAD_LIMIT = 900_000;

export interface Package {
  readonly name: string;
  readonly version: string;
  /** the package's own: amd64, arm64 or all */
  readonly architecture: string;
  /** the name of the .deb */
  readonly file: string;
}

export interface PackagesOptions {
  /** such as trixie */
  readonly suite: string;
  /** as Debian names it: amd64 or arm64 */
  readonly architecture: string;
  readonly mirrors: Mirrors;
  /** where lists and packages are kept from one build to the next */
  readonly cache: string;
}

export class Packages {
  readonly #folder: string;
  readonly #options: readonly string[];

  private constructor(folder: string, options: readonly string[]) {
    this.#folder = folder;
    this.#options = options;
  }

  /** Fetches the suite's lists. One at a time may use a cache. @throws {BuildError} with apt's own words */
  static async open({ suite, architecture, mirrors, cache }: PackagesOptions): Promise<Packages> {
    const folder = join(cache, `${suite}-${architecture}`);
    for (const each of ["lists/partial", "archives/partial"]) await mkdir(join(folder, each), { recursive: true });
    await writeFile(join(folder, "status"), "");
    await writeFile(join(folder, "sources.list"), sourcesList(mirrors, suite));
    const settings = {
      "Dir::State": folder,
      "Dir::State::lists": "lists",
      "Dir::State::status": join(folder, "status"),
      "Dir::Cache": folder,
      "Dir::Cache::archives": "archives",
      "Dir::Etc::sourcelist": join(folder, "sources.list"),
      "Dir::Etc::sourceparts": "/dev/null",
      "Dir::Etc::preferences": "/dev/null",
      "Dir::Etc::preferencesparts": "/dev/null",
      "APT::Architecture": architecture,
      "APT::Architectures": architecture,
      "APT::Install-Recommends": "false",
      "APT::Sandbox::User": "root",
      "APT::Keep-Downloaded-Packages": "true",
      "APT::Update::Error-Mode": "any",
      "Acquire::Languages": "none",
      "Acquire::Retries": "3",
    };
    const options = Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
    const packages = new Packages(folder, options);
    await packages.#apt(["update"], UPDATE_LIMIT);
    return packages;
  }

  /** The packages with everything that they depend on, by name. @throws {BuildError} when one does not exist */
  async resolve(names: readonly string[]): Promise<Package[]> {
    // with an empty archive folder, apt names every package and not only those that it has to fetch
    const nowhere = ["-o", `Dir::Cache::archives=${join(this.#folder, "none")}`];
    await mkdir(join(this.#folder, "none/partial"), { recursive: true });
    const lines = await this.#apt([...nowhere, "install", "--print-uris", ...names], RESOLVE_LIMIT);
    const packages = [...lines.matchAll(/^'[^']+' (\S+\.deb) \d+/gm)].map(([, file = ""]) => packageOf(file));
    return packages.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Downloads the packages that the names came to. @returns the folder where each lies under its `file` */
  async download(names: readonly string[]): Promise<string> {
    await this.#apt(["install", "--download-only", ...names], DOWNLOAD_LIMIT);
    return join(this.#folder, "archives");
  }

  /** Removes downloaded packages that are not among these. */
  async forgetOthers(wanted: readonly Package[]): Promise<void> {
    const archives = join(this.#folder, "archives");
    const keep = new Set(wanted.map((each) => each.file));
    for (const file of await readdir(archives)) {
      if (file.endsWith(".deb") && !keep.has(file)) await rm(join(archives, file), { force: true });
    }
  }

  async #apt(args: readonly string[], timeout: number): Promise<string> {
    const result = await execa("apt-get", [...this.#options, "-qq", "-y", ...args], {
      timeout,
      reject: false,
      stdin: "ignore",
      env: { LC_ALL: "C" },
    });
    if (!result.failed) return result.stdout;
    if (result.timedOut) throw new BuildError(`apt-get ${args.join(" ")}: not within ${timeout / 1000} s`);
    const words = result.stderr.split("\n").filter((line) => line.startsWith("E: "));
    throw new BuildError(words.length > 0 ? words.map((line) => line.slice(3)).join("; ") : result.shortMessage);
  }
}

/** A .deb's name: name_version_architecture.deb, with %3a for a colon. */
export function packageOf(file: string): Package {
  const [name = "", version = "", architecture = ""] = file.replace(/\.deb$/, "").split("_");
  return { name, version: decodeURIComponent(version), architecture, file };
}
