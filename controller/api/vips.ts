/** The addresses of a new load balancer: reserved with it, or not at all. */
import { type NetworkDriver, NetworkRequestError, type Port, type VipRequest } from "../drivers/network.ts";
import type { LoadBalancer } from "../model/load-balancer.ts";
import type { Trx } from "../store/database.ts";
import { ApiError, invalidField, placed } from "./errors.ts";

type VipColumn = "vip_address" | "vip_port_id" | "vip_subnet_id" | "vip_network_id";
type Vips = Pick<LoadBalancer, VipColumn | "additional_vips">;

/** @throws {ApiError} 400 where no such VIP can be, 409 when an address is taken */
export async function reserveVips(
  network: NetworkDriver,
  trx: Trx,
  loadBalancerId: string,
  given: Readonly<Partial<Vips>>,
): Promise<Vips> {
  const reserve = (request: VipRequest) => network.reserveVip(trx, loadBalancerId, request).catch(asApiError);
  const vip = await reserve({
    vip_address: given.vip_address ?? "",
    vip_port_id: given.vip_port_id ?? "",
    vip_subnet_id: given.vip_subnet_id ?? "",
    vip_network_id: given.vip_network_id ?? "",
  });
  const ports: Port[] = [vip];
  for (const [i, { subnet_id, ip_address = "", port_id = "" }] of (given.additional_vips ?? []).entries()) {
    try {
      if (ports.some((port) => port.subnet_id === subnet_id)) {
        throw invalidField("subnet_id", subnet_id, "Each VIP needs a subnet of its own.");
      }
      const place = { vip_subnet_id: subnet_id, vip_network_id: vip.network_id };
      ports.push(await reserve({ ...place, vip_address: ip_address, vip_port_id: port_id }));
    } catch (error) {
      throw placed(error, `additional_vips[${i}]`);
    }
  }
  return {
    vip_address: vip.address,
    vip_port_id: vip.id,
    vip_subnet_id: vip.subnet_id,
    vip_network_id: vip.network_id,
    additional_vips: ports.slice(1).map(({ id, subnet_id, address }) => ({
      subnet_id,
      ip_address: address,
      port_id: id,
    })),
  };
}

function asApiError(error: unknown): never {
  if (error instanceof NetworkRequestError) throw new ApiError(error.status, error.message);
  throw error;
}
