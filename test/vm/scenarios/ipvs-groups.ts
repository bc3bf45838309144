/** Several amphorae of one load balancer with IPVS listeners: a pair, and replicas. */
import { TellingMember } from "../../support/flows.ts";
import type { Inside } from "../../support/vm/inside.ts";
import { DataPlanes } from "./ipvs/data-planes.ts";
import { failover } from "./ipvs/failover.ts";
import { replicas } from "./ipvs/replicas.ts";

export default async (vm: Inside): Promise<void> => {
  const planes = await DataPlanes.make(vm, 3);
  for (const number of [1, 2, 3]) await TellingMember.start(vm, number);
  await TellingMember.start(vm, 1, "fd77::21");
  await failover(vm, planes.first(2), 1);
  await replicas(vm, planes, 2);
};
