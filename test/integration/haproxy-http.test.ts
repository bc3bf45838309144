/** HTTP listeners: who is served by which member, who may connect, and what members are told of clients. */
import { connect } from "node:net";
import type { Test } from "tap";
import { startAgent } from "../support/agent.ts";
import { onEachRelease } from "../support/haproxy-releases.ts";
import { type Call, call, served, Upstream } from "../support/http.ts";
import { TestAuthority } from "../support/pki.ts";
import { idOf, listener, member, pool } from "../support/specs.ts";
import { plugTenant, tenantSpec, VIP, VIP6 } from "../support/tenant.ts";

const CLIENTS = ["10.77.0.1", "10.77.0.21", "10.77.0.22", "10.77.0.23"];

function members(count: number) {
  return Array.from({ length: count }, (_, i) => member(i + 1));
}

/** An agent, members a, b and c, and a way to apply specs to it one after the other. */
async function serving(t: Test, haproxy: string) {
  const agent = await startAgent(t, { haproxy });
  await plugTenant(t);
  for (const [i, name] of ["a", "b", "c"].entries()) {
    await Upstream.start(t, name, `10.77.0.${21 + i}`, {
      answer: (incoming, response) => {
        if (incoming.url !== "/slow") return false;
        setTimeout(() => response.end(`{"member":"${name}"}`), 1000);
        return true;
      },
    });
  }
  let revision = 0;
  const apply = (changes: Parameters<typeof tenantSpec>[2]) => agent.apply(tenantSpec(agent, ++revision, changes));
  return { agent, apply };
}

/** Who served how many of so many requests. */
async function tally(times: number, options: Call = {}): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < times; i++) {
    const name = await served(options);
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return Object.fromEntries(Object.entries(counts).sort());
}

/** What comes back until the connection closes. */
function raw(text: string, host = VIP): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = "";
    const socket = connect(80, host, () => socket.write(text));
    socket.setTimeout(5000, () => socket.destroy(new Error("still open")));
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      received += chunk;
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(received));
  });
}

/** The status with which a request that is never completed ends. */
async function closedAfter(text: string): Promise<string | undefined> {
  return /^HTTP\/1\.1 (\d+)/.exec(await raw(text))?.[1];
}

/** Port 80, redirected to a TERMINATED_HTTPS listener on this one. */
async function redirectTo(port: number): Promise<Parameters<typeof tenantSpec>[2]> {
  const authority = await TestAuthority.make("authority");
  const { serial: _, ...pair } = await authority.issue("CN=www.example.com", ["www.example.com"]);
  const certificate = { id: idOf("certificate"), ...pair };
  return {
    certificates: [certificate],
    listeners: [
      listener(1, { redirect_listener_id: idOf("listener", 2) }),
      listener(2, { protocol: "TERMINATED_HTTPS", protocol_port: port, tls: { certificate_ids: [certificate.id] } }),
    ],
  };
}

