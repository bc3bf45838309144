/** What must hold when everything has calmed down: in the API, on the amphorae, and on the host. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ALIVE_PORT } from "../../templates/ports.ts";
import type { Json } from "../support/deployment.ts";
import type { Asking } from "./asking.ts";
import { agrees, type Known, shown } from "./ledger.ts";

interface Child extends Json {
  readonly id: string;
}

/** @returns each thing that is not as it must be; empty: all is well */
export async function verdict(asking: Asking, ledger: readonly Known[], computeDir: string): Promise<string[]> {
  const wrong: string[] = [];
  const amphorae = await list(asking, "/v2.0/octavia/amphorae", "amphorae");
  for (const known of ledger) {
    const own = amphorae.filter(({ loadbalancer_id }) => loadbalancer_id === known.id);
    wrong.push(...(await verdictOn(asking, known, own, computeDir)).map((fault) => `${known.id}: ${fault}`));
  }
  const folders = await readdir(join(computeDir, "amphorae"));
  const rows = new Set(amphorae.map(({ id }) => id));
  for (const id of folders) if (!rows.has(id)) wrong.push(`instance ${id} is left over`);
  for (const id of rows) if (!folders.includes(id)) wrong.push(`amphora ${id} has no instance`);
  return wrong;
}

async function verdictOn(
  asking: Asking,
  known: Known,
  amphorae: readonly Json[],
  computeDir: string,
): Promise<string[]> {
  const wrong: string[] = [];
  const { loadbalancer: row = {} } = await asking.look(`/loadbalancers/${known.id}`);
  if (row.provisioning_status !== "ACTIVE") wrong.push(`it is ${row.provisioning_status}`);
  if (row.operating_status !== "ONLINE") wrong.push(`it is ${row.operating_status}`);
  if (!agrees(known.name, String(row.name))) wrong.push(`name: ${row.name}, not ${shown(known.name)}`);

  const members = await list(asking, `/pools/${known.pool}/members`, "members");
  const weights = new Map(members.map(({ address, weight }) => [String(address), Number(weight)]));
  for (const [address, expected] of known.members) {
    const found = weights.get(address) ?? null;
    if (!agrees(expected, found)) wrong.push(`member ${address}: weight ${found}, not ${shown(expected)}`);
  }
  for (const address of weights.keys()) if (!known.members.has(address)) wrong.push(`member ${address} is nobody's`);

  const listeners = await list(asking, `/listeners?loadbalancer_id=${known.id}`, "listeners");
  const ports = listeners.map(({ protocol_port }) => Number(protocol_port));
  for (const [port, expected] of known.listeners) {
    if (!agrees(expected, ports.includes(port))) wrong.push(`listener ${port}: ${ports.includes(port)}`);
  }

  if (amphorae.length !== (known.isPair ? 2 : 1)) wrong.push(`it has ${amphorae.length} amphorae`);
  for (const { id, status } of amphorae) {
    if (status !== "ALLOCATED") wrong.push(`amphora ${id} is ${status}`);
    wrong.push(...(await served(join(computeDir, "amphorae", String(id)), weights, ports)));
  }
  return wrong;
}

/** What an amphora's HAProxy serves, against what the API says. */
async function served(
  folder: string,
  weights: ReadonlyMap<string, number>,
  ports: readonly number[],
): Promise<string[]> {
  const config = await readFile(join(folder, "etc/haproxy/haproxy.cfg"), "utf8").catch(() => "");
  const servers = [...config.matchAll(/^\s*server \S+ ([\d.]+):\d+ (?:.* )?weight (\d+)/gm)];
  const found = new Map(servers.map(([, address = "", weight]) => [address, Number(weight)]));
  const bound = new Set([...config.matchAll(/^\s*bind [\d.]+:(\d+)/gm)].map(([, port]) => Number(port)));
  bound.delete(ALIVE_PORT);
  const wrong: string[] = [];
  const same = found.size === weights.size && [...weights].every(([address, weight]) => found.get(address) === weight);
  if (!same) wrong.push(`${folder} serves ${text(found)}, not ${text(weights)}`);
  const open = ports.filter((port) => !bound.has(port));
  if (open.length > 0 || bound.size !== ports.length) wrong.push(`${folder} listens on ${[...bound]}, not ${ports}`);
  return wrong;
}

function text(weights: ReadonlyMap<string, number>): string {
  return JSON.stringify(Object.fromEntries([...weights].sort()));
}

async function list(asking: Asking, path: string, key: string): Promise<Child[]> {
  return (await asking.look(path))[key] as unknown as Child[];
}
