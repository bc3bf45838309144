/** No network at all: every network, subnet, port and QoS policy is taken for one that there is, and addresses are made up. */
import { randomInt, randomUUID } from "node:crypto";
import { type NetworkDriver, NetworkRequestError, type Port, type VipRequest } from "../network.ts";

export class NoopNetwork implements NetworkDriver {
  async reserveVip(_trx: unknown, _loadBalancerId: string, request: VipRequest): Promise<Port> {
    const { vip_address, vip_port_id, vip_subnet_id, vip_network_id } = request;
    if (vip_port_id === "" && vip_subnet_id === "" && vip_network_id === "") {
      throw new NetworkRequestError(400, "VIP must contain one of: vip_port_id, vip_network_id, vip_subnet_id.");
    }
    return madeUp(
      vip_port_id || randomUUID(),
      vip_network_id || randomUUID(),
      vip_subnet_id || randomUUID(),
      vip_address,
    );
  }

  async reserveAmphoraPort(_trx: unknown, _amphoraId: string, subnetId: string): Promise<Port> {
    return madeUp(randomUUID(), randomUUID(), subnetId, "");
  }

  async amphoraPorts(): Promise<Port[]> {
    return [];
  }

  async reserveSharedPort(_trx: unknown, _loadBalancerId: string, subnetId: string): Promise<Port> {
    return madeUp(randomUUID(), randomUUID(), subnetId, "");
  }

  async sharedPorts(): Promise<Port[]> {
    return [];
  }

  async releasePort(): Promise<void> {}

  async hasSubnet(): Promise<boolean> {
    return true;
  }

  async hasQosPolicy(): Promise<boolean> {
    return true;
  }

  async release(): Promise<void> {}
}

/** @param address empty: one of those for benchmarks, which no network routes (RFC 2544, 198.18.0.0/15) */
function madeUp(id: string, networkId: string, subnetId: string, address: string): Port {
  const any = `198.${18 + randomInt(2)}.${randomInt(256)}.${randomInt(1, 255)}`;
  const chosen = address || any;
  const [length, gateway] = chosen.includes(":") ? [64, "2001:db8::1"] : [15, "198.18.0.1"];
  return {
    id,
    network_id: networkId,
    subnet_id: subnetId,
    address: chosen,
    prefix_length: length,
    gateway,
    mac: "fa:00:00:00:00:00",
    mtu: 1500,
  };
}
