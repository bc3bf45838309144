/** Chaos, in short: `npm run chaos` goes on for longer, with more of everything. */
import t from "tap";
import { chaos } from "../chaos/chaos.ts";

t.test("whatever dies, stops or is cut off: what was accepted is there in the end, and nothing else", async (t) => {
  const lines: string[] = [];
  const result = await chaos(t, {
    seed: 20,
    loadBalancers: 4,
    pairs: 2,
    seconds: 25,
    troublePause: 1500,
    changePause: 300,
    say: (line) => lines.push(line),
  });
  const story = () => [...lines, ...result.troubles.map(({ what }) => what)].join("\n");
  t.strictSame(result.wrong, [], story());
  t.strictSame(result.faults, [], "nobody got an answer that blames the server, or that was not deserved");
  t.strictSame(result.crashes, [], story());
  t.strictSame(result.unexplained, [], story());
  t.ok(result.asked > 100, `${result.asked}`);
});
