/** The command that checks members for keepalived, run as keepalived runs it, against sockets that are open or not. */
import { createSocket } from "node:dgram";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import t, { type Test } from "tap";

const COMMAND = join(import.meta.dirname, "../../templates/keepalived/check-member");
const OPEN = 7101;
const CLOSED = 7102;

interface Check {
  readonly type: string;
  readonly address?: string;
  readonly port?: number;
  readonly rise?: number;
  readonly fall?: number;
}

/** One member's checks, one after the other; each tells whether the member is up. */
function checker(t: Test): (check: Check) => Promise<boolean> {
  const state = join(t.testdir(), "state");
  return async ({ type, address = "127.0.0.1", port = OPEN, rise = 1, fall = 1 }) => {
    const words = [type, address, port, 1, rise, fall, state].map(String);
    const { exitCode, stderr } = await execa(COMMAND, words, { reject: false, timeout: 10_000 });
    if (stderr !== "") throw new Error(stderr);
    return exitCode === 0;
  };
}

async function listening(t: Test, address: string): Promise<void> {
  const server = createServer((socket) => socket.destroy());
  t.teardown(() => server.close());
  await new Promise<void>((resolve) => server.listen(OPEN, address, resolve));
  const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
  t.teardown(() => socket.close());
  await new Promise<void>((resolve) => socket.bind(OPEN, address, resolve));
}

for (const address of ["127.0.0.1", "::1"]) {
  t.test(`an open port is up, a closed one is down (${address})`, async (t) => {
    await listening(t, address);
    for (const type of ["TCP", "UDP-CONNECT"]) {
      const check = checker(t);
      t.equal(await check({ type, address }), true, type);
      t.equal(await check({ type, address, port: CLOSED }), false, type);
      t.equal(await check({ type, address }), true, type);
    }
  });
}

t.test("a member that was down succeeds after as many successes in a row, and not before", async (t) => {
  await listening(t, "127.0.0.1");
  const check = checker(t);
  const seen = async (pattern: string) => {
    let answers = "";
    for (const each of pattern) {
      answers += (await check({ type: "TCP", port: each === "+" ? OPEN : CLOSED, rise: 3, fall: 2 })) ? "+" : "-";
    }
    return answers;
  };
  t.equal(await seen("+-+-+"), "+-+-+", "a single failure is for keepalived to count");
  t.equal(await seen("--++-+++"), "-------+", "after two it is down, and needs three successes");
  t.equal(await seen("+-+"), "+-+");
});

t.test("a member that has never been checked needs a single success", async (t) => {
  await listening(t, "127.0.0.1");
  t.equal(await checker(t)({ type: "TCP", rise: 10, fall: 10 }), true);
  const check = checker(t);
  t.equal(await check({ type: "TCP", port: CLOSED, rise: 10, fall: 10 }), false);
  t.equal(await check({ type: "TCP", rise: 10, fall: 10 }), true);
});

t.test("a connection that hangs has failed when keepalived's patience ends", async (t) => {
  await execa("nft", ["-f", "-"], {
    input: `table inet hang {\nchain out {\ntype filter hook output priority filter;\ntcp dport ${CLOSED} drop\n}\n}\n`,
  });
  t.teardown(() => execa("nft", ["delete", "table", "inet", "hang"]));
  const state = join(t.testdir(), "state");
  const running = execa(COMMAND, ["TCP", "127.0.0.1", String(CLOSED), "1", "2", "2", state], { reject: false });
  // it is connecting when it has a socket
  for (let tries = 0; tries < 200; tries++) {
    const { stdout } = await execa("ss", ["-tnH", "state", "syn-sent"]);
    if (stdout.includes(`:${CLOSED}`)) break;
    await sleep(25);
  }
  running.kill("SIGTERM");
  t.equal((await running).exitCode, 1);
  t.equal(await readFile(state, "utf8"), "up 1\n");
});

t.test("UDP: a neighbour that is switched off is down, though it says nothing", async (t) => {
  t.teardown(() => execa("ip", ["link", "delete", "near0"]));
  await execa("ip", ["-batch", "-"], {
    input: [
      "link add near0 type veth peer name near1",
      "address add 10.76.0.1/24 dev near0",
      "link set near1 up",
      "link set near0 up",
    ].join("\n"),
  });
  // as the agent sets it on an instance: else the kernel asks for 3 s before it gives up
  await execa("sysctl", ["-qw", "net.ipv4.neigh.near0.retrans_time_ms=250"]);
  t.equal(await checker(t)({ type: "UDP-CONNECT", address: "10.76.0.9" }), false);
});

t.test("a damaged count, and a kind of check that there is not, do no harm", async (t) => {
  await listening(t, "127.0.0.1");
  const check = checker(t);
  t.equal(await check({ type: "NO-SUCH" }), false);
  const state = join(t.testdir({ state: "maybe $(id) 99\n" }), "state");
  const { exitCode } = await execa(COMMAND, ["TCP", "127.0.0.1", String(OPEN), "1", "3", "3", state], {
    reject: false,
  });
  t.equal(exitCode, 0);
  t.equal(await readFile(state, "utf8"), "up 0\n");
});
