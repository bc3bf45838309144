/** An agent on a kernel with IPVS, its tenant's subnet, and what every part of the scenario says to it. */
import { chmod, readFile } from "node:fs/promises";
import { runInside } from "../../../../agent/dataplane/inside.ts";
import { parseTable, parseTimeouts, type TableService, type Timeouts } from "../../../../agent/dataplane/ipvs-table.ts";
import type { ApplyAnswer } from "../../../../agent/protocol.ts";
import type { AmphoraSpecInput } from "../../../../templates/spec.ts";
import { eventually, startAgent, type TestAgent } from "../../../support/agent.ts";
import { TellingMember } from "../../../support/flows.ts";
import { idOf, type ListenerInput, listener, member, type PoolInput, pool } from "../../../support/specs.ts";
import { plugTenant, tenantSpec, VIP } from "../../../support/tenant.ts";
import type { Inside } from "../../../support/vm/inside.ts";
import { loadNftables } from "../../../support/vm/rules.ts";

export interface Lab {
  readonly agent: TestAgent;
  /** members 1 to 3 in IPv4, port 8080, TCP and UDP */
  readonly four: readonly TellingMember[];
  /** members 1 and 2 in IPv6 */
  readonly six: readonly TellingMember[];
  /** Applies a spec of the next revision. */
  readonly apply: (changes: Partial<AmphoraSpecInput>) => Promise<ApplyAnswer>;
  /** What a command says inside the amphora's namespace. */
  readonly inside: (...command: string[]) => Promise<string>;
  readonly table: () => Promise<TableService[]>;
  readonly timeouts: () => Promise<Timeouts | null>;
  /** The process of the keepalived that checks members. */
  readonly keepalived: () => Promise<number>;
}

export async function makeLab(vm: Inside): Promise<Lab> {
  await loadNftables();
  await plugTenant(vm);
  const agent = await startAgent(vm);
  // the checks' own user must come through to their folder
  await chmod(agent.folder, 0o711);
  const start = (number: number, address: string) => TellingMember.start(vm, number, address);
  const four = [await start(1, "10.77.0.21"), await start(2, "10.77.0.22"), await start(3, "10.77.0.23")];
  const six = [await start(1, "fd77::21"), await start(2, "fd77::22")];
  let revision = 0;
  const inside = (...command: string[]) => runInside(agent.namespace, command);
  return {
    agent,
    four,
    six,
    apply: async (changes) => {
      try {
        return await agent.apply(tenantSpec(agent, ++revision, changes));
      } catch (error) {
        const log = agent.output.split("\n").filter((line) => /"level":[456]0/.test(line));
        throw new Error(`${error instanceof Error ? error.message : error}\n${log.slice(-3).join("\n")}`);
      }
    },
    inside,
    table: async () => parseTable(await inside("ipvsadm", "-Ln")),
    timeouts: async () => parseTimeouts(await inside("ipvsadm", "-l", "--timeout")),
    keepalived: async () => Number(await readFile(`${agent.folder}/run/keepalived-checkers.pid`, "utf8")),
  };
}

/** FORWARD_TCP at port 80 before pool 1, unless said otherwise. */
export function forward(changes: Partial<ListenerInput> = {}): ListenerInput {
  return listener(1, { protocol: "FORWARD_TCP", ...changes });
}

export function forwardPool(members: PoolInput["members"], changes: Partial<PoolInput> = {}): PoolInput {
  return pool(1, members ?? [], { protocol: "FORWARD_TCP", ...changes });
}

/** Members 11 and 12: in IPv6. */
export const sixMembers = [member(11, { address: "fd77::21" }), member(12, { address: "fd77::22" })];

/** The numbers of the members that a listener's first service forwards to, with their weights, once they are so. */
export async function settled(
  lab: Lab,
  wanted: Readonly<Record<number, number>>,
  { transport = "TCP", limit = 20_000 } = {},
): Promise<void> {
  let seen = "";
  const want = JSON.stringify(wanted);
  await eventually(
    `the table is ${want}`,
    async () => {
      const service = (await lab.table()).find((each) => each.transport === transport && each.vip === VIP);
      const weights = (service?.destinations ?? []).map(({ address, weight }) => [Number(address.slice(-1)), weight]);
      seen = JSON.stringify(Object.fromEntries(weights));
      return seen === want;
    },
    limit,
  ).catch(async (error: Error) => {
    const log = await readFile(`${lab.agent.folder}/run/keepalived-checkers.log`, "utf8");
    throw new Error(`${error.message}, not ${seen}; keepalived said\n${log.split("\n").slice(-12).join("\n")}`);
  });
}

export const POOL = idOf("pool");
