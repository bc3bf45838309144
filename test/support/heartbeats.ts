/** A controller's heartbeat socket in a test. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import type { Test } from "tap";
import { type Heartbeat, openHeartbeat } from "../../agent/protocol.ts";
import { eventually, type TestAgent } from "./agent.ts";

export class HeartbeatSocket {
  readonly datagrams: Buffer[] = [];

  /** Listens on a port of 127.0.0.1 until the test ends. */
  static async open(t: Test, port: number): Promise<HeartbeatSocket> {
    const opened = new HeartbeatSocket();
    const socket = createSocket("udp4");
    socket.on("message", (datagram) => opened.datagrams.push(datagram));
    socket.bind(port, "127.0.0.1");
    await once(socket, "listening");
    t.teardown(() => socket.close());
    return opened;
  }

  /** Everything received up to now, opened with the agent's key. @throws when one can't be opened */
  heartbeats(agent: TestAgent): Heartbeat[] {
    return this.datagrams.map((datagram) => {
      const heartbeat = openHeartbeat(datagram, agent.heartbeatKey);
      if (heartbeat === null)
        throw new Error(`a datagram that is no heartbeat of this agent: ${datagram.toString("hex")}`);
      return heartbeat;
    });
  }

  /** Waits for the next heartbeat that is such. */
  next(agent: TestAgent, isSuch: (heartbeat: Heartbeat) => boolean = () => true, limit?: number): Promise<Heartbeat> {
    const seen = this.datagrams.length;
    return eventually("such a heartbeat", async () => this.heartbeats(agent).slice(seen).find(isSuch), limit);
  }
}
