/** FORWARD_TCP, UDP and SCTP listeners on a kernel that has IPVS, with real traffic through a real agent. */
import t from "tap";
import { inVm } from "../support/vm/vm.ts";

// some 90 s on two quiet cores; without KVM and among others it takes several times as long
await inVm(t, "test/vm/scenarios/ipvs.ts", { memory: 2048, limit: 1_200_000 });
