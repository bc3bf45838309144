/** Clients stay with their member: by address, by HAProxy's cookie, by the application's; over reloads, too. */
import type { Test } from "tap";
import { ask } from "../../agent/dataplane/haproxy-socket.ts";
import { eventually, startAgent } from "../support/agent.ts";
import { onEachRelease } from "../support/haproxy-releases.ts";
import { type Call, call, served, Upstream } from "../support/http.ts";
import { idOf, listener, type MemberInput, member, type PoolInput, pool } from "../support/specs.ts";
import { plugTenant, tenantSpec, VIP6 } from "../support/tenant.ts";

const CLIENTS = ["10.77.0.1", "10.77.0.21", "10.77.0.22", "10.77.0.23", "10.77.0.24"];

onEachRelease("persistence", serving, {
  "SOURCE_IP: a client comes back to its member, over reloads and other members' comings and goings": async (
    t,
    site,
  ) => {
    const type = { type: "SOURCE_IP" } as const;
    await site.apply(type);
    const clients: Call[] = [...CLIENTS.map((from) => ({ from })), { host: VIP6, from: "fd77::1" }];
    const all = async () => {
      const found = [];
      for (const client of clients) found.push(await served(client));
      return found;
    };
    const first = await all();
    t.ok(new Set(first).size > 1, "not all at one");
    t.strictSame(await all(), first);
    for (let i = 0; i < 3; i++) t.equal((await site.reload(type)).how, "reload");
    t.strictSame(await all(), first, "after three reloads");

    t.equal((await site.apply(type, [...THREE, member(4)])).how, "runtime");
    t.strictSame(await all(), first, "with one more member");
    t.equal((await site.apply(type, [member(2), member(3), member(4)])).how, "runtime");
    const later = await all();
    t.notOk(later.includes("a"), "nobody is at a member that went");
    for (const [i, who] of first.entries()) if (who !== "a") t.equal(later[i], who, "the others stay");
    await site.reload(type, [member(2), member(3), member(4)]);
    t.strictSame(await all(), later, "and after a reload");
  },

  "SOURCE_IP, for TCP as for HTTP": async (t, site) => {
    const tcp = { session_persistence: { type: "SOURCE_IP" }, protocol: "TCP" } as const;
    await site.applyPool(tcp, THREE, "TCP");
    const first = await served();
    for (let i = 0; i < 3; i++) t.equal(await served(), first);
    t.not(await served({ from: "10.77.0.21" }), first, "another client, another member");
  },

  "HTTP_COOKIE: a client with the cookie comes back, over reloads and restarts": async (t, site) => {
    const type = { type: "HTTP_COOKIE" } as const;
    await site.apply(type);
    const members = new Map<string, string>();
    for (let i = 0; i < 3; i++) {
      const { headers, seen } = await call();
      members.set(seen?.member ?? "", cookieOf(headers["set-cookie"]));
    }
    t.equal(members.size, 3);
    const allCome = async (what: string) => {
      for (const [name, cookie] of members) {
        const { headers, seen } = await call({ headers: { cookie: `x=y; ${cookie}` } });
        t.equal(seen?.member, name, `${what}: ${name}`);
        t.equal(seen?.headers.cookie, "x=y", "the member does not see it");
        t.notOk(headers["set-cookie"], "it is not sent again");
      }
    };
    await allCome("at once");
    await site.reload(type);
    await allCome("after a reload");
    t.equal((await site.apply(type, [...THREE, member(4)])).how, "runtime");
    const fresh = await eventually("the new member serves", async () => {
      const { headers, seen } = await call();
      return seen?.member === "d" && cookieOf(headers["set-cookie"]);
    });
    t.match(fresh, /^SRV=[0-9a-f]{16}$/, "a member that came at run time has a cookie");
    for (let i = 0; i < 3; i++) t.equal(await served({ headers: { cookie: fresh } }), "d");
    await site.reload(type, [...THREE, member(4)]);
    t.equal(await served({ headers: { cookie: fresh } }), "d", "the same after a reload");
    await allCome("with one more member");
    members.set("d", fresh);
    site.cookies = members;
  },

  "HTTP_COOKIE tells nothing of members, and scripts can't read it": async (t, site) => {
    await site.apply({ type: "HTTP_COOKIE" });
    const [cookie = ""] = (await call()).headers["set-cookie"] ?? [];
    t.match(cookie, /^SRV=[0-9a-f]{16}; path=\/; HttpOnly$/);
  },

  "HTTP_COOKIE: who drains goes on with its clients; who is disabled does not": async (t, site) => {
    const type = { type: "HTTP_COOKIE" } as const;
    await site.apply(type);
    const { headers, seen } = await call();
    const cookie = cookieOf(headers["set-cookie"]);
    const changed = (changes: Partial<MemberInput>) =>
      ["a", "b", "c"].map((name, i) => member(i + 1, name === seen?.member ? changes : {}));
    await site.apply(type, changed({ weight: 0 }));
    t.equal(await served({ headers: { cookie } }), seen?.member);
    await site.apply(type, changed({ admin_state_up: false }));
    const moved = await call({ headers: { cookie } });
    t.not(moved.seen?.member, seen?.member);
    t.not(cookieOf(moved.headers["set-cookie"]), cookie, "with another cookie");
  },

  "APP_COOKIE: a client with the application's cookie comes back, over reloads": async (t, site) => {
    const type = { type: "APP_COOKIE", cookie_name: "JSESSIONID" } as const;
    await site.apply(type);
    // longer than a stick table's keys, and different only at the end
    const sessions = ["1", "2", "3"].map((end) => `${"x".repeat(300)}${end}`);
    const members: string[] = [];
    for (const session of sessions) members.push(await served({ path: `/login?${session}` }));
    t.ok(new Set(members).size > 1);
    const allCome = async (what: string) => {
      for (const [i, session] of sessions.entries()) {
        const headers = { cookie: `x=y; JSESSIONID=${session}` };
        for (let n = 0; n < 3; n++) t.equal(await served({ headers }), members[i], what);
      }
    };
    await allCome("at once");
    await site.reload(type);
    await allCome("after a reload");
    const table = await ask(site.agent.haproxySocket, `@1 show table ${idOf("pool")}:http:5000:50000`);
    t.match(table, /used:3/);
    t.notMatch(table, "xxx", "the cookies themselves are kept nowhere");
  },

  "APP_COOKIE by a name that would mean something to HAProxy": async (t, site) => {
    await site.apply({ type: "APP_COOKIE", cookie_name: "a'b#$&%`" });
    const who = await served({ path: "/login?1" });
    for (let n = 0; n < 3; n++) t.equal(await served({ headers: { cookie: "a'b#$&%`=1" } }), who);
  },

  "HTTP_COOKIE outlives HAProxy itself": async (t, site) => {
    await site.apply({ type: "HTTP_COOKIE" }, [...THREE, member(4)]);
    const { master } = await site.agent.haproxy();
    process.kill(master, "SIGKILL");
    await eventually("another HAProxy", async () => (await site.agent.haproxy()).master !== master);
    await eventually("it serves", async () => served().catch(() => null));
    t.equal(site.cookies.size, 4);
    for (const [name, cookie] of site.cookies) t.equal(await served({ headers: { cookie } }), name);
  },
});

