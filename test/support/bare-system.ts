/**
 * A bare Debian in a folder, with nothing installed but Node and npm, and processes of its own in it. It reaches the
 * package mirrors that this machine uses, through a user-mode network.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { execa } from "execa";
import type { Test } from "tap";
import { until } from "./deployment.ts";

const ROOT = join(import.meta.dirname, "../..");
const PROJECT = "/opt/amphora";

export class BareSystem {
  readonly #folder: string;
  #network: ChildProcess | null = null;
  #main: ChildProcess | null = null;
  output = "";

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** @param suite such as bookworm or trixie */
  static async make(t: Test, suite: string): Promise<BareSystem> {
    const system = new BareSystem(await mkdtemp(join(tmpdir(), `amphora-${suite}-`)));
    t.teardown(() => system.destroy());
    await system.#install(suite);
    await system.#connect();
    return system;
  }

  async #install(suite: string): Promise<void> {
    const folder = this.#folder;
    // the mirror is the one that this machine's apt uses
    const { stdout } = await execa("apt-get", ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]);
    const mirror = stdout.split("\n")[0] ?? "";
    const outside = [`--net=${process.env.AMPHORA_TEST_OUTSIDE}`, "--"];
    await execa("nsenter", [...outside, "mmdebstrap", "--variant=minbase", "--quiet", suite, folder, mirror], {
      timeout: 300_000,
    });
    const { stdout: acquire } = await execa("apt-config", ["dump", "Acquire"]);
    await writeFile(join(folder, "etc/apt/apt.conf.d/99acquire"), `${acquire.replace(/^Acquire "";$/m, "")}\n`);
    await writeFile(join(folder, "etc/resolv.conf"), "nameserver 10.0.2.3\n");
    await cp("/etc/hosts", join(folder, "etc/hosts"));
    await cp("/etc/ssl/certs/ca-certificates.crt", join(folder, "etc/ca.crt"), { dereference: true });
    await cp(join(process.env.HOME ?? "/root", ".npmrc"), join(folder, "root/.npmrc")).catch(() => undefined);
    await this.#installNode();
    await execa("git", ["clone", "--quiet", ROOT, join(folder, PROJECT)]);
  }

  /** The system's Node and npm, not the project's. */
  async #installNode(): Promise<void> {
    const path = (process.env.PATH ?? "")
      .split(":")
      .filter((each) => !each.includes("node_modules"))
      .join(":");
    const which = async (name: string) =>
      realpath((await execa("which", [name], { env: { PATH: path }, extendEnv: false })).stdout);
    const local = join(this.#folder, "usr/local");
    await cp(await which("node"), join(local, "bin/node"));
    await mkdir(join(local, "lib/node_modules"), { recursive: true });
    await cp(dirname(dirname(await which("npm"))), join(local, "lib/node_modules/npm"), { recursive: true });
    await symlink("../lib/node_modules/npm/bin/npm-cli.js", join(local, "bin/npm"));
  }

  /** Lets this test's network namespace reach the world, through a process outside of it. */
  async #connect(): Promise<void> {
    const options = ["--configure", "--mtu=1500", "--netns-type=path", `/proc/${process.pid}/ns/net`, "tap0"];
    this.#network = spawn("nsenter", [`--net=${process.env.AMPHORA_TEST_OUTSIDE}`, "--", "slirp4netns", ...options], {
      stdio: "ignore",
    });
    await until("the network is connected", async () => {
      const { stdout } = await execa("ip", ["-4", "route", "show", "default"]);
      return stdout.includes("tap0");
    });
  }

  /** Runs a command line in the project's clone, as the system's first process. */
  run(line: string): void {
    const root = this.#folder;
    const script = [
      `mount --bind ${root} ${root}`,
      `mount --make-rprivate ${root}`,
      `mount -t proc proc ${root}/proc`,
      `mount -t sysfs sysfs ${root}/sys`,
      `mount -t tmpfs tmpfs ${root}/run`,
      `mount --rbind /dev ${root}/dev`,
      `exec chroot ${root} env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root NODE_EXTRA_CA_CERTS=/etc/ca.crt sh -c 'cd ${PROJECT} && exec ${line}'`,
    ].join(" && ");
    const own = ["-u", "NODE_OPTIONS", "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script];
    const child = spawn("env", own, { stdio: ["ignore", "pipe", "pipe"], detached: true });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        this.output += chunk.toString();
      });
    }
    this.#main = child;
  }

  /** Waits for a line. @throws with the whole output when the command ends first, or after `limit` ms */
  async says(pattern: RegExp, limit: number): Promise<string> {
    await until(
      () => `the system says ${pattern}:\n${this.output}`,
      async () => {
        if (pattern.test(this.output)) return true;
        if (this.#main?.exitCode !== null) throw new Error(`the command ended:\n${this.output}`);
        return false;
      },
      limit,
    );
    return pattern.exec(this.output)?.[1] ?? "";
  }

  /** Ctrl-C, and the end of the command. @returns its exit code */
  async interrupt(): Promise<number | null> {
    const main = this.#main;
    if (main?.pid === undefined) return null;
    process.kill(-main.pid, "SIGINT");
    await until("the command ends", async () => main.exitCode !== null || main.signalCode !== null);
    return main.exitCode;
  }

  async destroy(): Promise<void> {
    if (this.#main?.pid !== undefined && this.#main.exitCode === null) process.kill(-this.#main.pid, "SIGKILL");
    this.#network?.kill("SIGKILL");
    await rm(this.#folder, { recursive: true, force: true });
  }
}
