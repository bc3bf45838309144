/** A tenant's network in a test: one subnet, whose gateway, clients and members are the test itself. */
import { createServer, type IncomingMessage, request, type Server } from "node:http";
import { connect, type Socket } from "node:net";
import { execa } from "execa";
import type { AmphoraSpecInput } from "../../templates/spec.ts";
import { eventually, type TestAgent } from "./agent.ts";
import type { Scope } from "./scope.ts";
import { specInput } from "./specs.ts";

export const VIP = "10.77.0.5";
export const VIP6 = "fd77::5";
const MAC = "fa:16:3e:00:00:01";
const HOST_SIDE = "tenant0";
const GATEWAYS = ["10.77.0.1/24", "fd77::1/64"];
/** where members may listen: as `member(1)` to `member(4)` of specs.ts, and the same in IPv6 */
const MEMBERS = [1, 2, 3, 4].flatMap((number) => [`10.77.0.${20 + number}/24`, `fd77::${20 + number}/64`]);

/** Plugs the tenant's interface in: one end waits for the agent, the other is the test's side of the subnet. */
export async function plugTenant(t: Scope): Promise<void> {
  t.teardown(() => execa("ip", ["link", "delete", HOST_SIDE], { reject: false }));
  const addresses = [...GATEWAYS, ...MEMBERS].map(
    (each) => `address add ${each} dev ${HOST_SIDE}${each.includes(":") ? " nodad" : ""}`,
  );
  const input = [
    `link add ${HOST_SIDE} type veth peer name free0 address ${MAC}`,
    ...addresses,
    `link set ${HOST_SIDE} up`,
    "",
  ].join("\n");
  await execa("ip", ["-batch", "-"], { input });
}

/** A spec for this agent on the tenant's subnet: the usual listener, pool and members unless said otherwise. */
export function tenantSpec(
  agent: TestAgent,
  revision: number,
  changes: Partial<AmphoraSpecInput> = {},
): AmphoraSpecInput {
  return specInput({
    amphora_id: agent.id,
    revision,
    interfaces: [
      {
        name: "eth1",
        mac: MAC,
        addresses: ["10.77.0.10/24", "fd77::10/64"],
        routes: [{ destination: "0.0.0.0/0", via: "10.77.0.1" }],
      },
    ],
    vips: [VIP, VIP6],
    ...changes,
  });
}

/** A member of a pool: says its number to whoever asks. */
export class Member {
  readonly address: string;
  readonly #server: Server;
  /** whether checks of /health succeed */
  healthy = true;
  /** where the last request came from */
  lastClient = "";
  requests = 0;
  /** checks that were understood */
  checks = 0;

  private constructor(number: number, address: string) {
    this.address = address;
    this.#server = createServer((incoming, response) => {
      if (incoming.url === "/health") {
        this.checks++;
        response.writeHead(this.healthy ? 200 : 503).end();
        return;
      }
      this.requests++;
      this.lastClient = incoming.socket.remoteAddress ?? "";
      response.end(`member ${number}`);
    });
  }

  static async start(t: Scope, number: number, address = `10.77.0.${20 + number}`, port = 8080): Promise<Member> {
    const member = new Member(number, address);
    t.teardown(() => member.stop());
    await new Promise<void>((resolve, reject) => {
      member.#server.once("error", reject);
      member.#server.listen(port, address, resolve);
    });
    return member;
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }
}

/** One request through a VIP, on a connection of its own. */
export async function get(
  address = VIP,
  port = 80,
  path = "/",
): Promise<{ readonly status: number; readonly text: string }> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const options = { agent: false, host: address, port, path, signal: AbortSignal.timeout(5000) };
    const call = request(options, resolve);
    call.on("error", reject);
    call.end();
  });
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += String(chunk);
  return { status: response.statusCode ?? 0, text };
}

/** Whether the VIP answers a request with success. */
export function serves(address = VIP, port = 80): Promise<boolean> {
  return get(address, port).then(
    ({ status }) => status === 200,
    () => false,
  );
}

/** A connection that stays open: one request after another goes over it. */
export class OpenConnection {
  readonly #socket: Socket;
  #received = "";
  #ended = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => {
      this.#received += chunk;
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.#ended = true;
    });
  }

  static async open(t: Scope, address = VIP, port = 80): Promise<OpenConnection> {
    const socket = connect(port, address);
    t.teardown(() => socket.destroy());
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.once("connect", resolve);
    });
    return new OpenConnection(socket);
  }

  close(): void {
    this.#socket.destroy();
  }

  /** @returns the whole answer @throws when the connection is broken, or ends before one came */
  async ask(): Promise<string> {
    this.#received = "";
    this.#socket.write("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    await eventually("an answer", async () => {
      if (/\r\n\r\nmember \d$/.test(this.#received)) return true;
      if (this.#ended) throw new Error(`the connection ended after ${JSON.stringify(this.#received)}`);
      return false;
    });
    return this.#received;
  }
}
