/** A tenant's machine: a namespace with one address on the deployment's bridge, and a web server that says its name. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { execa } from "execa";
import { until } from "./deployment.ts";
import { dropNamespace } from "./namespaces.ts";
import type { Scope } from "./scope.ts";

const WEB = join(import.meta.dirname, "../../controller/up/web.ts");
export const WEB_PORT = 8080;

let made = 0;

export class Machine {
  readonly name: string;
  readonly namespace: string;
  readonly address: string;
  #server: ChildProcess | null = null;

  private constructor(name: string, namespace: string, address: string) {
    this.name = name;
    this.namespace = namespace;
    this.address = address;
  }

  /**
   * @param address with prefix length, such as 10.77.0.201/24
   * @param gateway where everything else goes
   * @param bridge the deployment's only one, unless it is named
   */
  static async make(t: Scope, address: string, gateway: string, bridge?: string): Promise<Machine> {
    const name = `m${++made}`;
    const namespace = `amphora-test-${name}-${process.pid}`;
    const host = `t${name}h`;
    const link = bridge ?? (await deploymentBridge());
    await execa("ip", ["netns", "add", namespace]);
    const machine = new Machine(name, namespace, address.split("/")[0] ?? "");
    t.teardown(() => machine.destroy());
    await execa("ip", ["link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", namespace]);
    await execa("ip", ["link", "set", host, "master", link, "up"]);
    await execa("ip", ["-n", namespace, "-batch", "-"], {
      input: `link set lo up\naddress add ${address} dev eth0 ${address.includes(":") ? "nodad" : ""}\nlink set eth0 up\nroute add default via ${gateway}\n`,
    });
    return machine;
  }

  /** Starts the web server, and waits until it answers. */
  async serve(): Promise<void> {
    this.#server = this.spawn(process.execPath, [WEB, this.name, this.address, String(WEB_PORT)]);
    const host = this.address.includes(":") ? `[${this.address}]` : this.address;
    await until(`${this.name} serves`, async () => {
      const { exitCode } = await this.run("curl", ["-s", "-m", "1", `http://${host}:${WEB_PORT}/`]);
      return exitCode === 0;
    });
  }

  /** Ends the web server: the port is closed, the machine still there. */
  async stopServing(): Promise<void> {
    const server = this.#server;
    if (server === null) return;
    server.kill("SIGTERM");
    await until(`${this.name} has stopped`, async () => server.exitCode !== null || server.signalCode !== null);
  }

  /** Runs a command on the machine. Never throws: look at `exitCode`. */
  run(command: string, args: readonly string[]) {
    return execa("nsenter", [`--net=/run/netns/${this.namespace}`, "--", command, ...args], {
      reject: false,
      timeout: 60_000,
    });
  }

  spawn(command: string, args: readonly string[]): ChildProcess {
    const inside = ["-u", "NODE_OPTIONS", "nsenter", `--net=/run/netns/${this.namespace}`, "--", command, ...args];
    return spawn("env", inside, { stdio: "ignore" });
  }

  async destroy(): Promise<void> {
    await dropNamespace(this.namespace);
  }
}

/** The name of the deployment's bridge. */
export async function deploymentBridge(): Promise<string> {
  const { stdout } = await execa("ip", ["-br", "link", "show", "type", "bridge"]);
  const name = stdout
    .split("\n")
    .map((line) => line.split(/[ @]/)[0] ?? "")
    .find((each) => each.startsWith("amb"));
  if (name === undefined) throw new Error("there is no deployment's bridge");
  return name;
}
