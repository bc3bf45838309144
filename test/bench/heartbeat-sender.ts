/**
 * What many amphorae say, from a process of its own: started with `fork`, it sends real datagrams to a port of this
 * machine as it is told, and tells which of them said something new, and when.
 */
import { createSecretKey, type KeyObject } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { encodeHeartbeat, type Heartbeat } from "../../agent/protocol.ts";
import type { Order, Said } from "./heartbeats.bench.ts";

/** ms between two handfuls of datagrams */
const STEP = 5;

const socket = createSocket("udp4");
socket.bind(0, "127.0.0.1");
await once(socket, "listening");

let sequence = BigInt(Date.now()) * 1000n;
let requests = 0;
/** whose turn it is, over all orders */
let turn = 0;
const versions = new Map<number, number>();

let sealed: KeyObject | null = null;
function sealing(key: string): KeyObject {
  sealed ??= createSecretKey(key, "hex");
  return sealed;
}

function datagram({ ids, listeners, key }: Order, index: number): Buffer {
  requests++;
  const stats: Heartbeat["body"]["stats"] = (listeners[index] ?? []).map((id) => [
    id,
    requests % 100,
    requests,
    requests * 400,
    requests * 9000,
    requests % 7,
  ]);
  const body = { revision: 1, digest: `${index}-${versions.get(index) ?? 0}`, load: (requests % 400) / 100, stats };
  sequence += 1n;
  return encodeHeartbeat({ amphoraId: ids[index] ?? "", sequence, time: Date.now(), body }, sealing(key));
}

async function send(order: Order): Promise<Said> {
  const { ids, perSecond, seconds, newsPerSecond, port } = order;
  const started = performance.now();
  let sent = 0;
  let news = 0;
  while (performance.now() - started < seconds * 1000) {
    const elapsed = (performance.now() - started) / 1000;
    for (; sent < elapsed * perSecond; sent++) {
      const index = turn++ % ids.length;
      if (news < elapsed * newsPerSecond && index < order.tellable) {
        news++;
        versions.set(index, (versions.get(index) ?? 0) + 1);
        process.send?.({ index, at: Date.now() });
      }
      socket.send(datagram(order, index), port, "127.0.0.1");
      if (sent % 64 === 0 && performance.now() - started > seconds * 1000) break;
    }
    await new Promise((resolve) => setTimeout(resolve, STEP));
  }
  return { sent, seconds: (performance.now() - started) / 1000 };
}

/** As many as this process can send, all made beforehand. */
async function flood(order: Order): Promise<Said> {
  const made = Array.from({ length: order.perSecond }, () => datagram(order, turn++ % order.ids.length));
  const started = performance.now();
  let sent = 0;
  for (const each of made) {
    socket.send(each, order.port, "127.0.0.1");
    if (++sent % 32 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  return { sent, seconds: (performance.now() - started) / 1000 };
}

process.on("message", (order: Order) => {
  void (order.flood ? flood(order) : send(order)).then((said) => process.send?.(said));
});
process.on("disconnect", () => process.exit(0));
process.send?.("ready");
