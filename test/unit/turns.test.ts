/** Nobody waits for all that another project has asked for. */
import t from "tap";
import { Turns } from "../../controller/turns.ts";

t.test("projects take turns, and each one's work is done in order", async (t) => {
  const turns = new Turns();
  const done: string[] = [];
  const take = (project: string, name: string) =>
    turns.take(project, async () => {
      done.push(name);
      return name;
    });
  const all = [..."12345"].map((each) => take("greedy", `greedy ${each}`));
  all.push(take("modest", "modest 1"), take("modest", "modest 2"), take("late", "late 1"));
  t.strictSame((await Promise.all(all)).toSorted(), done.toSorted());
  t.strictSame(done, ["greedy 1", "greedy 2", "modest 1", "late 1", "greedy 3", "modest 2", "greedy 4", "greedy 5"]);
});

t.test("one piece at a time, and what fails keeps nobody from their turn", async (t) => {
  const turns = new Turns();
  let [now, most] = [0, 0];
  const work = async (fails: boolean) => {
    most = Math.max(most, ++now);
    await Promise.resolve();
    now--;
    if (fails) throw new Error("failed");
  };
  const results = await Promise.allSettled(
    [true, false, true, false].map((fails, i) => turns.take(String(i % 3), () => work(fails))),
  );
  t.strictSame(
    results.map(({ status }) => status),
    ["rejected", "fulfilled", "rejected", "fulfilled"],
  );
  t.equal(most, 1);
  t.equal(await turns.take("later", async () => "done"), "done");
});
