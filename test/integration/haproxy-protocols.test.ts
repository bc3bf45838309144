/** Every pair of listener and pool protocols, and what goes over a connection besides plain requests. */
import type { Test } from "tap";
import { eventually, startAgent } from "../support/agent.ts";
import { onEachRelease } from "../support/haproxy-releases.ts";
import { type Call, call, served, Upstream } from "../support/http.ts";
import { type Pair, TestAuthority } from "../support/pki.ts";
import { Conversation, startEcho, startRecorder, startWebSocket } from "../support/raw.ts";
import { idOf, type ListenerInput, listener, member, type PoolInput, pool } from "../support/specs.ts";
import { plugTenant, tenantSpec, VIP6 } from "../support/tenant.ts";

/** The usual ports of the members at 10.77.0.21. */
const PORTS = { http: 8080, https: 8443, echo: 9000, recorder: 9001, websocket: 9002 } as const;

onEachRelease("protocols", serving, {
  "TCP carries bytes, whatever they are": async (t, { apply }) => {
    await apply([on(1000, "TCP", 1), on(1001, "TCP", 2)], [to("TCP", "echo"), to("TCP", "http")]);
    const conversation = await Conversation.open(t, 1000);
    await conversation.hears("echo ");
    const bytes = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i));
    t.equal(await conversation.say(bytes), bytes);
    t.equal(await served({ port: 1001 }), "a");
    const overIpv6 = await Conversation.open(t, 1000, VIP6);
    t.equal(await overIpv6.hears("echo "), "echo ");
  },

  "HTTPS passes TLS through: the certificate is the member's own": async (t, { apply, tls }) => {
    await apply([on(1000, "HTTPS", 1), on(1001, "HTTPS", 2)], [to("HTTPS", "https"), to("TCP", "https")]);
    for (const port of [1000, 1001]) {
      t.match(await call({ port, tls }), { secured: { server: "member.example" }, seen: { member: "secure" } });
    }
  },

  "an HTTP pool behind a TCP listener is HTTP": async (t, { apply }) => {
    const cookies = { session_persistence: { type: "HTTP_COOKIE" } } as const;
    await apply([on(1000, "TCP", 1)], [to("HTTP", "http", cookies)]);
    const { seen, headers } = await call({ port: 1000 });
    t.equal(seen?.member, "a");
    t.match(headers["set-cookie"]?.[0], /^SRV=/);
  },

  "PROXY and PROXYV2 tell members who connects, to listeners of every kind": async (t, { apply, tls }) => {
    const pools = [to("PROXY", "recorder"), to("PROXYV2", "recorder")];
    await apply(
      [
        on(1000, "HTTP", 1),
        on(1001, "TCP", 1),
        on(1002, "TERMINATED_HTTPS", 1),
        on(1003, "HTTPS", 1),
        on(1010, "HTTP", 2),
        on(1011, "TCP", 2),
        on(1012, "TERMINATED_HTTPS", 2),
        on(1013, "HTTPS", 2),
      ],
      pools,
    );
    const recorded = async (options: Call) => JSON.parse((await call(options)).text).body as string;
    for (const port of [1000, 1001, 1002]) {
      const options = { port, from: "10.77.0.23", ...(port === 1002 ? { tls } : {}) };
      t.match(
        await recorded(options),
        new RegExp(`^PROXY TCP4 10\\.77\\.0\\.23 10\\.77\\.0\\.5 \\d+ ${port}\r\nGET / HTTP`),
      );
      t.ok((await recorded({ ...options, port: port + 10 })).startsWith(V2_FROM_23), `${port + 10}`);
    }
    t.match(await recorded({ host: VIP6, port: 1000, from: "fd77::1" }), /^PROXY TCP6 fd77::1 fd77::5 /);
    // not TLS, but passed through all the same
    t.match(await recorded({ port: 1003, from: "10.77.0.23" }), /^PROXY TCP4 10\.77\.0\.23 /, "HTTPS");
    t.ok((await recorded({ port: 1013, from: "10.77.0.23" })).startsWith(V2_FROM_23), "HTTPS");
  },

  "WebSocket, in the clear and over TLS": async (t, { apply, tls }) => {
    await apply([on(1000, "HTTP", 1), on(1001, "TERMINATED_HTTPS", 1), on(1002, "TCP", 1)], [to("HTTP", "websocket")]);
    for (const port of [1000, 1001, 1002]) {
      const socket = await Conversation.upgrade(t, port, port === 1001 ? tls : undefined);
      t.equal(await socket.say("\x81\x05hello\0\xff"), "\x81\x05hello\0\xff", `${port}`);
    }
  },

  "PROMETHEUS serves HAProxy's metrics, and nothing else, to whom it is allowed": async (t, { apply }) => {
    const prometheus = { ...on(1000, "PROMETHEUS"), allowed_cidrs: ["10.77.0.1/32"] };
    await apply([prometheus, on(80, "HTTP", 1)], [to("HTTP", "http")]);
    t.equal(await served(), "a");
    const { status, text } = await call({ port: 1000, path: "/metrics" });
    t.equal(status, 200);
    t.match(text, `haproxy_frontend_http_requests_total{proxy="${idOf("listener", 80)}"} 1`);
    t.match(text, `haproxy_server_status{proxy="${idOf("pool")}:http:5000:50000",server="${idOf("member", 1)}"`);
    for (const path of ["/", "/metrics/x", "/stats"]) t.equal((await call({ port: 1000, path })).status, 404, path);
    await t.rejects(call({ port: 1000, path: "/metrics", from: "10.77.0.21" }), { code: "ECONNRESET" });
  },

  "every listener is reported, and counts its connections, whatever its protocol": async (t, { agent, apply, tls }) => {
    const protocols = ["HTTP", "TCP", "TERMINATED_HTTPS", "HTTPS", "PROMETHEUS"] as const;
    await apply(
      protocols.map((protocol, i) =>
        on(1000 + i, protocol, protocol === "PROMETHEUS" ? undefined : protocol === "HTTPS" ? 2 : 1),
      ),
      [to("HTTP", "http"), to("TCP", "https")],
    );
    const before = (await agent.stats()).listeners;
    await Promise.all([
      call({ port: 1000 }),
      call({ port: 1001 }),
      call({ port: 1002, tls }),
      call({ port: 1003, tls }),
      call({ port: 1004, path: "/metrics" }),
    ]);
    for (const [i, protocol] of protocols.entries()) {
      const id = idOf("listener", 1000 + i);
      await eventually(`${protocol} is counted`, async () => {
        const [now, then] = [(await agent.stats()).listeners[id], before[id]];
        if (now === undefined || then === undefined) throw new Error(`${protocol} has no counters`);
        return (
          now.total_connections === then.total_connections + 1 &&
          now.bytes_in > then.bytes_in &&
          now.bytes_out > then.bytes_out
        );
      });
      t.equal((await agent.health()).listeners[id], "OPEN", protocol);
    }
  },
});

