/**
 * The layout in which Nova tells an instance about itself, on a config drive and at the metadata service alike:
 * openstack/latest/{meta_data.json,user_data,network_data.json} and openstack/content/NNNN (Nova's user guide,
 * "Metadata").
 */
import { posix } from "node:path";
import { z } from "zod";
import { messageOf } from "../faults.ts";
import { BOOTSTRAP_FILE, type BootstrapDocument, BootstrapError, parseBootstrap } from "./document.ts";

/** Reads a file below openstack/; null when there is none. */
export type ReadFile = (path: string) => Promise<string | null>;

const metaData = z.object({
  files: z.array(z.object({ path: z.string(), content_path: z.string() })).default([]),
});

export interface Told {
  readonly document: BootstrapDocument;
  /** network_data.json as it came, or null */
  readonly network: string | null;
}

/**
 * Takes the bootstrap document from the file /etc/amphora/bootstrap.json when the instance was given one, else from its
 * user data.
 * @throws {BootstrapError} naming the file, when neither is there, or what is there can't be used
 */
export async function readOpenstack(read: ReadFile): Promise<Told> {
  const { name, text } = (await injectedFile(read)) ?? (await userData(read));
  let document: BootstrapDocument;
  try {
    document = parseBootstrap(text);
  } catch (error) {
    if (error instanceof BootstrapError) throw new BootstrapError(`${name}: ${error.message}`);
    throw error;
  }
  return { document, network: await read("latest/network_data.json") };
}

async function injectedFile(read: ReadFile): Promise<{ name: string; text: string } | null> {
  const name = "latest/meta_data.json";
  const text = await read(name);
  if (text === null) return null;
  const parsed = metaData.safeParse(parseJson(name, text));
  if (!parsed.success) throw new BootstrapError(`${name}: files: must be a list of {path, content_path}`);
  const entry = parsed.data.files.find(({ path }) => path === BOOTSTRAP_FILE);
  if (entry === undefined) return null;
  // "/content/0000" is meant from openstack/
  const place = posix.normalize(entry.content_path.replace(/^\/+/, ""));
  if (place.startsWith("..")) throw new BootstrapError(`${name}: files: ${entry.content_path} is outside of the drive`);
  const content = await read(place);
  if (content === null) throw new BootstrapError(`${name}: files: there is no ${entry.content_path}`);
  return { name: place, text: content };
}

async function userData(read: ReadFile): Promise<{ name: string; text: string }> {
  const name = "latest/user_data";
  const text = await read(name);
  if (text === null) throw new BootstrapError(`has neither a file ${BOOTSTRAP_FILE} nor user data`);
  return { name, text };
}

function parseJson(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new BootstrapError(`${name}: is not JSON: ${messageOf(error)}`);
  }
}
