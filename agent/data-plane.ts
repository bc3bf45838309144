/** Everything of the data plane, put together: its daemons, what applies a spec to them, and what watches them. */
import { release } from "node:os";
import { join } from "node:path";
import type { Logger } from "pino";
import { memberFifo } from "../templates/keepalived.ts";
import { layoutIn } from "../templates/layout.ts";
import { CHECKERS_CONF, HAPROXY_CFG, VRRP_CONF } from "../templates/render.ts";
import { Applier } from "./apply.ts";
import { ConnectionDesk } from "./connections/desk.ts";
import { Checkers } from "./dataplane/checkers.ts";
import { Haproxy } from "./dataplane/haproxy.ts";
import { HaproxyDaemon } from "./dataplane/haproxy-daemon.ts";
import { hasIpvs, Ipvs } from "./dataplane/ipvs.ts";
import { IpvsDaemon } from "./dataplane/ipvs-daemon.ts";
import { Lifeline } from "./dataplane/lifeline.ts";
import { MemberEvents } from "./dataplane/member-events.ts";
import { ping } from "./dataplane/ping.ts";
import { ReplicasDaemon } from "./dataplane/replicas-daemon.ts";
import { Vrrp } from "./dataplane/vrrp.ts";
import { VrrpDaemon } from "./dataplane/vrrp-daemon.ts";
import { GroupWatch } from "./group-watch.ts";
import { IpvsWatch } from "./ipvs-watch.ts";
import { Pinger } from "./pinger.ts";
import type { AgentInfo } from "./protocol.ts";
import type { AgentSettings } from "./settings.ts";
import { SpecFile } from "./spec-file.ts";
import { Spreading } from "./spreading.ts";
import { Watch } from "./watch.ts";

/** ms between two looks at the data plane */
const LOOK_INTERVAL = 1000;

export interface DataPlaneOptions {
  readonly settings: AgentSettings;
  readonly heartbeatKey: Buffer;
  /** called when the health report says something else than before */
  readonly onChange: () => void;
  readonly log: Logger;
}

export class DataPlane {
  readonly applier: Applier;
  readonly watch: Watch;
  readonly connections: ConnectionDesk;
  readonly #haproxy: Haproxy;
  readonly #checkers: Checkers;
  readonly #memberEvents: MemberEvents;
  readonly #vrrpDaemon: VrrpDaemon;
  readonly #group: GroupWatch;
  readonly #lifeline: Lifeline;

  constructor({ settings, heartbeatKey, onChange, log }: DataPlaneOptions) {
    const { namespace, run_dir: runDir, config_dir: configDir } = settings;
    const layout = layoutIn(configDir, runDir, { hardStopAfter: settings.hard_stop_after_s });
    const keepalived = { binary: settings.keepalived, namespace, runDir };
    const haproxy = new Haproxy({
      binary: settings.haproxy,
      namespace,
      configFile: join(configDir, HAPROXY_CFG),
      runDir,
    });
    const { scriptUser } = layout.keepalived;
    const checkers = new Checkers({ ...keepalived, configFile: join(configDir, CHECKERS_CONF), scriptUser });
    const vrrp = new Vrrp({ ...keepalived, configFile: join(configDir, VRRP_CONF) });
    const ipvs = new Ipvs(namespace);
    const events = new MemberEvents(memberFifo(layout), () => void this.watch.look());
    const spreading = new Spreading({ namespace, haproxy, log });
    const count = () => this.watch.count();
    const ipvsDaemon = new IpvsDaemon({ namespace, keepalived: checkers, ipvs, events, beforeChange: count, log });
    const catchUpLimit = settings.catch_up_limit_ms;
    this.#vrrpDaemon = new VrrpDaemon({ namespace, vrrp, catchUpLimit, log });
    this.applier = new Applier({
      amphoraId: settings.amphora_id,
      namespace,
      layout,
      specFile: new SpecFile(join(settings.state_dir, "spec.json"), heartbeatKey),
      // VRRP last: the VIPs come to what serves
      daemons: [
        new HaproxyDaemon({ haproxy, layout, beforeReload: count, log }),
        ipvsDaemon,
        new ReplicasDaemon({ namespace, spreading }),
        this.#vrrpDaemon,
      ],
      log,
    });
    this.connections = new ConnectionDesk({
      namespace,
      haproxySocket: haproxy.masterSocket,
      spec: () => this.applier.running,
      log,
    });
    this.#group = new GroupWatch({ vrrp, spreading, spec: () => this.applier.running, log });
    this.watch = new Watch({
      applier: this.applier,
      haproxy,
      pinger: new Pinger({
        ping: (addresses, timeout, signal) => ping(namespace, addresses, timeout, signal),
        onChange: () => void this.watch.look(),
        log,
      }),
      ipvs: new IpvsWatch({
        ipvs,
        tend: async (spec, table) => {
          this.connections.follow();
          await ipvsDaemon.tend(spec, table);
        },
        ledgerFile: join(runDir, "ipvs-counters.json"),
        log,
      }),
      group: this.#group,
      ledgerFile: join(runDir, "counters.json"),
      interval: LOOK_INTERVAL,
      onChange,
      log,
    });
    this.#haproxy = haproxy;
    this.#checkers = checkers;
    this.#memberEvents = events;
    this.#lifeline = new Lifeline(haproxy.masterSocket, () => void this.watch.look());
  }

  /** Begins to watch; nothing is started by that. */
  async start(): Promise<void> {
    await this.watch.start();
    this.#group.start();
    this.#lifeline.start();
  }

  /** Ends the watch. What serves goes on. */
  async stop(): Promise<void> {
    this.#lifeline.stop();
    this.#group.stop();
    this.#vrrpDaemon.stop();
    this.#memberEvents.close();
    await Promise.all([this.watch.stop(), this.connections.stop()]);
  }

  /** What is installed, and what can be done with it. */
  async abilities(): Promise<Pick<AgentInfo, "versions" | "capabilities">> {
    const [haproxy, keepalived, ipVs] = await Promise.all([
      this.#haproxy.version(),
      this.#checkers.version(),
      hasIpvs(),
    ]);
    return {
      versions: { haproxy, ...(keepalived === null ? {} : { keepalived }), kernel: release() },
      capabilities: { ip_vs: ipVs && keepalived !== null, vrrp: keepalived !== null },
    };
  }
}
