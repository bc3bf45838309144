/** What the health watch is told in tests, unless a test is about it. */
import type { HealthOptions } from "../../controller/health/health.ts";

export function healthLimits(heartbeatIntervalMs: number) {
  return {
    heartbeatIntervalMs,
    silence: 4 * heartbeatIntervalMs,
    holdCount: 5,
    holdShare: 0.3,
    failoverConcurrency: 4,
    arrivals: async () => ({ read: 0, lost: 0 }),
  } satisfies Partial<HealthOptions>;
}
