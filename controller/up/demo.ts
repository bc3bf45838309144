/** The demo: two web members in namespaces of their own, and a load balancer for them, made through the REST API. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Controller } from "../controller.ts";
import type { Host } from "../drivers/drivers.ts";
import { run } from "../drivers/local/command.ts";
import { namespaces } from "../drivers/local/namespaces.ts";
import type { Port } from "../drivers/network.ts";
import { runningPid, startDetached } from "../process.ts";
import { readFact, writeFact } from "../store/deployment.ts";
import { type ApiClient, CallError } from "./client.ts";

const MEMBERS = ["web1", "web2"] as const;
const MEMBER_PORT = 8080;
const FACT = "demo-load-balancer";

/** The demo is not there; the message says why. */
export class DemoError extends Error {
  override readonly name = "DemoError";
}

export interface Demo {
  readonly loadBalancerId: string;
  readonly url: string;
}

/** Starts the demo's web servers, where they do not run. */
export async function startMembers(controller: Controller, host: Host): Promise<readonly string[]> {
  return Promise.all(MEMBERS.map((name) => startMember(controller, host, name)));
}

async function startMember(controller: Controller, { network }: Host, name: string): Promise<string> {
  const { deployment, runDir, store } = controller;
  const port = await store.transaction((trx) => network.reserveFor(trx, "demo", `demo ${name}`));
  const namespace = `amphora-${deployment}-${name}`;
  if (!(await namespaces(namespace)).includes(namespace)) await connect(namespace, port, await network.attach(port));
  const pidFile = join(runDir, `${name}.pid`);
  if ((await runningPid(pidFile)) === null) {
    const web = join(import.meta.dirname, "web.ts");
    const inside = ["nsenter", `--net=/run/netns/${namespace}`, "--"] as const;
    const log = join(runDir, `${name}.log`);
    await startDetached(pidFile, log, [...inside, process.execPath, web, name, port.address, String(MEMBER_PORT)]);
  }
  return port.address;
}

/** A namespace with one interface: as bare as a tenant's machine. */
async function connect(namespace: string, port: Port, link: string): Promise<void> {
  await run("ip", ["netns", "add", namespace]);
  await run("ip", ["link", "set", link, "netns", namespace, "name", "eth0"]);
  const lines = [
    "link set lo up",
    // an address that is still checked for duplicates can not be listened on
    `address add ${port.address}/${port.prefix_length} dev eth0${port.address.includes(":") ? " nodad" : ""}`,
    "link set eth0 up",
    `route add default via ${port.gateway}`,
    "",
  ];
  await run("ip", ["-n", namespace, "-batch", "-"], lines.join("\n"));
}

/** Whether an earlier start has made the demo's load balancer, and it is still there. */
export async function findDemo(controller: Controller, api: ApiClient): Promise<Demo | null> {
  const id = await readFact(controller.store, FACT);
  if (id === null) return null;
  try {
    const { loadbalancer } = await api.get(`/v2.0/lbaas/loadbalancers/${id}`);
    return { loadBalancerId: id, url: url(loadbalancer?.vip_address) };
  } catch (error) {
    if (error instanceof CallError && error.status === 404) return null;
    throw error;
  }
}

/**
 * Makes the load balancer with everything in it at once: a machine as its amphora would have each further call wait until
 * it has booted.
 * @param addresses of the members
 */
export async function createDemo(controller: Controller, api: ApiClient, addresses: readonly string[]): Promise<Demo> {
  const members = addresses.map((address, i) => ({ name: MEMBERS[i] ?? "", address, protocol_port: MEMBER_PORT }));
  const healthmonitor = { type: "HTTP", delay: 2, timeout: 1, max_retries: 2, max_retries_down: 2 };
  const pool = { name: "web", protocol: "HTTP", lb_algorithm: "ROUND_ROBIN", members, healthmonitor };
  const listener = { name: "http", protocol: "HTTP", protocol_port: 80, default_pool: pool };
  const { loadbalancer } = await api.post("/v2.0/lbaas/loadbalancers", {
    loadbalancer: { name: "demo", listeners: [listener] },
  });
  const loadBalancerId = String(loadbalancer?.id);
  await writeFact(controller.store, FACT, loadBalancerId);
  return { loadBalancerId, url: url(loadbalancer?.vip_address) };
}

/**
 * Waits until the load balancer is ACTIVE and ONLINE, and answers a request.
 * @param bootLimit seconds that its amphora may take @throws {DemoError} with its last state
 */
export async function awaitDemo(api: ApiClient, demo: Demo, bootLimit: number): Promise<void> {
  const deadline = Date.now() + bootLimit * 1000;
  let last = "";
  while (Date.now() < deadline) {
    const { loadbalancer } = await api.get(`/v2.0/lbaas/loadbalancers/${demo.loadBalancerId}`);
    last = `${loadbalancer?.provisioning_status}, ${loadbalancer?.operating_status}`;
    if (last === "ACTIVE, ONLINE" && (await answers(demo.url))) return;
    if (loadbalancer?.status_reason) last += ` (${loadbalancer.status_reason})`;
    await sleep(50);
  }
  throw new DemoError(`the demo load balancer did not come up within ${bootLimit} s: it is ${last}`);
}

function answers(target: string): Promise<boolean> {
  return fetch(target, { signal: AbortSignal.timeout(1000) }).then(
    async (response) => {
      await response.text();
      return response.ok;
    },
    () => false,
  );
}

function url(address: unknown): string {
  const text = String(address);
  return `http://${text.includes(":") ? `[${text}]` : text}/`;
}
