/**
 * How long the VIP of a pair is away when its master dies, by kind of death, for a client that asks 200 times a second.
 * BENCH_ROUNDS (20) is how often of each kind, BENCH_ONLY a part of the kinds' names.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { signal } from "../../agent/process.ts";
import { eventually } from "../support/agent.ts";
import { Group, VIP } from "../support/group.ts";
import { withScope } from "../support/scope.ts";
import { Member } from "../support/tenant.ts";
import { Asking, type Gap, printGaps } from "./gap.ts";

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 20);

interface Death {
  readonly happens: (group: Group, master: number) => Promise<void>;
  /** what does not come back by itself */
  readonly undo?: (group: Group, master: number) => Promise<void>;
}

/** With the agent gone nobody starts HAProxy again: VRRP is left to itself. */
const alone = async (group: Group, master: number) => void (await group.agents[master]?.end("SIGKILL"));
const back = async (group: Group, master: number) => {
  for (const pid of await group.pids(master, "haproxy.cfg")) signal(pid, "SIGCONT");
  await group.agents[master]?.start();
  await group.agents[master]?.apply(group.spec(master, 1));
};

const DEATHS: Readonly<Record<string, Death>> = {
  "its link is cut": {
    happens: (group, master) => group.cable(master, "down"),
    undo: (group, master) => group.cable(master, "up"),
  },
  "its keepalived is killed": {
    happens: async (group, master) => signalAll(await group.pids(master, "keepalived", "vrrp.conf"), "SIGKILL"),
  },
  "its HAProxy is killed": {
    happens: async (group, master) => signalAll(await group.pids(master, "haproxy.cfg"), "SIGKILL"),
  },
  "its HAProxy is killed, and nobody starts it again": {
    happens: async (group, master) => {
      await alone(group, master);
      signalAll(await group.pids(master, "haproxy.cfg"), "SIGKILL");
    },
    undo: back,
  },
  "its HAProxy hangs": {
    happens: async (group, master) => {
      await alone(group, master);
      signalAll(await group.pids(master, "haproxy.cfg"), "SIGSTOP");
    },
    undo: back,
  },
};

function signalAll(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) signal(pid, name);
}

await withScope(async (scope) => {
  const group = await Group.make(scope, 2);
  await Member.start(scope, 1);
  await Member.start(scope, 2);
  await group.apply(1);
  for (const [death, { happens, undo }] of Object.entries(DEATHS)) {
    if (!death.includes(process.env.BENCH_ONLY ?? "")) continue;
    const gaps: Gap[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const master = await group.master();
      await eventually("the other is ready", async () => (await group.state(1 - master)) === "BACKUP", 20_000);
      const asking = Asking.start(VIP);
      await asking.calm(200);
      // at any moment between two adverts, and two checks
      await sleep(Math.random() * 1000);
      const at = performance.now();
      await happens(group, master);
      await asking.calm(500, 1500);
      gaps.push(await asking.stop(at));
      await undo?.(group, master);
    }
    printGaps(death, gaps);
  }
});
process.exit();
