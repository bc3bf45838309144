/** What becomes of connections when one of several amphorae dies, on kernels that have IPVS. */
import t from "tap";
import { inVm } from "../support/vm/vm.ts";

await inVm(t, "test/vm/scenarios/ipvs-groups.ts", { memory: 1536, limit: 1_200_000 });
