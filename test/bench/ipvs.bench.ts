/**
 * What goes through the kernel (FORWARD_TCP) against what goes through HAProxy (TCP), in one machine whose kernel has
 * IPVS. Under emulation everything is some twenty times as slow as it would be: only ratios count.
 */
import { inVm, type Verdicts } from "../support/vm/vm.ts";

/** ms */
const LIMIT = 900_000;

const printer: Verdicts = {
  pass: () => undefined,
  comment: (text) => console.log(`  ${text.replace(/^ipvs-traffic: /, "")}`),
  fail: (name, { stack }) => {
    console.error(`${name}\n${stack}`);
    process.exitCode = 1;
  },
};
await inVm(printer, "test/bench/ipvs-traffic.ts", { memory: 1536, limit: LIMIT });