onEachRelease("HTTP listeners", serving, {
  "how a member is chosen": async (t, { apply }) => {
    await apply({ pools: [pool(1, [member(1, { weight: 3 }), member(2)])] });
    t.strictSame(await tally(8), { a: 6, b: 2 }, "ROUND_ROBIN by weight");

    await apply({ pools: [pool(1, [member(1, { weight: 0 }), member(2)])] });
    t.strictSame(await tally(4), { b: 4 }, "weight 0 drains");

    await apply({ pools: [pool(1, [member(1, { admin_state_up: false }), member(2)])] });
    t.strictSame(await tally(4), { b: 4 }, "a disabled member gets nothing");

    const backups = [member(1), member(2, { backup: true }), member(3, { backup: true })];
    await apply({ pools: [pool(1, backups)] });
    t.strictSame(await tally(4), { a: 4 }, "backups wait");
    await apply({ pools: [pool(1, [member(1, { admin_state_up: false }), ...backups.slice(1)])] });
    t.strictSame(await tally(4), { b: 2, c: 2 }, "all backups serve when there is nobody else");

    await apply({ pools: [pool(1, members(3), { lb_algorithm: "LEAST_CONNECTIONS" })] });
    const slow = call({ path: "/slow" });
    const others = [await served(), await served(), await served(), await served()];
    t.notOk(others.includes((await slow).seen?.member ?? ""), "LEAST_CONNECTIONS: not who is busy");

    await apply({ pools: [pool(1, members(3), { lb_algorithm: "SOURCE_IP" })] });
    for (const from of CLIENTS) {
      t.equal(Object.keys(await tally(3, { from })).length, 1, `SOURCE_IP: ${from} has its member`);
    }
    await apply({ pools: [pool(1, members(3), { lb_algorithm: "SOURCE_IP_PORT" })] });
    t.ok(Object.keys(await tally(20)).length > 1, "SOURCE_IP_PORT: connections of one client are spread");
  },

  "nobody to serve is 503, and a disabled pool is nobody": async (t, { apply }) => {
    for (const pools of [
      [pool(1, [])],
      [pool(1, members(1), { admin_state_up: false })],
      [pool(1, [member(1, { admin_state_up: false })])],
    ]) {
      await apply({ pools });
      t.equal(await served(), "503");
    }
    await apply({ listeners: [listener(1, { default_pool_id: null })] });
    t.equal(await served(), "503", "no pool");
  },

  "a disabled listener is not there, and of a disabled load balancer nothing is": async (t, { apply }) => {
    const both = [listener(1), listener(2)];
    await apply({ listeners: [listener(1, { admin_state_up: false }), listener(2)] });
    await t.rejects(served(), { code: "ECONNREFUSED" });
    t.match(await served({ port: 81 }), /^[ab]$/);
    await apply({ listeners: both, admin_state_up: false });
    for (const port of [80, 81]) await t.rejects(served({ port }), { code: "ECONNREFUSED" });
    await apply({ listeners: both });
    t.match(await served(), /^[ab]$/, "enabled again");
  },

  "only allowed_cidrs may connect, of both families": async (t, { apply }) => {
    // host bits are set, and there are more than a line holds
    const many = Array.from({ length: 120 }, (_, i) => `192.0.2.${i}/32`);
    await apply({ listeners: [listener(1, { allowed_cidrs: [...many, "10.77.0.21/30", "fd77::/127"] })] });
    for (const [options, allowed] of [
      [{ from: "10.77.0.21" }, true],
      [{ from: "10.77.0.24" }, false],
      [{ from: "10.77.0.1" }, false],
      [{ host: VIP6, from: "fd77::1" }, true],
      [{ host: VIP6, from: "fd77::21" }, false],
    ] as const) {
      const answer = await served(options).catch((error: NodeJS.ErrnoException) => error.code);
      t.equal(answer === "a" || answer === "b", allowed, `${options.from}: ${answer}`);
    }
    await apply({ listeners: [listener(1, { allowed_cidrs: ["::/0"] })] });
    await t.rejects(served(), { code: "ECONNRESET" }, "all of IPv6 is none of IPv4");
  },

  "no more connections than connection_limit at once; others wait": async (t, { apply }) => {
    await apply({ listeners: [listener(1, { connection_limit: 1 })] });
    const first = connect(80, VIP);
    t.teardown(() => first.destroy());
    await new Promise((resolve) => first.once("connect", resolve));
    const second = served();
    const soon = new Promise((resolve) => setTimeout(resolve, 300, "waiting"));
    t.equal(await Promise.race([second, soon]), "waiting");
    first.destroy();
    t.match(await second, /^[ab]$/);
  },

  "each time-out ends what it is about": async (t, { apply }) => {
    const quick = { timeout_client_data: 300, timeout_member_data: 300, timeout_member_connect: 300 };
    await apply({
      listeners: [listener(1, quick)],
      pools: [pool(1, [member(1)])],
    });
    t.equal(await served({ path: "/slow" }), "504", "timeout_member_data");
    t.equal(await closedAfter("GET / HTTP/1.1\r\n"), "408", "timeout_client_data");
    // an address that answers nothing, not even that nobody is there
    await apply({ listeners: [listener(1, quick)], pools: [pool(1, [member(1, { address: "192.0.2.1" })])] });
    t.match(await served(), /^50[34]$/, "timeout_member_connect");
  },

  "insert_headers tell members of the client, and can't be forged": async (t, { apply }) => {
    const forged = {
      "X-Forwarded-For": "192.0.2.66",
      "X-Forwarded-Proto": "https",
      "X-Forwarded-Port": "443",
      "X-SSL-Client-CN": "admin",
    };
    await apply({ listeners: [listener(1)] });
    const untouched = (await call({ headers: forged })).seen?.headers;
    t.match(untouched, { "x-forwarded-for": "192.0.2.66", "x-forwarded-proto": "https", "x-forwarded-port": "443" });

    const insert_headers = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Port"] as const;
    await apply({ listeners: [listener(1, { insert_headers: [...insert_headers], protocol_port: 8081 })] });
    const headers = (await call({ headers: forged, port: 8081, from: "10.77.0.23" })).seen?.headers;
    t.match(headers, { "x-forwarded-proto": "http", "x-forwarded-port": "8081" });
    t.equal(headers?.["x-forwarded-for"], "192.0.2.66, 10.77.0.23", "the address that connects comes last");
    const ipv6 = (await call({ host: VIP6, port: 8081, from: "fd77::1" })).seen?.headers;
    t.equal(ipv6?.["x-forwarded-for"], "fd77::1");
  },

  "redirect_listener_id sends everybody to the HTTPS listener, by host and path": async (t, { apply }) => {
    const location = async (options: Call) => {
      const { status, headers } = await call(options);
      return [status, headers.location];
    };
    for (const [port, shown] of [
      [443, ""],
      [8443, ":8443"],
    ] as const) {
      await apply(await redirectTo(port));
      t.strictSame(await location({ path: "/a%20b?c=d&e" }), [301, `https://${VIP}${shown}/a%20b?c=d&e`]);
      const named = { headers: { host: "www.example.com:80" }, path: "/x" };
      t.strictSame(await location(named), [301, `https://www.example.com${shown}/x`]);
      t.strictSame(await location({ ...named, method: "POST", body: "x" }), [301, `https://www.example.com${shown}/x`]);
      t.strictSame(await location({ headers: { host: "[fd77::5]:80" } }), [301, `https://[fd77::5]${shown}/`]);
      t.match(
        await raw("GET /x HTTP/1.0\r\n\r\n"),
        `location: https://${VIP}${shown}/x`,
        "a request that names no host",
      );
      t.match(await raw("GET /x HTTP/1.0\r\n\r\n", VIP6), `location: https://[${VIP6}]${shown}/x`);
    }
  },
});
