/** What the controller needs of a network service. */
import type { Trx } from "../store/database.ts";

/** An address on a subnet, held by a load balancer or an amphora. */
export interface Port {
  readonly id: string;
  readonly network_id: string;
  readonly subnet_id: string;
  readonly address: string;
  readonly prefix_length: number;
  readonly gateway: string;
  readonly mac: string;
  readonly mtu: number;
}

/** Where a client wants the VIP; what is empty is chosen by the driver. */
export interface VipRequest {
  readonly vip_address: string;
  readonly vip_port_id: string;
  readonly vip_subnet_id: string;
  readonly vip_network_id: string;
}

/** The network can't do what was asked. `status` is the HTTP status the client gets. */
export class NetworkRequestError extends Error {
  override readonly name = "NetworkRequestError";
  readonly status: 400 | 409 | 501;

  constructor(status: 400 | 409 | 501, message: string) {
    super(message);
    this.status = status;
  }
}

export interface NetworkDriver {
  /** @throws {NetworkRequestError} 400 where no such VIP can be, 409 when it is taken */
  reserveVip(trx: Trx, loadBalancerId: string, request: VipRequest): Promise<Port>;
  /** The amphora's own address on the subnet; the same port every time it is asked for. */
  reserveAmphoraPort(trx: Trx, amphoraId: string, subnetId: string): Promise<Port>;
  /** The ports that an amphora holds, on subnets that there are still. */
  amphoraPorts(trx: Trx, amphoraId: string): Promise<Port[]>;
  /** An address for whichever amphora of the load balancer has the VIPs; the same port every time it is asked for. */
  reserveSharedPort(trx: Trx, loadBalancerId: string, subnetId: string): Promise<Port>;
  /** Those that a load balancer holds, on subnets that there are still. */
  sharedPorts(trx: Trx, loadBalancerId: string): Promise<Port[]>;
  /** Gives one port back; nothing happens when there is none. */
  releasePort(trx: Trx, portId: string): Promise<void>;
  /** Whether members may name this subnet. */
  hasSubnet(subnetId: string): Promise<boolean>;
  /** Whether VIPs may name this QoS policy. */
  hasQosPolicy(policyId: string): Promise<boolean>;
  /** Gives back every address that a load balancer or amphora holds; nothing happens when it has none. */
  release(trx: Trx, ownerId: string): Promise<void>;
}
