/** Several amphorae of one load balancer on one subnet: a bridge, on which the test is the gateway, clients and members. */
import { execa } from "execa";
import type { AmphoraSpecInput } from "../../templates/spec.ts";
import { eventually, startAgent, type TestAgent } from "./agent.ts";
import type { Scope } from "./scope.ts";
import { specInput } from "./specs.ts";

export const VIP = "10.77.0.5";
export const VIP6 = "fd77::5";
export const BRIDGE = "group0";
const SECOND = "group1";
const OWN = ["10.77.0.1/24", "fd77::1/64", ...[21, 22, 23].flatMap((n) => [`10.77.0.${n}/24`, `fd77::${n}/64`])];
/** What goes with the VIPs of a pair on the second subnet. */
export const SHARED = "10.78.0.5";
const SECOND_OWN = ["10.78.0.1/24", "10.78.0.31/24"];
const ADVERT_INTERVAL = 200;

export interface Placing {
  readonly replicas?: "DIRECT" | "TUNNEL";
  /** the address family of the first VIP, over which they speak with each other */
  readonly family?: 4 | 6;
  /** whether each of them has an interface on a second subnet, too */
  readonly second?: boolean;
}

/** Makes the subnet, and plugs as many amphorae in: one end waits for the agent of each. */
export async function plugGroup(t: Scope, count: number, second = false): Promise<void> {
  const lines: string[] = [];
  const bridge = (name: string, own: readonly string[]) => {
    t.teardown(() => execa("ip", ["link", "delete", name], { reject: false }));
    lines.push(
      `link add ${name} type bridge`,
      ...own.map((each) => `address add ${each} dev ${name}${each.includes(":") ? " nodad" : ""}`),
      `link set ${name} up`,
    );
  };
  const plug = (name: string, i: number, address: string) => {
    t.teardown(() => execa("ip", ["link", "delete", `${name}p${i}`], { reject: false }));
    lines.push(
      `link add ${name}p${i} type veth peer name ${name}free${i} address ${address}`,
      `link set ${name}p${i} master ${name} up`,
    );
  };
  bridge(BRIDGE, OWN);
  if (second) bridge(SECOND, SECOND_OWN);
  for (let i = 0; i < count; i++) {
    plug(BRIDGE, i, mac(i));
    if (second) plug(SECOND, i, secondMac(i));
  }
  await execa("ip", ["-batch", "-"], { input: `${lines.join("\n")}\n` });
}

/** Pulls the cable of one of them, or puts it back. */
export async function setCable(index: number, state: "up" | "down"): Promise<void> {
  await execa("ip", ["link", "set", `${BRIDGE}p${index}`, state]);
}

/** The spec of one of several. @param ids of all of them @param standby whether it is to hold the VIPs no more */
export function groupSpec(
  ids: readonly string[],
  index: number,
  revision: number,
  { replicas, family = 4, second = false }: Placing = {},
  changes: Partial<AmphoraSpecInput> = {},
  standby = false,
): AmphoraSpecInput {
  const own = (i: number) => (family === 4 ? address(i) : address6(i));
  const shared = replicas === undefined ? [SHARED] : [];
  const others = ids.flatMap((id, i) => (i === index ? [] : [{ amphora_id: id, address: own(i) }]));
  return specInput({
    amphora_id: ids[index] ?? "",
    revision,
    role: index === 0 ? "MASTER" : "BACKUP",
    vrrp: { id: 1, priority: slot(index), advert_interval_ms: ADVERT_INTERVAL, peers: others },
    standby,
    replicas:
      replicas === undefined
        ? null
        : {
            forwarding: replicas,
            members: ids.map((id, i) => ({ amphora_id: id, slot: slot(i), address: own(i), mac: mac(i) })),
          },
    interfaces: [
      {
        name: "eth1",
        mac: mac(index),
        addresses: [`${address(index)}/24`, `${address6(index)}/64`],
        routes: [{ destination: "0.0.0.0/0", via: "10.77.0.1" }],
      },
      ...(second
        ? [{ name: "eth2", mac: secondMac(index), addresses: [`10.78.0.${index + 10}/24`], shared_addresses: shared }]
        : []),
    ],
    vips: family === 4 ? [VIP, VIP6] : [VIP6, VIP],
    ...changes,
  });
}

