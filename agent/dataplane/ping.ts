/** ICMP echo from the tenant's namespace: many addresses of both families with one process, fping(8). */
import { execa } from "execa";

/** Pinging could not be done; nothing is known of any address. */
export class PingError extends Error {
  override readonly name = "PingError";
}

/**
 * Sends each address one echo request.
 * @param timeout ms until an answer is too late
 * @returns those that answered
 * @throws {PingError} among others when it is called off
 */
export async function ping(
  namespace: string,
  addresses: readonly string[],
  timeout: number,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  // one request each, a millisecond apart, no second try; results on standard error
  const options = ["-C", "1", "-r", "0", "-i", "1", "-q", "-t", String(timeout), "-f", "-"];
  const result = await execa("nsenter", [`--net=/run/netns/${namespace}`, "--", "fping", ...options], {
    input: `${addresses.join("\n")}\n`,
    reject: false,
    timeout: timeout + addresses.length * 2 + 5000,
    cancelSignal: signal,
  });
  // 1: some did not answer; 2: some could not be sent to, which is no answer either
  if (result.exitCode === undefined || result.exitCode > 2) {
    throw new PingError(result.stderr.trim() || result.shortMessage || "fping failed");
  }
  return answered(result.stderr);
}

/** The addresses in fping's summary (`192.0.2.1 : 0.42`, or `192.0.2.1 : -`) that have a time. */
export function answered(summary: string): ReadonlySet<string> {
  const found = summary.split("\n").flatMap((line) => /^(\S+)\s+:\s+[\d.]+$/.exec(line)?.[1] ?? []);
  return new Set(found);
}
