/**
 * Several amphorae on one subnet without their agents: network, rules, IPVS and keepalived, applied as agents do. An
 * emulated machine has no time for as many agents and HAProxies; what those do together is tested outside of machines.
 */
import { randomUUID } from "node:crypto";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { Checkers } from "../../../../agent/dataplane/checkers.ts";
import { runInside } from "../../../../agent/dataplane/inside.ts";
import { hasIpvs } from "../../../../agent/dataplane/ipvs.ts";
import { applyIpvsSettings, ipvsSettings } from "../../../../agent/dataplane/ipvs-kernel.ts";
import { applyNetwork } from "../../../../agent/dataplane/namespace.ts";
import { applyRules } from "../../../../agent/dataplane/nftables.ts";
import { applyReplicaRoutes, applySpreading, setServing } from "../../../../agent/dataplane/replicas.ts";
import { Vrrp } from "../../../../agent/dataplane/vrrp.ts";
import { writeFiles } from "../../../../agent/files.ts";
import { layoutIn } from "../../../../templates/layout.ts";
import {
  CHECKERS_CONF,
  NFTABLES_RULES,
  REPLICAS_RULES,
  render,
  targetOf,
  VRRP_CONF,
} from "../../../../templates/render.ts";
import { type AmphoraSpecInput, parseSpec } from "../../../../templates/spec.ts";
import { eventually } from "../../../support/agent.ts";
import { BRIDGE, groupSpec, type Placing, plugGroup, slot, VIP, VIP6 } from "../../../support/group.ts";
import { dropNamespace } from "../../../support/namespaces.ts";
import type { Scope } from "../../../support/scope.ts";
import { loadNftables } from "../../../support/vm/rules.ts";

const KEEPALIVED = "/usr/sbin/keepalived";
/** On a busy host (ms). */
const SLOW = 120_000;

class DataPlane {
  readonly id = randomUUID();
  readonly namespace = `amphora-test-${this.id.slice(0, 8)}`;
  readonly #layout;
  readonly #checkers: Checkers;
  readonly #vrrp: Vrrp;
  #rules = "";

  private constructor(folder: string) {
    this.#layout = layoutIn(join(folder, "etc"), folder);
    const options = { binary: KEEPALIVED, namespace: this.namespace, runDir: folder };
    const scriptUser = this.#layout.keepalived.scriptUser;
    this.#checkers = new Checkers({ ...options, configFile: targetOf(CHECKERS_CONF, this.#layout), scriptUser });
    this.#vrrp = new Vrrp({ ...options, configFile: targetOf(VRRP_CONF, this.#layout) });
  }

  static async make(t: Scope): Promise<DataPlane> {
    const folder = await mkdtemp("/run/amphora-test-");
    await chmod(folder, 0o711);
    const one = new DataPlane(folder);
    t.teardown(async () => {
      await dropNamespace(one.namespace);
      await rm(folder, { recursive: true, force: true });
    });
    return one;
  }

  async apply(input: AmphoraSpecInput): Promise<void> {
    const spec = parseSpec(input);
    const files = render(spec, this.#layout);
    const text = (path: string) => files.get(path)?.content ?? "";
    await writeFiles(files, this.#layout);
    await applyNetwork(this.namespace, spec);
    await applyReplicaRoutes(this.namespace, spec);
    await applySpreading(this.namespace, text(REPLICAS_RULES));
    await applyIpvsSettings(this.namespace, ipvsSettings(spec));
    await applyRules(this.namespace, this.#rules, text(NFTABLES_RULES));
    this.#rules = text(NFTABLES_RULES);
    if ((await this.#checkers.pid()) === null) await this.#checkers.start();
    else await this.#checkers.reload();
    await this.#vrrp.restrain(null);
    if ((await this.#vrrp.pid()) === null) await this.#vrrp.start();
    else await this.#vrrp.reload();
  }

  state() {
    return this.#vrrp.state();
  }

  async hasVip(): Promise<boolean> {
    return (await runInside(this.namespace, ["ip", "-o", "address", "show", "dev", "eth1"])).includes(` ${VIP}/32 `);
  }

  /** How many connections its kernel forwards, or could go on with. */
  async connections(): Promise<number> {
    const text = await runInside(this.namespace, ["ipvsadm", "-Lnc"]);
    return text.split("\n").filter((line) => /^(TCP|UDP) /.test(line)).length;
  }
}

export class DataPlanes {
  readonly all: readonly DataPlane[];

  private constructor(all: readonly DataPlane[]) {
    this.all = all;
  }

  static async make(t: Scope, count: number): Promise<DataPlanes> {
    await loadNftables();
    await hasIpvs();
    await plugGroup(t, count, true);
    const all: DataPlane[] = [];
    for (let i = 0; i < count; i++) all.push(await DataPlane.make(t));
    return new DataPlanes(all);
  }

  /** The first ones alone. */
  first(count: number): DataPlanes {
    return new DataPlanes(this.all.slice(0, count));
  }

  async apply(revision: number, placing: Placing, changes: Partial<AmphoraSpecInput>): Promise<void> {
    const ids = this.all.map(({ id }) => id);
    for (const [i, each] of this.all.entries()) {
      await each.apply(groupSpec(ids, i, revision, { second: true, ...placing }, changes));
    }
  }

  /** Has all of them spread flows over these, as agents do that have found out who serves. */
  async serving(indexes: readonly number[]): Promise<void> {
    for (const { namespace } of this.all) await setServing(namespace, indexes.map(slot));
  }

  /** What they and their neighbours believe about the VIPs, for who has to find out why nothing answers. */
  async describe(): Promise<string> {
    const states = this.all.map(async (each, i) => `${i}: ${await each.state()}, VIP ${await each.hasVip()}`);
    const { stdout } = await execa("ip", ["neigh", "show", "dev", BRIDGE]);
    const neighbours = stdout.split("\n").filter((line) => [VIP, VIP6].some((vip) => line.startsWith(`${vip} `)));
    return [...(await Promise.all(states)), ...neighbours].join("; ");
  }

  /** Waits until one of them alone holds the VIPs, and is not the one that did before. @returns its index */
  async master(before: number | null = null): Promise<number> {
    return eventually(
      "another one holds the VIPs",
      async () => {
        for (const [index, each] of this.all.entries()) {
          if (index !== before && (await each.state()) === "MASTER" && (await each.hasVip())) return { index };
        }
        return null;
      },
      SLOW,
    ).then(({ index }) => index);
  }
}