export class Group {
  readonly agents: readonly TestAgent[];
  readonly #placing: Placing;

  private constructor(agents: readonly TestAgent[], placing: Placing) {
    this.agents = agents;
    this.#placing = placing;
  }

  static async make(t: Scope, count: number, placing: Placing = {}): Promise<Group> {
    const agents: TestAgent[] = [];
    for (let i = 0; i < count; i++) agents.push(await startAgent(t, { catch_up_limit_ms: 8000 }));
    await plugGroup(t, count, placing.second);
    return new Group(agents, placing);
  }

  /** The spec of one of them. @param standby whether it is to hold the VIPs no more */
  spec(index: number, revision: number, changes: Partial<AmphoraSpecInput> = {}, standby = false): AmphoraSpecInput {
    const ids = this.agents.map(({ id }) => id);
    return groupSpec(ids, index, revision, this.#placing, changes, standby);
  }

  /** Gives each of them its spec. */
  async apply(revision: number, changes: Partial<AmphoraSpecInput> = {}): Promise<void> {
    await Promise.all(this.agents.map((agent, i) => agent.apply(this.spec(i, revision, changes))));
  }

  /** Waits until there is one master, and all others are as they should be. @returns its index */
  async master(limit = 15_000): Promise<number> {
    return eventually(
      "one of them holds the VIPs",
      async () => {
        const states = await Promise.all(this.agents.map((_, i) => this.state(i)));
        const masters = states.flatMap((state, i) => (state === "MASTER" ? [i] : []));
        return masters.length === 1 && (await this.holders()).length === 1 ? { index: masters[0] ?? 0 } : null;
      },
      limit,
    ).then(({ index }) => index);
  }

  async state(index: number): Promise<string | undefined> {
    const report = await this.agents[index]?.health().catch(() => undefined);
    return report?.vrrp?.state;
  }

  /** Which of them have the VIP on the tenant's interface, or another address on another one. */
  async holders(held = VIP, device = "eth1"): Promise<number[]> {
    const found: number[] = [];
    for (const [i, { namespace }] of this.agents.entries()) {
      const { stdout } = await execa("ip", ["-n", namespace, "-o", "address", "show", "dev", device], {
        reject: false,
      });
      if (stdout.includes(`${held}/32`)) found.push(i);
    }
    return found;
  }

  /** Pulls the cable of one of them, or puts it back. */
  cable(index: number, state: "up" | "down"): Promise<void> {
    return setCable(index, state);
  }

  /** Processes of one of them, by words of their command lines. */
  async pids(index: number, ...words: readonly string[]): Promise<number[]> {
    const namespace = this.agents[index]?.namespace ?? "";
    const { stdout } = await execa("ip", ["netns", "pids", namespace]);
    const found: number[] = [];
    for (const pid of stdout.split("\n").filter((each) => each !== "")) {
      const { stdout: command } = await execa("cat", [`/proc/${pid}/cmdline`], { reject: false });
      if (words.every((word) => command.includes(word))) found.push(Number(pid));
    }
    return found;
  }
}

export function mac(index: number): string {
  return `fa:16:3e:00:02:0${index + 1}`;
}

function secondMac(index: number): string {
  return `fa:16:3e:00:03:0${index + 1}`;
}

export function address(index: number): string {
  return `10.77.0.${index + 10}`;
}

export function address6(index: number): string {
  return `fd77::${index + 10}`;
}

/** Slots are priorities: the first of them begins as master. */
export function slot(index: number): number {
  return 100 - index * 10;
}
