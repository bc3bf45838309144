/** Members come, go and change in the running worker, and the worker is then what a fresh one would be. */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import fc from "fast-check";
import type { Test } from "tap";
import { ask } from "../../agent/dataplane/haproxy-socket.ts";
import { writeFiles } from "../../agent/files.ts";
import { layoutIn } from "../../templates/layout.ts";
import { HAPROXY_CFG, render, targetOf } from "../../templates/render.ts";
import { type AmphoraSpecInput, parseSpec } from "../../templates/spec.ts";
import { eventually, startAgent } from "../support/agent.ts";
import { onEachRelease } from "../support/haproxy-releases.ts";
import { served, Upstream } from "../support/http.ts";
import { dropNamespace, makeNamespace } from "../support/namespaces.ts";
import { Conversation, startEcho } from "../support/raw.ts";
import { idOf, listener, type MemberInput, member, monitor, type PoolInput, pool } from "../support/specs.ts";
import { plugTenant, tenantSpec } from "../support/tenant.ts";

onEachRelease("changes at run time", serving, {
  "members come, go, move, and serve as they should, in one and the same worker": async (t, site) => {
    await site.apply([member(1)]);
    const { worker } = await site.agent.haproxy();
    const requests = new Requests();
    const steps: [what: string, members: MemberInput[], serving: string[]][] = [
      ["one more", [member(1), member(2)], ["a", "b"]],
      ["and another, which is disabled", [member(1), member(2), member(3, { admin_state_up: false })], ["a", "b"]],
      ["which is enabled", [member(1), member(2), member(3)], ["a", "b", "c"]],
      ["one drains", [member(1, { weight: 0 }), member(2), member(3)], ["b", "c"]],
      ["one moves", [member(1, { weight: 0 }), member(2, { address: "10.77.0.24" }), member(3)], ["c", "d"]],
      ["to another family", [member(2, { address: "fd77::21" }), member(3)], ["c", "six"]],
      ["two go", [member(3)], ["c"]],
      ["all at once", [member(1), member(2), member(4)], ["a", "b", "d"]],
      [
        "only a backup",
        [
          member(1, { admin_state_up: false }),
          member(4, { admin_state_up: false }),
          member(5, { address: "10.77.0.23", backup: true }),
        ],
        ["c"],
      ],
      ["nobody", [], ["503"]],
      ["somebody", [member(1)], ["a"]],
    ];
    for (const [what, members, wanted] of steps) {
      if (what === "nobody") t.strictSame(await requests.end(), [], "no request failed while there was a member");
      t.equal((await site.apply(members)).how, "runtime", what);
      t.strictSame(await servers(members.length), wanted, what);
    }
    t.equal((await site.agent.haproxy()).worker, worker);
  },

  "a member that goes finishes its connections, and is removed then": async (t, site) => {
    const tcp = { protocol: "TCP" } as const;
    const both = [member(1, { protocol_port: 9000 }), member(2, { protocol_port: 9000 })];
    await site.apply(both, tcp);
    const conversations = [await Conversation.open(t, 80), await Conversation.open(t, 80)];
    const names = [];
    for (const each of conversations) names.push(await each.hears(" "));
    t.strictSame(names.sort(), ["echo-a ", "echo-b "]);
    t.equal((await site.apply(both.slice(1), tcp)).how, "runtime");
    for (const each of conversations) t.equal(await each.say("still here"), "still here");
    for (let i = 0; i < 3; i++) t.equal(await (await Conversation.open(t, 80)).hears(" "), "echo-b ");
    const row = async () => (await site.rows()).find(({ svname }) => svname === idOf("member"));
    t.match(await row(), { status: "MAINT" });
    t.strictSame(Object.keys((await site.agent.health()).pools[idOf("pool")] ?? {}), [idOf("member", 2)]);
    for (const each of conversations) each.close();
    await eventually("it is removed", async () => (await row()) === undefined);
  },

  "a member that comes back before it was removed serves": async (t, site) => {
    const tcp = { protocol: "TCP" } as const;
    const both = [member(1, { protocol_port: 9000 }), member(2, { protocol_port: 9000 })];
    await site.apply(both, tcp);
    const conversations = [await Conversation.open(t, 80), await Conversation.open(t, 80)];
    for (const each of conversations) await each.hears(" ");
    await site.apply(both.slice(1), tcp);
    await site.apply(both, tcp);
    for (const each of conversations) t.equal(await each.say("still here"), "still here");
    const names = [];
    for (let i = 0; i < 2; i++) names.push(await (await Conversation.open(t, 80)).hears(" "));
    t.strictSame(names.sort(), ["echo-a ", "echo-b "]);
  },

  "after any changes the worker is what a fresh one would be on the same file": async (t, site) => {
    for (const [changes, ...steps] of fc.sample(history, 5)) {
      await site.apply([], changes);
      for (const members of steps) {
        const { how } = await site.apply(members, changes);
        const fresh = await site.fresh();
        t.strictSame(await site.rows(), fresh, `${how}: ${JSON.stringify([changes, members])}`);
      }
    }
  },
});

const memberFields = fc.record(
  {
    address: fc.constantFrom("10.77.0.21", "10.77.0.99", "fd77::21", "fd77::99"),
    weight: fc.constantFrom(0, 1, 3, 256),
    admin_state_up: fc.boolean(),
    // few of them, or most steps would be reloads
    backup: fc.integer({ min: 0, max: 9 }).map((chance) => chance === 0),
    monitor_port: fc.integer({ min: 0, max: 9 }).map((chance) => (chance === 0 ? 8081 : null)),
  },
  { requiredKeys: [] },
);
/** The members 1 to 5, or some of them, each with fields of its own. */
const someMembers = fc
  .uniqueArray(fc.tuple(fc.integer({ min: 1, max: 5 }), memberFields), { selector: ([number]) => number, maxLength: 5 })
  .map((all) => all.map(([number, fields]) => member(number, { ...fields, protocol_port: 8000 + number })));
