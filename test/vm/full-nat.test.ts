/** The machine that the data plane's tests need: a kernel with IPVS, source NAT and connection tracking. */
import t from "tap";
import { inVm } from "../support/vm/vm.ts";

await inVm(t, "test/vm/scenarios/full-nat.ts");
