/** What an amphora under check meets: a controller of its own, with an authority; members; and clients. */
import { randomBytes, randomInt, randomUUID } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { BootstrapDocument } from "../../agent/bootstrap/document.ts";
import { type AgentInfo, type ApplyAnswer, openHeartbeat } from "../../agent/protocol.ts";
import { Authority } from "../../controller/amphorae/authority.ts";
import { AgentClient, UnreachableError } from "../../controller/amphorae/client.ts";
import { BuildError } from "../build-error.ts";
import { FORWARDED, MANAGEMENT, type Protocol } from "./guest.ts";
import { type Group, specOf } from "./spec.ts";

/** As Nova says it: one address by DHCP, one fixed. */
const MANAGEMENT_NETWORK = {
  links: [{ id: "tap0", type: "ovs", ethernet_mac_address: MANAGEMENT.mac, mtu: 1500, vif_id: "tap0" }],
  networks: [
    { id: "network0", link: "tap0", type: "ipv4_dhcp", network_id: "management" },
    {
      id: "network1",
      link: "tap0",
      type: "ipv6",
      ip_address: "fec0::20",
      netmask: "ffff:ffff:ffff:ffff::",
      routes: [],
    },
  ],
  services: [],
};
const ANSWER = "member\n";

export class World {
  /** a loopback address of this check alone, so that two may run at once */
  readonly address = `127.${randomInt(1, 255)}.${randomInt(0, 256)}.${randomInt(1, 255)}`;
  readonly #amphoraId = randomUUID();
  readonly #heartbeatKey = randomBytes(32);
  readonly #authority: Authority;
  readonly #client: AgentClient;
  readonly #member: Server;
  readonly #udpMember: Socket;
  readonly #heartbeats: Socket;

  private constructor(authority: Authority, client: AgentClient) {
    this.#authority = authority;
    this.#client = client;
    this.#member = createServer((_, response) => response.end(ANSWER));
    this.#udpMember = createSocket("udp4", (_, { port, address }) => this.#udpMember.send(ANSWER, port, address));
    this.#heartbeats = createSocket("udp4");
  }

  static async make(): Promise<World> {
    const authority = await Authority.make();
    const world = new World(authority, new AgentClient((await authority.issueController()).bundle));
    await once(world.#member.listen(0, "127.0.0.1"), "listening");
    for (const socket of [world.#udpMember, world.#heartbeats]) {
      socket.bind(0, "127.0.0.1");
      await once(socket, "listening");
    }
    return world;
  }

  close(): void {
    this.#client.close();
    this.#member.close();
    this.#member.closeAllConnections();
    this.#udpMember.close();
    this.#heartbeats.close();
  }

  /** Writes what Nova would put on the amphora's config drive. */
  async writeConfigDrive(folder: string): Promise<void> {
    const document: BootstrapDocument = {
      amphora_id: this.#amphoraId,
      controllers: [{ address: MANAGEMENT.host, port: this.#heartbeats.address().port }],
      heartbeat_interval_ms: 1000,
      heartbeat_key: this.#heartbeatKey.toString("base64"),
      time_servers: [],
      identity: (await this.#authority.issueAmphora(this.#amphoraId, 1)).bundle,
    };
    const latest = join(folder, "openstack/latest");
    await mkdir(latest, { recursive: true });
    await writeFile(join(latest, "user_data"), JSON.stringify(document));
    await writeFile(join(latest, "network_data.json"), JSON.stringify(MANAGEMENT_NETWORK));
  }

  /** What the agent says of itself. @throws {UnreachableError} after `limit` ms */
  info(limit: number): Promise<AgentInfo> {
    return this.#client.info(this.#amphora, limit);
  }

  /** Waits for a heartbeat that carries the amphora's seal. @throws after `limit` ms */
  async heartbeat(limit: number): Promise<void> {
    const signal = AbortSignal.timeout(limit);
    for (;;) {
      const [datagram] = (await once(this.#heartbeats, "message", { signal })) as [Buffer];
      if (openHeartbeat(datagram, this.#heartbeatKey)?.amphoraId === this.#amphoraId) return;
    }
  }

  /** Whether a controller of another authority is answered. */
  async answersStrangers(limit: number): Promise<boolean> {
    const other = await Authority.make();
    const { certificate, key } = (await other.issueController()).bundle;
    const stranger = new AgentClient({ certificate, key, ca: this.#authority.certificate });
    try {
      await stranger.info(this.#amphora, limit);
      return true;
    } catch (error) {
      if (error instanceof UnreachableError) return false;
      throw error;
    } finally {
      stranger.close();
    }
  }

  /** Sends a spec with a listener of each data plane. @param group what the amphora is part of */
  putSpec(revision: number, group: Group, limit: number): Promise<ApplyAnswer> {
    const { port } = this.#member.address() as AddressInfo;
    const udpPort = this.#udpMember.address().port;
    return this.#client.putSpec(this.#amphora, specOf(this.#amphoraId, revision, group, { port, udpPort }), limit);
  }

  /** One request of a client to the VIP. @throws when it is not the member that answers */
  async request(protocol: Protocol, limit: number): Promise<void> {
    const text = await (protocol === "UDP" ? this.#askUdp(limit) : this.#askHttp(FORWARDED[protocol], limit));
    if (text !== ANSWER) throw new BuildError(`${protocol}: ${text}`);
  }

  async #askHttp(port: number, limit: number): Promise<string> {
    const answer = await fetch(`http://${this.address}:${port}/`, { signal: AbortSignal.timeout(limit) });
    const text = await answer.text();
    return answer.status === 200 ? text : `status ${answer.status}: ${text}`;
  }

  async #askUdp(limit: number): Promise<string> {
    const socket = createSocket("udp4");
    try {
      socket.send("client", FORWARDED.UDP, this.address);
      const [answer] = (await once(socket, "message", { signal: AbortSignal.timeout(limit) })) as [Buffer];
      return answer.toString();
    } finally {
      socket.close();
    }
  }

  get #amphora() {
    return { amphoraId: this.#amphoraId, address: this.address };
  }
}