/** PROXY protocol, version 2: TCP over IPv4, 12 bytes, from 10.77.0.23 to 10.77.0.5. */
const V2_FROM_23 = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0aM\0\x17\x0aM\0\x05";

function on(protocol_port: number, protocol: NonNullable<ListenerInput["protocol"]>, pool?: number): ListenerInput {
  const tls = protocol === "TERMINATED_HTTPS" ? { certificate_ids: [idOf("certificate")] } : null;
  return listener(protocol_port, {
    protocol,
    protocol_port,
    default_pool_id: pool === undefined ? null : idOf("pool", pool),
    tls,
  });
}

interface To {
  readonly protocol: PoolInput["protocol"];
  readonly port: number;
  readonly changes: Partial<PoolInput>;
}

function to(protocol: PoolInput["protocol"], what: keyof typeof PORTS, changes: Partial<PoolInput> = {}): To {
  return { protocol, port: PORTS[what], changes };
}

async function serving(t: Test, haproxy: string) {
  const agent = await startAgent(t, { haproxy });
  await plugTenant(t);
  const authority = await TestAuthority.make("authority");
  const [own, members] = [await authority.issue("CN=lb.example"), await authority.issue("CN=member.example")];
  const address = "10.77.0.21";
  await Upstream.start(t, "a", address, { port: PORTS.http });
  const secure = { cert: members.certificate, key: members.private_key };
  await Upstream.start(t, "secure", address, { port: PORTS.https, tls: secure });
  await startEcho(t, "echo", address, PORTS.echo);
  await startRecorder(t, address, PORTS.recorder);
  await startWebSocket(t, address, PORTS.websocket);
  let revision = 0;
  return {
    agent,
    tls: { ca: authority.certificate, checkServerIdentity: () => undefined },
    apply: (listeners: ListenerInput[], pools: To[]) =>
      agent.apply(
        tenantSpec(agent, ++revision, {
          certificates: [certificateOf(own)],
          listeners,
          pools: pools.map(({ protocol, port, changes }, i) =>
            pool(i + 1, [member(i + 1, { address, protocol_port: port })], { protocol, ...changes }),
          ),
        }),
      ),
  };
}

function certificateOf({ certificate, private_key }: Pair) {
  return { id: idOf("certificate"), certificate, private_key };
}
