/** Specs with IPVS listeners, what ipvsadm and conntrack said of such on a real kernel, and readers of rendered files. */
import fc from "fast-check";
import { LB_ALGORITHMS } from "../../templates/fields.ts";
import { type AmphoraSpec, type AmphoraSpecInput, parseSpec } from "../../templates/spec.ts";
import {
  idOf,
  type ListenerInput,
  listener,
  type MemberInput,
  member,
  monitor,
  type PoolInput,
  pool,
  specInput,
} from "./specs.ts";

/** One FORWARD_TCP listener on port 80, one pool, two members on the VIP's subnet. */
export function forwardSpec(
  changes: {
    readonly listener?: Partial<ListenerInput>;
    readonly pool?: Partial<PoolInput>;
    readonly members?: MemberInput[];
  } & Partial<AmphoraSpecInput> = {},
): AmphoraSpec {
  const { listener: front = {}, pool: back = {}, members = [member(1), member(2)], ...rest } = changes;
  return parseSpec(
    specInput({
      interfaces: [{ name: "eth1", mac: "fa:16:3e:00:00:01", addresses: ["10.77.0.10/24", "fd77::10/64"] }],
      vips: ["10.77.0.5", "fd77::5"],
      listeners: [listener(1, { protocol: "FORWARD_TCP", ...front })],
      pools: [pool(1, members, { protocol: "FORWARD_TCP", ...back })],
      ...rest,
    }),
  );
}

const TABLE_HEADER = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
`;

/** `ipvsadm -Ln` on Linux 6.12, ipvsadm 1.31: every transport, both families, flags and persistence. */
export const TABLE = `${TABLE_HEADER}TCP  10.0.1.100:80 mh (mh-fallback) persistent 60 mask 255.255.255.0
  -> 10.0.1.31:8080               Masq    5      2          3         
  -> 10.0.1.32:8080               Masq    0      0          0         
TCP  10.0.1.100:81 wlc
  -> 10.0.1.31:8081               Masq    1      0          0         
UDP  10.0.1.100:53 wrr
  -> 10.0.1.31:5353               Masq    1      0          7         
SCTP 10.0.1.100:80 mh (mh-fallback,mh-port) persistent 60
  -> 10.0.1.31:80                 Masq    1      0          0         
TCP  [fd00::100]:80 mh (mh-fallback) persistent 60
  -> [fd00::31]:8080              Masq    0      0          0         
SCTP [fd00::100]:80 mh (mh-fallback,mh-port) persistent 60 mask 64
FWM  1 mh (mh-port)
  -> 10.0.1.3:0                   Route   1      0          0         
`;

/** `ipvsadm -Ln --stats --exact` there. */
export const TRAFFIC = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  10.0.1.100:80                      11      422      226    22223    17738
  -> 10.0.1.32:8080                      6      220      117    11587     9186
UDP  10.0.1.100:53                       2        2        2       58      100
  -> 10.0.1.31:5353                      1        1        1       29       50
TCP  [fd00::100]:80                      1        8        5      586      412
  -> [fd00::31]:8080                     0        0        0        0        0
`;

/** `ipvsadm -Ln` of services, as the kernel would have them when every member is up. */
export function tableOf(services: readonly string[]): string {
  return `${TABLE_HEADER}${services.join("\n")}\n`;
}

const port = fc.integer({ min: 1, max: 65_535 });
const address = fc.oneof(
  fc.ipV4(),
  fc.ipV6().filter((text) => !text.includes(".")),
);
const printable = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code));

const memberFields: fc.Arbitrary<Partial<MemberInput>> = fc.record({
  admin_state_up: fc.boolean(),
  address,
  protocol_port: port,
  weight: fc.integer({ min: 0, max: 256 }),
  backup: fc.boolean(),
  monitor_address: fc.option(address),
  monitor_port: fc.option(port),
});

const monitorFields = fc.record({
  type: fc.constantFrom("HTTP", "HTTPS", "TCP", "PING", "UDP-CONNECT", "SCTP"),
  delay: fc.integer({ min: 1, max: 2_147_483 }),
  timeout: fc.integer({ min: 1, max: 2_147_483 }),
  max_retries: fc.integer({ min: 1, max: 10 }),
  max_retries_down: fc.integer({ min: 1, max: 10 }),
  http_version: fc.constantFrom(1.0, 1.1),
  url_path: fc.string({ unit: printable, maxLength: 254 }).map((text) => `/${text}`),
  expected_codes: fc.constantFrom("200", "200,202", "200-204", "100,301-303,599"),
  domain_name: fc.option(fc.domain()),
});

/** The checks that a pool of each protocol may have, of those above. */
const TYPES = {
  FORWARD_TCP: ["HTTP", "HTTPS", "TCP", "PING"],
  UDP: ["UDP-CONNECT", "HTTP", "TCP", "PING"],
  SCTP: ["SCTP", "HTTP", "TCP", "PING"],
} as const;

/** Valid specs by chance: up to 3 pools of up to 5 members, a listener before each. */
export const arbitraryIpvsSpec: fc.Arbitrary<AmphoraSpec> = fc
  .record({
    vips: fc.tuple(
      fc.ipV4(),
      fc.ipV6().filter((text) => !text.includes(".")),
    ),
    time: fc.integer({ min: 1, max: 2_678_400 }),
    pools: fc.array(
      fc.record({
        admin_state_up: fc.boolean(),
        protocol: fc.constantFrom("FORWARD_TCP", "UDP", "SCTP"),
        lb_algorithm: fc.constantFrom(...LB_ALGORITHMS),
        members: fc.uniqueArray(memberFields, {
          maxLength: 5,
          selector: (each) => `${each.address} ${each.protocol_port}`,
        }),
        monitor: fc.option(monitorFields),
        granularity: fc.option(fc.constantFrom("255.255.255.0", "255.255.255.255", "64", "1", "128")),
        connection_limit: fc.oneof(fc.constantFrom(-1, 0, 1, 1_000_000, 2_147_483_647), fc.nat({ max: 2_147_483_647 })),
        allowed_cidrs: fc.option(
          fc.array(
            fc.tuple(address, fc.nat({ max: 128 })).map(([text, n]) => `${text}/${text.includes(":") ? n : n % 33}`),
            { minLength: 1, maxLength: 5 },
          ),
        ),
      }),
      { maxLength: 3 },
    ),
  })
  .map(({ vips, time, pools }) => {
    const made = pools.map(({ members, monitor: check, granularity, protocol, lb_algorithm, admin_state_up }, i) => {
      const health_monitor =
        check === null
          ? null
          : monitor({
              ...check,
              id: idOf("monitor", i),
              type: TYPES[protocol].find((type) => type === check.type) ?? TYPES[protocol][0],
            });
      const session_persistence =
        granularity === null
          ? null
          : { type: "SOURCE_IP" as const, persistence_timeout: 600, persistence_granularity: granularity };
      const numbered = members.map((each, j) => member(i * 10 + j, each));
      return pool(i + 1, numbered, { admin_state_up, protocol, lb_algorithm, health_monitor, session_persistence });
    });
    const listeners = pools.map(({ protocol, connection_limit, allowed_cidrs }, i) =>
      listener(i + 1, { protocol, connection_limit, allowed_cidrs, default_pool_id: idOf("pool", i + 1) }),
    );
    return parseSpec(specInput({ vips: [...vips], lvs_tcp_timeout: time, pools: made, listeners }));
  });
