/**
 * PING monitors. HAProxy can ping nobody without running programs from its workers, so the agent pings, and tells HAProxy
 * which members are down. What it has told stays in force while there is no agent: the next one takes it from HAProxy,
 * and goes on from there. (HAProxy's agent-check would ask the agent instead; it would need a listener within the
 * tenant's namespace, and would know no more while there is no agent.)
 */
import type { Logger } from "pino";
import { activeMonitor } from "../templates/haproxy/check.ts";
import { backendsOf } from "../templates/haproxy.ts";
import type { AmphoraSpec, HealthMonitorSpec, MemberSpec } from "../templates/spec.ts";
import type { Command } from "./dataplane/haproxy-socket.ts";
import type { StatRow } from "./dataplane/haproxy-stats.ts";
import { PingError } from "./dataplane/ping.ts";

/** An answer that comes later is none, whatever the monitor's timeout says (ms). */
const LONGEST_WAIT = 60_000;

export interface PingerOptions {
  /** pings addresses, waits so many ms for answers, and returns those that came: see `ping` */
  readonly ping: (addresses: readonly string[], timeout: number, signal: AbortSignal) => Promise<ReadonlySet<string>>;
  /** called when a member turned up or down */
  readonly onChange: () => void;
  readonly log: Logger;
}

interface Verdict {
  up: boolean;
  /** results in a row that speak against the verdict */
  against: number;
  /** when the next ping is due (ms, performance.now()) */
  due: number;
  /** whether an answer is waited for: a monitor may wait for longer than it pauses */
  underWay: boolean;
}

interface Target {
  readonly member: MemberSpec;
  readonly monitor: HealthMonitorSpec;
  readonly address: string;
}

export class Pinger {
  readonly #options: PingerOptions;
  /** member id -> what is known of it */
  #verdicts = new Map<string, Verdict>();
  readonly #underWay = new Set<Promise<void>>();
  readonly #stopping = new AbortController();

  constructor(options: PingerOptions) {
    this.#options = options;
  }

  /** Whether any member is to be pinged. */
  static isNeeded(spec: AmphoraSpec): boolean {
    return spec.pools.some((pool) => activeMonitor(pool)?.type === "PING");
  }

  /**
   * Sends the pings that are due; their results come later, and are told by `onChange`.
   * @param rows what HAProxy says now: a member that is new to the pinger is what HAProxy says it is
   */
  beat(spec: AmphoraSpec, rows: readonly StatRow[], now = performance.now()): void {
    const targets = targetsOf(spec);
    const down = new Set(rows.filter(({ status }) => status.startsWith("DOWN")).map(({ server }) => server));
    this.#verdicts = new Map(
      targets.map(({ member }) => {
        const known = this.#verdicts.get(member.id);
        return [member.id, known ?? { up: !down.has(member.id), against: 0, due: now, underWay: false }];
      }),
    );
    const due = targets.filter(({ member, monitor }) => {
      const verdict = this.#verdicts.get(member.id);
      if (verdict === undefined || verdict.underWay || verdict.due > now) return false;
      Object.assign(verdict, { due: now + monitor.delay * 1000, underWay: true });
      return true;
    });
    for (const [timeout, group] of Map.groupBy(due, ({ monitor }) => Math.min(monitor.timeout * 1000, LONGEST_WAIT))) {
      const work = this.#ping(group, timeout).finally(() => this.#underWay.delete(work));
      this.#underWay.add(work);
    }
  }

  /** What must be told to HAProxy for it to know what the pinger knows. */
  corrections(spec: AmphoraSpec, rows: readonly StatRow[]): Command[] {
    const pinged = new Map(targetsOf(spec).map(({ member }) => [member.id, this.#verdicts.get(member.id)]));
    const backends = backendsOf(spec);
    return rows.flatMap(({ proxy, server, status }) => {
      const verdict = pinged.get(server);
      if (verdict === undefined || !backends.has(proxy) || verdict.up !== status.startsWith("DOWN")) return [];
      return { line: `set server ${proxy}/${server} health ${verdict.up ? "up" : "down"}`, answer: null };
    });
  }

  /** Waits for pings under way. */
  async idle(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  /** Gives up pings under way. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.idle();
  }

  async #ping(targets: readonly Target[], timeout: number): Promise<void> {
    const { ping, onChange, log } = this.#options;
    try {
      const answered = await ping([...new Set(targets.map(({ address }) => address))], timeout, this.#stopping.signal);
      const changed = targets.filter((target) => this.#judge(target, answered.has(target.address)));
      if (changed.length > 0) onChange();
    } catch (error) {
      if (!(error instanceof PingError)) throw error;
      if (this.#stopping.signal.aborted) return;
      log.error({ err: error }, "pinging members failed: they stay as they are");
    } finally {
      for (const { member } of targets) {
        const verdict = this.#verdicts.get(member.id);
        if (verdict !== undefined) verdict.underWay = false;
      }
    }
  }

  /** Whether the verdict has changed. */
  #judge({ member, monitor }: Target, answered: boolean): boolean {
    const verdict = this.#verdicts.get(member.id);
    if (verdict === undefined) return false;
    verdict.against = answered === verdict.up ? 0 : verdict.against + 1;
    if (verdict.against < (verdict.up ? monitor.max_retries_down : monitor.max_retries)) return false;
    verdict.up = answered;
    verdict.against = 0;
    return true;
  }
}

/** Members that are enabled, of pools that a listener uses. */
function targetsOf(spec: AmphoraSpec): Target[] {
  const pools = new Set([...backendsOf(spec).values()].map(({ pool }) => pool));
  return [...pools].flatMap((pool) => {
    const monitor = activeMonitor(pool);
    if (monitor?.type !== "PING") return [];
    return pool.members
      .filter(({ admin_state_up }) => admin_state_up)
      .map((member) => ({ member, monitor, address: member.monitor_address ?? member.address }));
  });
}
