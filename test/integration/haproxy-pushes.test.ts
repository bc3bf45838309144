/** Pushes of all kinds under load: not one request fails, and what is open stays open. */
import { Agent, type IncomingMessage, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Test } from "tap";
import type { ApplyWay } from "../../agent/protocol.ts";
import type { AmphoraSpecInput } from "../../templates/spec.ts";
import { startAgent } from "../support/agent.ts";
import { onEachRelease } from "../support/haproxy-releases.ts";
import { Upstream } from "../support/http.ts";
import { Load } from "../support/load.ts";
import { type Pair, TestAuthority } from "../support/pki.ts";
import { Conversation, startEcho, startWebSocket } from "../support/raw.ts";
import { idOf, type ListenerInput, listener, member, monitor, type PoolInput, pool } from "../support/specs.ts";
import { plugTenant, tenantSpec, VIP } from "../support/tenant.ts";

/** 200, half of them on each release. */
const PUSHES = 100;

/** The site's listeners and pools, as changes find them. */
interface Site {
  http: ListenerInput;
  more: ListenerInput[];
  web: PoolInput;
  certificate: Pair;
}

/** Each changes the site once more; numbers make each time another change. */
const CHANGES: Record<string, (site: Site, n: number, pairs: readonly Pair[]) => void> = {
  "a weight": ({ web }, n) => Object.assign(web, { members: [member(1, { weight: (n % 10) + 1 }), member(2)] }),
  "a member comes": ({ web }) => Object.assign(web, { members: [member(1), member(2), member(3)] }),
  "a member is disabled": ({ web }) =>
    Object.assign(web, { members: [member(1), member(2), member(3, { admin_state_up: false })] }),
  "a member goes": ({ web }) => Object.assign(web, { members: [member(1), member(2)] }),
  "a member moves": ({ web }, n) =>
    Object.assign(web, { members: [member(1), member(2, { address: `10.77.0.${22 + (n % 2)}` })] }),
  "a certificate": (site, n, pairs) => Object.assign(site, { certificate: pairs[n % pairs.length] }),
  "a time-out": ({ http }, n) => Object.assign(http, { timeout_client_data: 50_000 + n }),
  "a limit": ({ http }, n) => Object.assign(http, { connection_limit: 10_000 + n }),
  "a listener comes or goes": ({ more }, n) => {
    if (more.pop() === undefined) more.push(listener(9, { protocol_port: 9000 + (n % 100) }));
  },
  "a policy": ({ http }, n) => {
    const rules = [{ id: idOf("rule"), type: "PATH", compare_type: "EQUAL_TO", value: `/none-${n}` } as const];
    Object.assign(http, { l7policies: [{ id: idOf("policy"), action: "REJECT", rules }] });
  },
  headers: ({ http }, n) => Object.assign(http, { insert_headers: n % 2 === 0 ? ["X-Forwarded-For"] : [] }),
  allowed_cidrs: ({ http }, n) => Object.assign(http, { allowed_cidrs: ["10.77.0.0/24", `192.0.2.${n % 256}/32`] }),
  "an algorithm": ({ web }, n) =>
    Object.assign(web, { lb_algorithm: n % 2 === 0 ? "LEAST_CONNECTIONS" : "ROUND_ROBIN" }),
  "a monitor": ({ web }, n) =>
    Object.assign(web, { health_monitor: n % 2 === 0 ? monitor({ delay: 5 + (n % 3) }) : null }),
  persistence: ({ web }, n) => Object.assign(web, { session_persistence: n % 2 === 0 ? { type: "SOURCE_IP" } : null }),
};

onEachRelease("pushes under load", serving, {
  [`${PUSHES} pushes fail no request, and drop no connection`]: async (t, { apply, agent, pairs, tls }) => {
    const kinds = Object.entries(CHANGES);
    const [first] = pairs;
    if (first === undefined) throw new Error("there is no certificate");
    const site: Site = { http: listener(1), more: [], web: pool(1, [member(1), member(2)]), certificate: first };
    await apply(site);

    const loads = [Load.start(`http://${VIP}/`, 300, 2), Load.start(`https://${VIP}/`, 300, 2)];
    const keepAlive = new KeepAlive();
    const [socket, secured, conversation] = [
      await Conversation.upgrade(t, 1001),
      await Conversation.upgrade(t, 1002, tls),
      await Conversation.open(t, 1003),
    ];
    await conversation.hears("echo ");
    const download = slowDownload();

    const ways: Partial<Record<ApplyWay, number>> = {};
    for (let n = 0; n < PUSHES; n++) {
      const [, change] = kinds[n % kinds.length] ?? [];
      change?.(site, n, pairs);
      const { how } = await apply(site);
      ways[how] = (ways[how] ?? 0) + 1;
      for (const each of [socket, secured, conversation]) await each.say(`${n};`);
    }
    t.ok(
      (ways.runtime ?? 0) > PUSHES / 4 && (ways.reload ?? 0) > PUSHES / 4,
      `pushes of all kinds: ${JSON.stringify(ways)}`,
    );

    for (const each of [socket, secured, conversation]) t.equal(each.ended, null, "it is open, and answers");
    t.ok((await agent.haproxy()).oldWorkers.length < 20, "workers without connections have ended");
    const { chunks, received } = await download.end();
    t.equal(received, chunks, "the download is whole");
    const { requests, failures } = await keepAlive.end();
    t.strictSame(failures, [], "requests on connections that are kept");
    t.ok(requests > 100, `${requests} requests`);
    for (const load of loads) {
      const result = await load.stop();
      t.equal(result.failed, 0, result.output);
      t.ok(result.requests > 1000, `${result.requests} requests`);
    }
  },
});

