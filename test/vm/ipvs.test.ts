/** FORWARD_TCP, UDP and SCTP listeners on a kernel that has IPVS, with real traffic through a real agent. */
import t from "tap";
import { inVm } from "../support/vm/vm.ts";

await inVm(t, "test/vm/scenarios/ipvs.ts", { memory: 2048 });