/** A pool, and what becomes of its members. */
const history = fc.tuple(
  fc.record({
    lb_algorithm: fc.constantFrom("ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP", "SOURCE_IP_PORT"),
    protocol: fc.constantFrom("HTTP", "PROXY", "PROXYV2"),
    health_monitor: fc.constantFrom(null, monitor(), monitor({ type: "TCP", delay: 5 }), monitor({ type: "PING" })),
    session_persistence: fc.constantFrom(null, { type: "HTTP_COOKIE" }, { type: "SOURCE_IP" }),
    tls: fc.constantFrom(null, { alpn_protocols: ["h2"] }),
  }) as fc.Arbitrary<Partial<PoolInput>>,
  someMembers,
  someMembers,
  someMembers,
  someMembers,
);

/** Who serves, given enough requests for everybody to have a turn, whatever else goes on. */
async function servers(members: number): Promise<string[]> {
  const names = await Promise.all(Array.from({ length: Math.max(1, members) * 6 }, () => served()));
  return [...new Set(names)].sort();
}

/** One request after the other, until the end. */
class Requests {
  #going = true;
  readonly #failures: string[] = [];
  readonly #work = this.#ask();

  async #ask(): Promise<void> {
    while (this.#going) {
      const name = await served().catch((error: unknown) => String(error));
      if (!/^[a-d]$|^six$/.test(name)) this.#failures.push(name);
    }
  }

  /** @returns what failed */
  async end(): Promise<string[]> {
    this.#going = false;
    await this.#work;
    return this.#failures;
  }
}

/** What HAProxy says of a server that does not depend on time, checks or traffic. */
const COLUMNS = [
  "pxname",
  "svname",
  "sid",
  "weight",
  "act",
  "bck",
  "addr",
  "cookie",
  "mode",
  "algo",
  "check_rise",
  "check_fall",
];

type Row = Readonly<Record<string, string>>;

function serversIn(stat: string): Row[] {
  const [head = "", ...lines] = stat.trim().split("\n");
  const names = head.replace("# ", "").split(",");
  const rows = lines
    .filter((line) => line !== "")
    .map((line): Row => {
      const cells = line.match(/("[^"]*"|[^,]*)(,|$)/g)?.map((cell) => cell.replace(/,$/, "")) ?? [];
      const row = Object.fromEntries(COLUMNS.map((name) => [name, cells[names.indexOf(name)] ?? ""]));
      const status = cells[names.indexOf("status")] ?? "";
      // in maintenance a server may show another weight (HAProxy 2.6), or its checks, which count when it leaves that
      const idle = { weight: "", check_rise: "", check_fall: "" };
      return status.startsWith("MAINT") ? { ...row, ...idle, status: "MAINT" } : { ...row, status: "" };
    });
  return rows.sort((a, b) => String(a.svname).localeCompare(String(b.svname)));
}

async function serving(t: Test, haproxy: string) {
  const agent = await startAgent(t, { haproxy });
  await plugTenant(t);
  for (const [i, name] of ["a", "b", "c", "d"].entries()) await Upstream.start(t, name, `10.77.0.${21 + i}`);
  await Upstream.start(t, "six", "fd77::21");
  await startEcho(t, "echo-a", "10.77.0.21", 9000);
  await startEcho(t, "echo-b", "10.77.0.22", 9000);
  const namespace = await makeNamespace();
  t.teardown(() => dropNamespace(namespace));
  const sysctls = ["net.ipv4.ip_nonlocal_bind=1", "net.ipv6.ip_nonlocal_bind=1"];
  await execa("nsenter", [`--net=/run/netns/${namespace}`, "--", "sysctl", "-q", "-w", ...sysctls]);
  let revision = 0;
  let last: AmphoraSpecInput | null = null;
  return {
    agent,
    apply: (members: MemberInput[], changes: Partial<PoolInput> = {}) => {
      const protocol = changes.protocol === "TCP" ? "TCP" : "HTTP";
      const listeners = [listener(1, { protocol }), listener(2, { protocol, timeout_member_data: 7000 })];
      last = tenantSpec(agent, ++revision, { listeners, pools: [pool(1, members, changes)] });
      return agent.apply(last);
    },
    rows: async () => serversIn(await ask(agent.haproxySocket, "@1 show stat -1 4 -1")),
    /** what a HAProxy says that has just read the last spec */
    fresh: async () => {
      if (last === null) throw new Error("there is no spec yet");
      const folder = await mkdtemp(join(tmpdir(), "amphora-fresh-"));
      const layout = layoutIn(folder, folder);
      await writeFiles(render(parseSpec(last), layout), layout);
      const args = [`--net=/run/netns/${namespace}`, "--", haproxy, "-db", "-f", targetOf(HAPROXY_CFG, layout)];
      const child = spawn("nsenter", args, { stdio: "ignore" });
      try {
        const stat = await eventually("a fresh HAProxy answers", () =>
          ask(join(folder, "haproxy.sock"), "show stat -1 4 -1").catch(() => null),
        );
        return serversIn(stat);
      } finally {
        child.kill("SIGKILL");
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
}
