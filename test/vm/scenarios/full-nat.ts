/** IPVS with full NAT, as the kernel does it: a client, an amphora and a member, each in a namespace of its own. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { execa } from "execa";
import { type Inside, until } from "../../support/vm/inside.ts";

const ECHO = join(import.meta.dirname, "../../support/vm/echo.ts");
const VIP = "10.0.1.100";
const CLIENT = "10.0.1.10";
const AMPHORA = "10.0.2.2";
const MEMBER = "10.0.2.11";

export default async ({ check, teardown }: Inside): Promise<void> => {
  for (const name of ["client", "amphora", "member"]) await execa("ip", ["netns", "add", name]);
  await execa("ip", ["-batch", "-"], {
    input: [
      "link add eth0 netns client type veth peer name front netns amphora",
      "link add eth0 netns member type veth peer name back netns amphora",
    ].join("\n"),
  });
  const configure = (name: string, lines: readonly string[]) =>
    execa("ip", ["-n", name, "-batch", "-"], { input: ["link set lo up", ...lines].join("\n") });
  await configure("client", [`address add ${CLIENT}/24 dev eth0`, "link set eth0 up"]);
  await configure("member", [`address add ${MEMBER}/24 dev eth0`, "link set eth0 up"]);
  await configure("amphora", [
    `address add ${VIP}/24 dev front`,
    `address add ${AMPHORA}/24 dev back`,
    "link set front up",
    "link set back up",
  ]);
  const inside = (name: string, command: string, ...args: readonly string[]) =>
    execa("ip", ["netns", "exec", name, command, ...args], { timeout: 20_000 });
  await execa("modprobe", ["-a", "ip_vs", "nf_conntrack_netlink"]);
  await inside("amphora", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.vs.conntrack=1");
  await inside("amphora", "sysctl", "-qw", "net.netfilter.nf_conntrack_timestamp=1");
  await execa("ip", ["netns", "exec", "amphora", "nft", "-f", "-"], {
    input: `table ip amphora {
      chain postrouting {
        type nat hook postrouting priority srcnat
        oifname "back" masquerade
      }
    }`,
  });
  for (const [option, port] of [
    ["-t", 80],
    ["-u", 53],
  ] as const) {
    await inside("amphora", "ipvsadm", "-A", option, `${VIP}:${port}`, "-s", "wrr");
    await inside("amphora", "ipvsadm", "-a", option, `${VIP}:${port}`, "-r", `${MEMBER}:8080`, "-m");
  }
  const echo = spawn("ip", ["netns", "exec", "member", process.execPath, ECHO, "serve", "8080"], { stdio: "inherit" });
  teardown(() => echo.kill("SIGKILL"));
  await until(
    "the member listens",
    async () => (await inside("member", "ss", "-Hltun")).stdout.split("\n").length === 2,
  );

  for (const [protocol, port] of [
    ["tcp", "80"],
    ["udp", "53"],
  ] as const) {
    await check(
      `a ${protocol.toUpperCase()} flow through IPVS reaches the member, which sees the amphora`,
      async () => {
        const { stdout } = await inside("client", process.execPath, ECHO, "ask", protocol, VIP, port);
        assert.equal(stdout, AMPHORA);
      },
    );
    await check(`one connection tracking entry carries both sides of the ${protocol.toUpperCase()} flow`, async () => {
      const { stdout } = await inside("amphora", "conntrack", "-L", "-p", protocol, "-o", "ktimestamp");
      const [entry, ...more] = stdout.split("\n").filter((line) => line.includes(`dst=${VIP}`));
      assert.deepEqual(more, []);
      assert.match(entry ?? "", new RegExp(`src=${CLIENT} dst=${VIP} .* src=${MEMBER} dst=${AMPHORA} .*start=`));
    });
  }
};
