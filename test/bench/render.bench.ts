/** Rendering: from JSON to the checked spec, to the files' bytes, and to the plan of a change. In CPU ms. */
import { planHaproxy } from "../../agent/plan.ts";
import { render } from "../../templates/render.ts";
import { parseSpec } from "../../templates/spec.ts";
import { largeSpec } from "../support/large-spec.ts";
import { measureCpu, print } from "./figures.ts";

const ROUNDS = 20;
/** The peer renders in CPU ms, warm (Octavia 11.0.0, on a machine like the one this was written on). */
const SIZES = [
  [1, 1, 2, "0.33-0.47"],
  [10, 10, 20, "12.5"],
  [50, 100, 50, "260-346"],
] as const;

for (const [listeners, pools, members, peer] of SIZES) {
  const text = JSON.stringify(largeSpec(listeners, pools, members));
  const spec = parseSpec(JSON.parse(text));
  // what is known of a spec is kept with it: each round has one that nothing is known of
  const fresh = Array.from({ length: ROUNDS }, () => structuredClone(spec));
  const at = (round: number) => fresh[round] ?? spec;
  const [first] = measureCpu(1, () => render(spec));
  measureCpu(ROUNDS, () => render(structuredClone(spec)));
  const name = `${listeners} listeners, ${pools} pools x ${members}`;
  print(
    `check ${name}`,
    measureCpu(ROUNDS, () => parseSpec(JSON.parse(text))),
  );
  print(
    `render ${name} (peer: ${peer})`,
    measureCpu(ROUNDS, (round) => render(at(round))),
  );
  const next = fresh.map((each, round) => {
    const copy = structuredClone(each);
    Object.assign(copy.pools[0]?.members[0] ?? {}, { weight: round + 2 });
    return copy;
  });
  print(
    `plan a weight in ${name}, and render it`,
    measureCpu(ROUNDS, (round) => {
      const changed = next[round] ?? spec;
      planHaproxy(at(round), changed);
      render(changed);
    }),
  );
  console.log(`  the first render of this size took ${first?.toFixed(0)} ms`);
}