const THREE = [member(1), member(2), member(3)];

type Persistence = NonNullable<PoolInput["session_persistence"]>;

function cookieOf(lines: readonly string[] | undefined): string {
  return lines?.[0]?.split(";")[0] ?? "";
}

/** An agent with members a to d; /login?TEXT of each sets the application's cookie to that text. */
async function serving(t: Test, haproxy: string) {
  const agent = await startAgent(t, { haproxy });
  await plugTenant(t);
  let cookieName = "JSESSIONID";
  for (const [i, name] of ["a", "b", "c", "d"].entries()) {
    await Upstream.start(t, name, `10.77.0.${21 + i}`, {
      answer: (incoming, response) => {
        const [, session] = /^\/login\?(.*)$/.exec(incoming.url ?? "") ?? [];
        if (session !== undefined) response.setHeader("set-cookie", `${cookieName}=${session}; path=/`);
        return false;
      },
    });
  }
  let revision = 0;
  const applyPool = (changes: Partial<PoolInput>, members: MemberInput[], protocol: "HTTP" | "TCP", port = 81) =>
    agent.apply(
      tenantSpec(agent, ++revision, {
        listeners: [listener(1, { protocol }), listener(2, { protocol, protocol_port: port })],
        pools: [pool(1, members, changes)],
      }),
    );
  const apply = (session_persistence: Persistence, members = THREE, port = 81) => {
    cookieName = session_persistence.cookie_name ?? cookieName;
    return applyPool({ session_persistence }, members, "HTTP", port);
  };
  let port = 1000;
  return {
    agent,
    /** of each member, once they are known */
    cookies: new Map<string, string>(),
    apply,
    applyPool,
    /** the same, with another port of the second listener, and that back again */
    reload: async (type: Persistence, members = THREE) => {
      await apply(type, members, ++port);
      return apply(type, members);
    },
  };
}
