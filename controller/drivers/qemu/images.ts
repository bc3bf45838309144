/**
 * The images that machines on this host have their disks from. Each is copied once, under a name that its bytes give it:
 * whoever builds anew changes nothing for machines that run.
 */
import { constants, copyFile, mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { ARCHITECTURES, type Architecture, ownArchitecture } from "../../../images/architectures.ts";
import { BuildError } from "../../../images/build-error.ts";
import { identify, imageName, OUT } from "../../../images/built.ts";
import { type Settings, SettingsError } from "../../settings.ts";
import { ComputeRefusedError } from "../compute.ts";
import { withHostLock } from "../local/lock.ts";

export class Images {
  readonly #settings: Settings["qemu"];
  readonly #folder: string;

  /** @param folder where copies are kept */
  constructor(settings: Settings["qemu"], folder: string) {
    this.#settings = settings;
    this.#folder = folder;
  }

  /** @throws {SettingsError} when there is no image for this host's own architecture */
  async prepare(): Promise<void> {
    const own = ownArchitecture();
    const file = this.#source(own);
    if (await exists(file)) return;
    throw new SettingsError(
      `qemu.images.${own.name}: there is no ${file}: \`npm run image -- --arch ${own.name}\` makes it`,
    );
  }

  /**
   * @param wanted the availability zone's, or null for this host's own
   * @throws {ComputeRefusedError} when it may not run here, or has no image
   */
  choose(wanted: Architecture["name"] | null): Architecture {
    const own = ownArchitecture();
    const found = ARCHITECTURES.find(({ name }) => name === (wanted ?? own.name)) ?? own;
    if (found !== own && !this.#settings["emulate-foreign"]) {
      throw new ComputeRefusedError(
        `the availability zone asks for ${found.name}, and this host is ${own.name}: its setting qemu.emulate-foreign is false`,
      );
    }
    return found;
  }

  /** @returns the copy's file @throws {ComputeRefusedError} when there is no such image, or not all of it */
  async take(architecture: Architecture): Promise<string> {
    const source = this.#source(architecture);
    if (!(await exists(source))) throw new ComputeRefusedError(`there is no image for ${architecture.name}: ${source}`);
    try {
      const { sha256 } = await identify(source);
      const file = join(this.#folder, `${architecture.name}-${sha256.slice(0, 16)}`);
      await withHostLock(`amphora-images-${sha256.slice(0, 16)}`, () => this.#copy(source, file), 120_000);
      return file;
    } catch (error) {
      if (error instanceof BuildError) throw new ComputeRefusedError(error.message);
      throw error;
    }
  }

  /** Removes copies that no machine uses. */
  async keep(used: ReadonlySet<string>): Promise<void> {
    for (const name of await readdir(this.#folder).catch(() => [])) {
      const file = join(this.#folder, name);
      if (!used.has(file)) await rm(file);
    }
  }

  async #copy(source: string, file: string): Promise<void> {
    if (await exists(file)) return;
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await copyFile(source, `${file}.new`, constants.COPYFILE_FICLONE);
    await rename(`${file}.new`, file);
  }

  #source(architecture: Architecture): string {
    return this.#settings.images[architecture.name] || join(OUT, `${imageName(architecture)}.qcow2`);
  }
}

function exists(file: string): Promise<boolean> {
  return stat(file).then(
    (found) => found.isFile(),
    () => false,
  );
}
