/** The states that resources are in, with their meaning. */

/** How far what was asked for has been carried out. */
export const PROVISIONING_STATUSES = ["ACTIVE", "PENDING_CREATE", "PENDING_UPDATE", "PENDING_DELETE", "ERROR"] as const;
export type ProvisioningStatus = (typeof PROVISIONING_STATUSES)[number];

/** How it does, as the amphorae see it. */
export const OPERATING_STATUSES = ["ONLINE", "DRAINING", "OFFLINE", "DEGRADED", "ERROR", "NO_MONITOR"] as const;
export type OperatingStatus = (typeof OPERATING_STATUSES)[number];

export const AMPHORA_STATUSES = ["BOOTING", "ALLOCATED", "PENDING_DELETE", "ERROR"] as const;

/** Carried out or given up: a change may come. A load balancer in ERROR is changed too, or its fault could not be mended. */
export function isSettled(status: ProvisioningStatus): boolean {
  return status === "ACTIVE" || status === "ERROR";
}
