/** Rendering: from JSON to the checked spec, to the files' bytes, and to the plan of a change. In CPU ms. */
import { planHaproxy } from "../../agent/plan.ts";
import { render } from "../../templates/render.ts";
import { parseSpec } from "../../templates/spec.ts";
import { largeSpec } from "../support/large-spec.ts";
import { measureCpu, print } from "./figures.ts";

/** The peer renders in CPU ms, warm (Octavia 11.0.0, on a machine like the one this was written on). */
const SIZES = [
  [1, 1, 2, "0.33-0.47"],
  [10, 10, 20, "12.5"],
  [50, 100, 50, "260-346"],
] as const;

for (const [listeners, pools, members, peer] of SIZES) {
  const text = JSON.stringify(largeSpec(listeners, pools, members));
  const spec = parseSpec(JSON.parse(text));
  const [first] = measureCpu(1, () => render(spec));
  measureCpu(20, () => render(spec));
  const name = `${listeners} listeners, ${pools} pools x ${members}`;
  print(
    `check ${name}`,
    measureCpu(50, () => parseSpec(JSON.parse(text))),
  );
  print(
    `render ${name} (peer: ${peer})`,
    measureCpu(50, () => render(spec)),
  );
  const next = structuredClone(spec);
  Object.assign(next.pools[0]?.members[0] ?? {}, { weight: 7 });
  print(
    `plan a weight in ${name}`,
    measureCpu(50, () => planHaproxy(spec, next)),
  );
  console.log(`  the first render of this size took ${first?.toFixed(0)} ms`);
}
