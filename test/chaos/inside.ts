/** Chaos in the namespace that this runs in. */
import { withScope } from "../support/scope.ts";
import { chaos } from "./chaos.ts";

const number = (name: string, byDefault: number) => Number(process.env[name] ?? byDefault);
const loadBalancers = number("CHAOS_LOAD_BALANCERS", 30);
await withScope(async (scope) => {
  const { wrong, faults, crashes, unexplained } = await chaos(scope, {
    seed: number("CHAOS_SEED", Date.now() % 1e6),
    loadBalancers,
    pairs: number("CHAOS_PAIRS", Math.ceil(loadBalancers / 3)),
    seconds: number("CHAOS_SECONDS", 300),
    troublePause: 2000,
    changePause: 300,
    say: (line) => console.log(line),
  });
  for (const each of [...faults, ...unexplained]) console.log(JSON.stringify(each));
  for (const each of crashes) console.log(each);
  if (wrong.length + faults.length + crashes.length + unexplained.length > 0) process.exitCode = 1;
});
process.exit();
