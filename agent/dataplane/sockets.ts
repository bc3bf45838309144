/** Who listens where in a network namespace, read from /proc (proc(5), "/proc/net/tcp"). */
import { readdir, readFile, readlink } from "node:fs/promises";
import ipaddr from "ipaddr.js";

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

interface Listening extends Endpoint {
  readonly inode: string;
}

/**
 * Those of the wanted addresses on which some other process listens, at all addresses or at this one.
 * @param inside a process of the namespace in question
 * @param own processes whose sockets don't count
 */
export async function strangersOn(
  wanted: readonly Endpoint[],
  inside: number,
  own: readonly number[],
): Promise<Endpoint[]> {
  const tables = await Promise.all(
    ["tcp", "tcp6"].map((name) => readFile(`/proc/${inside}/net/${name}`, "utf8").catch(() => "")),
  );
  const ours = new Set((await Promise.all(own.map(socketsOf))).flat());
  const others = tables.flatMap(parseListening).filter(({ inode }) => !ours.has(inode));
  return wanted.filter(({ address, port }) => {
    const here = ipaddr.parse(address).toString();
    return others.some((each) => each.port === port && ["0.0.0.0", "::", here].includes(each.address));
  });
}

/** The inodes of a process's sockets; none when it has ended. */
async function socketsOf(pid: number): Promise<string[]> {
  const names = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const links = await Promise.all(names.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => "")));
  return links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []);
}

/** Columns: number, local address, remote address, state (0A listens), queues, timer, retransmits, uid, timeout, inode. */
export function parseListening(table: string): Listening[] {
  return table.split("\n").flatMap((line) => {
    const [, local = "", , state, , , , , , inode = ""] = line.trim().split(/\s+/);
    if (state !== "0A") return [];
    const [address = "", port = ""] = local.split(":");
    return { address: parseAddress(address), port: Number.parseInt(port, 16), inode };
  });
}

/** 32 bit words, each in the byte order of the machine: little endian on all that Amphora runs on. */
function parseAddress(hex: string): string {
  const bytes = Buffer.from(hex, "hex").swap32();
  return ipaddr.fromByteArray([...bytes]).toString();
}
