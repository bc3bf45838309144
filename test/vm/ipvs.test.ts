/** FORWARD_TCP, UDP and SCTP listeners on a kernel that has IPVS, with real traffic through a real agent. */
import t from "tap";
import { inVm } from "../support/vm/vm.ts";

// some 5 minutes on two quiet cores without KVM; among others it takes longer
await inVm(t, "test/vm/scenarios/ipvs.ts", { memory: 2048, limit: 1_200_000 });
