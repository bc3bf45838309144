/** Rendering: from a parsed spec to the files' bytes, and from JSON to the spec. */
import { render } from "../../templates/render.ts";
import { type AmphoraSpecInput, parseSpec } from "../../templates/spec.ts";
import { measure, print } from "./figures.ts";

for (const [listeners, members] of [
  [1, 2],
  [10, 20],
  [50, 100],
] as const) {
  const document = specOf(listeners, members);
  const spec = parseSpec(document);
  await measure(20, () => render(spec));
  const name = `${listeners} listeners, ${listeners * members} members`;
  print(`check ${name}`, await measure(50, () => parseSpec(document)));
  print(`render ${name}`, await measure(50, () => render(spec)));
}

function specOf(listeners: number, members: number): AmphoraSpecInput {
  const id = (kind: number, i: number, j = 0) =>
    `${String(kind).padStart(8, "0")}-0000-4000-8000-${String(i * 1000 + j).padStart(12, "0")}`;
  const all = Array.from({ length: listeners }, (_, i) => i);
  return {
    revision: 1,
    amphora_id: id(1, 0),
    loadbalancer_id: id(2, 0),
    role: "STANDALONE",
    vips: ["10.77.0.5"],
    listeners: all.map((i) => ({ id: id(3, i), protocol: "HTTP", protocol_port: 1000 + i, default_pool_id: id(4, i) })),
    pools: all.map((i) => ({
      id: id(4, i),
      protocol: "HTTP",
      lb_algorithm: "ROUND_ROBIN",
      health_monitor: { id: id(5, i), type: "HTTP", delay: 5, timeout: 3 },
      members: Array.from({ length: members }, (_, j) => ({
        id: id(6, i, j),
        address: `10.1.${i}.${j + 1}`,
        protocol_port: 8080,
      })),
    })),
  };
}
