/** Tests, benchmarks and chaos run in an enclosure: nothing that they do is seen outside, and nothing of it outlives them. */
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** For what needs the world outside, such as a mirror of packages: its network namespace gets a name here. */
const KEEP_OUTSIDE = 'mount --bind /proc/self/ns/net "$0" && exec "$@"';
/** Names of namespaces are mounts, and belong to this one. */
const FURNISH = `
  mkdir -p /run/netns && mount -t tmpfs netns /run/netns && mount -t sysfs sysfs /sys && ip link set lo up || exit 1
  "$@"
  code=$?
  for each in /run/netns/*; do [ ! -e "$each" ] || echo "left behind: \${each##*/}" >&2; done
  exit $code`;

/**
 * Starts a command with a network (loopback alone), mounts and processes of its own. What it leaves behind is told, and
 * ends with it. In its environment, AMPHORA_TEST_OUTSIDE is the network namespace outside.
 */
export function startEnclosed(command: readonly string[], options: SpawnOptions): ChildProcess {
  const folder = mkdtempSync(join(tmpdir(), "amphora-outside-"));
  const outside = join(folder, "net");
  writeFileSync(outside, "");
  const inner = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", FURNISH, "sh"];
  const outer = ["--mount", "--propagation=private", "sh", "-c", KEEP_OUTSIDE, outside];
  const env = { ...(options.env ?? process.env), AMPHORA_TEST_OUTSIDE: outside };
  const child = spawn("unshare", [...outer, ...inner, ...command], { ...options, env });
  child.on("close", () => rmSync(folder, { recursive: true }));
  return child;
}

/** Runs a Node program in an enclosure, with this process's terminal. @returns its exit code */
export async function runEnclosed(program: string): Promise<number> {
  const child = startEnclosed([process.execPath, program], { stdio: "inherit" });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  });
}
