/**
 * The agent's part that shows connections, alone in a process: its kernel has no IPVS, but entries that look as if it had.
 * It says how much memory it has taken at most, and how long its event loop stood still, when it is asked over IPC. On a
 * machine that does other things, too, a loop stands still because others run: what it has worked for in one go is told apart.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { pino } from "pino";
import { ConnectionDesk } from "../../agent/connections/desk.ts";
import type { CertificateBundle } from "../../agent/protocol.ts";
import { AgentServer, Lines } from "../../agent/server.ts";
import { type AmphoraSpecInput, parseSpec } from "../../templates/spec.ts";

/** Memory is looked at so often (ms). */
const SAMPLING = 5;

export interface Start {
  readonly spec: AmphoraSpecInput;
  readonly namespace: string;
  readonly identity: CertificateBundle;
  readonly address: string;
  readonly port: number;
}

export interface Figures {
  /** bytes */
  readonly before: number;
  readonly most: number;
  /** ms from one turn of the event loop to the next at most: all in all, and of work of this thread */
  readonly stall: number;
  readonly work: number;
  /** CPU ms of this process */
  readonly cpu: number;
}

const delay = monitorEventLoopDelay({ resolution: 1 });
let before = 0;
let most = 0;
let cpu = process.cpuUsage();
let work = 0;
let last = threadCpu();
setInterval(() => {
  const now = threadCpu();
  work = Math.max(work, now - last);
  last = now;
}, 1).unref();
setInterval(() => {
  most = Math.max(most, process.memoryUsage.rss());
}, SAMPLING).unref();

process.on("message", async (message: Start | "begin" | "end") => {
  if (message === "begin") {
    before = process.memoryUsage.rss();
    most = before;
    cpu = process.cpuUsage();
    work = 0;
    delay.reset();
    delay.enable();
    process.send?.("begun");
  } else if (message === "end") {
    delay.disable();
    const { user, system } = process.cpuUsage(cpu);
    const figures: Figures = { before, most, stall: delay.max / 1e6, work, cpu: (user + system) / 1000 };
    process.send?.(figures);
  } else {
    const { spec, namespace, identity, address, port } = message;
    const parsed = parseSpec(spec);
    const log = pino({ level: "warn" });
    const desk = new ConnectionDesk({ namespace, haproxySocket: "/none", spec: () => parsed, log });
    const routes = { "GET /v1/connections": async (_: unknown, query: URLSearchParams) => new Lines(desk.ask(query)) };
    await new AgentServer(identity, routes, log).listen(address, port);
    process.send?.("listening");
  }
});
process.on("disconnect", () => process.exit(0));

/** CPU ms of the thread that the event loop is in. */
function threadCpu(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
