/** What the tests in machines rely on: nothing that goes wrong in one is lost, and several see each other. */
import { readFile } from "node:fs/promises";
import t from "tap";
import { Lan } from "../support/vm/lan.ts";
import { inLab, inVm, LOGS, type Verdicts, Vm } from "../support/vm/vm.ts";

class Recorder implements Verdicts {
  readonly passed: string[] = [];
  readonly failed: { name: string; why: string }[] = [];

  pass(name: string): void {
    this.passed.push(name);
  }

  fail(name: string, { stack }: { stack: string }): void {
    this.failed.push({ name, why: stack });
  }

  comment(): void {}
}

const BROKEN = "test/vm/scenarios/broken.ts";
const endings = [
  { how: "throw", title: "throws", why: /Error: the scenario gave up/ },
  { how: "panic", title: "crashes its kernel", why: /died[\s\S]*Kernel panic/ },
  { how: "hang", title: "does not end", why: /took too long/, limit: 100_000 },
  { how: "nothing", title: "checks nothing", why: /checked nothing/ },
];
for (const { how, title, why, limit = 120_000 } of endings) {
  t.test(`a scenario that ${title} is a failed test, with the machine's last words`, async (t) => {
    const recorder = new Recorder();
    await inVm(recorder, BROKEN, { args: { how }, limit, memory: 768, cpus: 1 });
    const [check, ending] = how === "nothing" ? [null, recorder.failed[0]] : recorder.failed;
    if (check !== null) {
      t.strictSame(recorder.passed, ["this one is kept"]);
      t.match(check, { name: "this one is broken", why: /as it was asked to be[\s\S]*broken\.ts/ });
    }
    t.match(ending, { name: "the scenario broken comes to its end", why });
    t.match(await readFile(`${LOGS}/broken.log`, "utf8"), /a test machine/, "the console is kept");
  });
}

t.test("two machines on one network see each other, until one is switched off", async (t) => {
  await inLab(t, async (lab) => {
    const lan = await Lan.make(lab);
    const [a, b] = ["10.9.0.1", "10.9.0.2"];
    const scenario = "test/vm/scenarios/neighbours.ts";
    const options = { lans: [lan], memory: 768, cpus: 1 };
    const [one, two] = await Promise.all([
      Vm.start(lab, scenario, { ...options, args: { own: a, other: b } }),
      Vm.start(lab, scenario, { ...options, args: { own: b, other: a } }),
    ]);
    await Promise.all([one.says("reached"), two.says("reached")]);
    await two.kill();
    one.tell("the other is off");
    await one.ended();
  });
});
