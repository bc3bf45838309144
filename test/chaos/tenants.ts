/** Tenants who change their load balancers at random, and keep a ledger of it. */
import { setTimeout as sleep } from "node:timers/promises";
import { WEB_PORT } from "../support/machine.ts";
import type { Asking } from "./asking.ts";
import { type Known, Unsure } from "./ledger.ts";
import type { Random } from "./random.ts";

export interface TenantsOptions {
  readonly asking: Asking;
  readonly random: Random;
  /** machines that may be members; the first one always is */
  readonly addresses: readonly string[];
  readonly ledger: readonly Known[];
}

const PORTS = [1001, 1002, 1003];

/** Changes something every so often, until the signal; each load balancer by one tenant at a time. */
export async function tenants(options: TenantsOptions, pause: number, signal: AbortSignal): Promise<void> {
  const { random, ledger } = options;
  const busy = new Set<Known>();
  const underWay: Promise<void>[] = [];
  while (!signal.aborted) {
    const free = ledger.filter((each) => !busy.has(each));
    if (free.length > 0) {
      const known = random.of(free);
      busy.add(known);
      underWay.push(change(options, known).finally(() => busy.delete(known)));
    }
    await sleep(random.between(pause / 2, pause * 1.5));
  }
  await Promise.all(underWay);
}

async function change(options: TenantsOptions, known: Known): Promise<void> {
  const { random } = options;
  const what = random.between(1, 20);
  if (what <= 4) await rename(options, known);
  else if (what <= 13) await changeMember(options, known);
  else if (what <= 18) await changeListener(options, known);
  else await failover(options, known);
}

async function failover({ asking }: TenantsOptions, known: Known): Promise<void> {
  known.failovers.push(Date.now());
  await asking.change("PUT", `/loadbalancers/${known.id}/failover`);
}

async function rename({ asking, random }: TenantsOptions, known: Known): Promise<void> {
  const { name } = known;
  if (name instanceof Unsure) return;
  const next = `name ${random.between(1, 1e9)}`;
  const { verdict } = await asking.change("PUT", `/loadbalancers/${known.id}`, { loadbalancer: { name: next } });
  if (verdict === "done") known.name = next;
  if (verdict === "unsure") known.name = new Unsure(name, next);
}

async function changeMember({ asking, random, addresses }: TenantsOptions, known: Known): Promise<void> {
  const address = random.of(addresses);
  const before = known.members.get(address) ?? null;
  if (before instanceof Unsure) return;
  const path = `/pools/${known.pool}/members`;
  const id = known.ids.get(address);
  const weight = random.between(1, 10);
  if (before === null || id === undefined) {
    const member = { address, protocol_port: WEB_PORT, weight };
    const { verdict, body } = await asking.change("POST", path, { member });
    if (verdict === "done") {
      known.members.set(address, weight);
      known.ids.set(address, String(body.member?.id));
    }
    if (verdict === "unsure") known.members.set(address, new Unsure<number | null>(null, weight));
    return;
  }
  const removes = address !== addresses[0] && random.next() < 0.4;
  const { verdict } = removes
    ? await asking.change("DELETE", `${path}/${id}`)
    : await asking.change("PUT", `${path}/${id}`, { member: { weight } });
  const after = removes ? null : weight;
  if (verdict === "done") known.members.set(address, after);
  if (verdict === "unsure") known.members.set(address, new Unsure(before, after));
}

async function changeListener({ asking, random }: TenantsOptions, known: Known): Promise<void> {
  const port = random.of(PORTS);
  const before = known.listeners.get(port) ?? false;
  if (before instanceof Unsure) return;
  const id = known.listenerIds.get(port);
  if (!before || id === undefined) {
    const listener = { loadbalancer_id: known.id, protocol: "TCP", protocol_port: port };
    const { verdict, body } = await asking.change("POST", "/listeners", { listener });
    if (verdict === "done") {
      known.listeners.set(port, true);
      known.listenerIds.set(port, String(body.listener?.id));
    }
    if (verdict === "unsure") known.listeners.set(port, new Unsure(false, true));
    return;
  }
  const { verdict } = await asking.change("DELETE", `/listeners/${id}`);
  if (verdict === "done") known.listeners.set(port, false);
  if (verdict === "unsure") known.listeners.set(port, new Unsure(true, false));
}