/** One request after the other on one connection, until it is told to close: then on the next. */
class KeepAlive {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #failures: string[] = [];
  #requests = 0;
  #going = true;
  readonly #work = this.#ask();

  async #ask(): Promise<void> {
    while (this.#going) {
      const outcome = await new Promise<string>((resolve) => {
        const call = request({ host: VIP, agent: this.#agent, timeout: 5000 }, (response) => {
          response.resume();
          response.on("end", () => resolve(String(response.statusCode)));
          response.on("error", (error) => resolve(String(error)));
        });
        call.on("timeout", () => call.destroy(new Error("no answer")));
        call.on("error", (error) => resolve(String(error)));
        call.end();
      });
      this.#requests++;
      if (outcome !== "200") this.#failures.push(outcome);
      await sleep(10);
    }
    this.#agent.destroy();
  }

  async end(): Promise<{ requests: number; failures: string[] }> {
    this.#going = false;
    await this.#work;
    return { requests: this.#requests, failures: this.#failures };
  }
}

/** The member's answer to /download: a chunk every 20 ms, until it is told to end. */
const downloads = { going: true, chunks: 0 };
const CHUNK = "x".repeat(1000);

function slowDownload() {
  downloads.going = true;
  downloads.chunks = 0;
  const received = new Promise<number>((resolve, reject) => {
    const call = request({ host: VIP, path: "/download", agent: false }, async (response: IncomingMessage) => {
      let length = 0;
      for await (const chunk of response) length += (chunk as Buffer).length;
      resolve(length / CHUNK.length);
    });
    call.on("error", reject);
    call.end();
  });
  // a failure is for `end` to tell
  received.catch(() => undefined);
  return {
    end: async () => {
      downloads.going = false;
      return { received: await received, chunks: downloads.chunks };
    },
  };
}

async function serving(t: Test, haproxy: string) {
  const agent = await startAgent(t, { haproxy });
  await plugTenant(t);
  for (const [i, name] of ["a", "b", "c"].entries()) {
    await Upstream.start(t, name, `10.77.0.${21 + i}`, {
      answer: (incoming, response) => {
        if (incoming.url !== "/download") return false;
        const timer = setInterval(() => {
          response.write(CHUNK);
          downloads.chunks++;
          if (downloads.going) return;
          clearInterval(timer);
          response.end();
        }, 20);
        return true;
      },
    });
  }
  await startWebSocket(t, "10.77.0.21", 9002);
  await startEcho(t, "echo", "10.77.0.21", 9003);
  const authority = await TestAuthority.make("authority");
  const pairs = [
    await authority.issue("CN=a.example"),
    await authority.issue("CN=b.example"),
    await authority.issue("CN=c.example", [], "RSA"),
  ];
  let revision = 0;
  const spec = ({ http, more, web, certificate }: Site): AmphoraSpecInput => {
    const tls = { certificate_ids: [idOf("certificate")] };
    const secure = { protocol: "TERMINATED_HTTPS", tls } as const;
    const { certificate: text, private_key } = certificate;
    return tenantSpec(agent, ++revision, {
      certificates: [{ id: idOf("certificate"), certificate: text, private_key }],
      listeners: [
        http,
        listener(2, { ...secure, protocol_port: 443 }),
        listener(3, { protocol_port: 1001, default_pool_id: idOf("pool", 2) }),
        listener(4, { ...secure, protocol_port: 1002, default_pool_id: idOf("pool", 2) }),
        listener(5, { protocol: "TCP", protocol_port: 1003, default_pool_id: idOf("pool", 3) }),
        ...more,
      ],
      pools: [
        web,
        pool(2, [member(11, { address: "10.77.0.21", protocol_port: 9002 })]),
        pool(3, [member(12, { address: "10.77.0.21", protocol_port: 9003 })], { protocol: "TCP" }),
      ],
    });
  };
  return {
    agent,
    pairs,
    tls: { ca: authority.certificate, checkServerIdentity: () => undefined },
    apply: (site: Site) => agent.apply(spec(site)),
  };
}
