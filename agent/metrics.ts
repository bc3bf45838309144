/** What `GET /metrics` shows, in the Prometheus text format. */
import { collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { HealthReport, StatsReport } from "./protocol.ts";

const DAY = 24 * 3600 * 1000;

const COUNTERS = [
  ["active_connections", "Connections that are open now"],
  ["total_connections", "Connections since the amphora was made"],
  ["bytes_in", "Bytes from clients"],
  ["bytes_out", "Bytes to clients"],
  ["request_errors", "Requests that could not be understood or were aborted"],
] as const;

/** @param read what the data plane last said @param expires when the agent's certificate does */
export function metricsRegistry(
  read: () => { health: HealthReport; stats: StatsReport },
  expires: () => Date,
): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: "amphora_agent_" });
  const gauge = (name: string, help: string, labelNames: string[], collect: (gauge: Gauge) => void) =>
    new Gauge({
      name: `amphora_${name}`,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset();
        collect(this);
      },
    });

  gauge("spec_revision", "Revision of the spec that runs", [], (it) => it.set(read().health.revision));
  gauge("agent_certificate_days_left", "Days until the agent's certificate expires", [], (it) =>
    it.set((expires().getTime() - Date.now()) / DAY),
  );
  gauge("listener_up", "1 when the listener takes connections", ["listener"], (it) => {
    for (const [listener, state] of Object.entries(read().health.listeners)) {
      it.set({ listener }, state === "DOWN" ? 0 : 1);
    }
  });
  gauge("member_up", "1 when the member gets traffic", ["pool", "member"], (it) => {
    for (const [pool, members] of Object.entries(read().health.pools)) {
      for (const [member, state] of Object.entries(members)) {
        it.set({ pool, member }, state === "UP" || state === "NO_CHECK" ? 1 : 0);
      }
    }
  });
  for (const [field, help] of COUNTERS) {
    gauge(`listener_${field}`, help, ["listener"], (it) => {
      for (const [listener, counters] of Object.entries(read().stats.listeners)) it.set({ listener }, counters[field]);
    });
  }
  return registry;
}
