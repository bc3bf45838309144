/** Where an instance is told about itself: a config drive, else the metadata service. */
import { mkdir, mkdtemp, open, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { messageOf } from "../faults.ts";
import { BootstrapError, MAX_BOOTSTRAP_BYTES } from "./document.ts";
import { type ReadFile, readOpenstack, type Told } from "./openstack.ts";

/** The label of the drive's file system. */
const LABEL = "config-2";
const METADATA = "http://169.254.169.254";
const COMMAND_LIMIT = 10_000;
const REQUEST_LIMIT = 5000;
/** network_data.json of many interfaces is larger than a bootstrap document. */
const MAX_FILE_BYTES = 4 * MAX_BOOTSTRAP_BYTES;

/** @throws {BootstrapError} saying what each source lacks */
export async function readSources(): Promise<Told> {
  const device = await configDrive();
  if (device !== null) return named(`config drive ${device}`, () => mounted(device, (folder) => readFolder(folder)));
  return named(
    `there is no config drive (no device has the label ${LABEL}), and the metadata service ${METADATA}`,
    () => readOpenstack(fromService(METADATA)),
  );
}

/** What is in a folder laid out as a config drive. @throws {BootstrapError} */
export function readFolder(folder: string): Promise<Told> {
  return readOpenstack((path) => readBounded(join(folder, "openstack", path)));
}

async function named<T>(source: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof BootstrapError) throw new BootstrapError(`${source}: ${error.message}`);
    throw error;
  }
}

async function configDrive(): Promise<string | null> {
  // vfat labels may come in capitals
  for (const label of [LABEL, LABEL.toUpperCase()]) {
    const found = await execa("blkid", ["-t", `LABEL=${label}`, "-o", "device"], {
      timeout: COMMAND_LIMIT,
      reject: false,
      stdin: "ignore",
    });
    const [device = ""] = found.stdout?.split("\n") ?? [];
    if (device !== "") return device;
  }
  return null;
}

async function mounted<T>(device: string, work: (folder: string) => Promise<T>): Promise<T> {
  await mkdir(tmpdir(), { recursive: true });
  const folder = await mkdtemp(join(tmpdir(), "config-drive-"));
  try {
    const options = ["-o", "ro,nosuid,nodev,noexec", device, folder];
    const result = await execa("mount", options, { timeout: COMMAND_LIMIT, reject: false, stdin: "ignore" });
    if (result.failed) throw new BootstrapError(`can't be read: ${result.stderr.trim() || result.shortMessage}`);
    try {
      return await work(folder);
    } finally {
      await execa("umount", [folder], { timeout: COMMAND_LIMIT, reject: false, stdin: "ignore" });
    }
  } finally {
    await rmdir(folder);
  }
}

async function readBounded(file: string): Promise<string | null> {
  const handle = await open(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return null;
    throw new BootstrapError(`can't be read: ${error.message}`);
  });
  if (handle === null) return null;
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAX_FILE_BYTES + 1));
    if (bytesRead > MAX_FILE_BYTES) throw new BootstrapError(`${file}: has more than ${MAX_FILE_BYTES} bytes`);
    return buffer.toString("utf8", 0, bytesRead);
  } catch (error) {
    // a truncated drive: its folders promise what its end does not hold
    if (error instanceof BootstrapError) throw error;
    throw new BootstrapError(`can't be read: ${messageOf(error)}`);
  } finally {
    await handle.close();
  }
}

function fromService(base: string): ReadFile {
  return async (path) => {
    const url = `${base}/openstack/${path}`;
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(REQUEST_LIMIT), redirect: "error" });
      if (response.status === 404) return null;
      if (!response.ok) throw new BootstrapError(`answers ${response.status} for ${path}`);
      const text = await response.text();
      if (text.length > MAX_FILE_BYTES) throw new BootstrapError(`${path} has more than ${MAX_FILE_BYTES} bytes`);
      return text;
    } catch (error) {
      if (error instanceof BootstrapError) throw error;
      throw new BootstrapError(`does not answer: ${causeOf(error)}`);
    }
  };
}

/** fetch says "fetch failed", and the reason in its cause. */
function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}
