/** Where an amphora stands, in tests of what it is told. */
import { randomUUID } from "node:crypto";
import type { Standing } from "../../controller/amphorae/spec.ts";
import { NO_TLS } from "../../controller/certificates/tls.ts";
import type { Port } from "../../controller/drivers/network.ts";
import type { Amphora } from "../../controller/model/amphora.ts";

export const PORT: Port = {
  id: randomUUID(),
  network_id: randomUUID(),
  subnet_id: randomUUID(),
  address: "10.77.0.7",
  prefix_length: 24,
  gateway: "10.77.0.1",
  mac: "fa:00:00:00:00:01",
  mtu: 1400,
};

/** An amphora that serves by itself, without TLS, unless said otherwise. */
export function alone(amphora: Amphora, { port = PORT, tls = NO_TLS } = {}): Standing {
  return {
    amphora,
    ports: [port],
    group: [{ amphora, port }],
    shared: [],
    standby: false,
    topology: "SINGLE",
    tls,
    advertIntervalMs: 200,
    forwarding: "DIRECT",
  };
}
