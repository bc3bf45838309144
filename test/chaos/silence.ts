/**
 * `npm run chaos -- silence`: of SILENCE_AMPHORAE (100) real agents, SILENCE_MANY (60 % of them) hang at once, and nothing is
 * replaced; then they go on, 2 hang, and exactly those are replaced.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Deployment, type Json, until } from "../support/deployment.ts";
import { withScope } from "../support/scope.ts";

const AMPHORAE = Number(process.env.SILENCE_AMPHORAE ?? 100);
const MANY = Number(process.env.SILENCE_MANY ?? AMPHORAE * 0.6);
const FEW = 2;
/** Several times what a single amphora is replaced within (ms). */
const LONG = 90_000;
/** ms that all of them may take to be there, on a small machine */
const BOOT_LIMIT = 900_000;

const started = performance.now();
const say = (line: string) =>
  console.log(`${((performance.now() - started) / 1000).toFixed(1).padStart(7)} s  ${line}`);

await withScope(async (scope) => {
  const deployment = await Deployment.make(scope);
  await deployment.start("--subnet", "10.77.0.0/22");
  const amphorae = async () => {
    const { body } = await deployment.call("GET", "/v2.0/octavia/amphorae");
    return body.amphorae as unknown as Json[];
  };
  const ids = async () => (await amphorae()).map(({ id }) => String(id)).sort();
  const serving = async () => (await amphorae()).filter(({ status }) => status === "ALLOCATED").length;
  const state = async () => {
    const { body } = await deployment.call("GET", "/v2.0/octavia/controllers");
    return (body.controllers as unknown as Json[])[0]?.state;
  };
  const signal = async (which: readonly string[], name: NodeJS.Signals) => {
    for (const id of which) process.kill(await deployment.agentPid(id), name);
  };
  const verify = (what: string, holds: boolean) => {
    say(`${holds ? "yes" : "NO "}  ${what}`);
    if (!holds) process.exitCode = 1;
  };

  for (let i = 0; i < AMPHORAE; i++) {
    await deployment.create("loadbalancer", "/loadbalancers", { name: `lb ${i}` });
    await until(
      () => `no more than 8 boot at a time, after ${i}`,
      async () => i - (await serving()) < 8,
      BOOT_LIMIT,
    );
  }
  await until("all serve", async () => (await serving()) === AMPHORAE, BOOT_LIMIT);
  const all = await ids();
  say(`${all.length} amphorae serve`);
  // each has been heard
  await sleep(10_000);

  const many = all.slice(0, MANY);
  await signal(many, "SIGSTOP");
  say(`${many.length} hang at once`);
  await until("the controller holds back", async () => (await state()) === "HOLDING_BACK", 60_000);
  say("the controller says that it holds back");
  await sleep(LONG);
  verify(`none is replaced in ${LONG / 1000} s`, String(await ids()) === String(all));
  await signal(many, "SIGCONT");
  await until("it goes on", async () => (await state()) === "UP", 60_000);
  await sleep(20_000);
  verify("none is replaced when they are back", String(await ids()) === String(all));

  const few = all.slice(-FEW);
  await signal(few, "SIGSTOP");
  say(`${FEW} hang`);
  await until(
    "those that hang are gone, and others serve",
    async () => {
      const now = await ids();
      return few.every((id) => !now.includes(id)) && (await serving()) === AMPHORAE;
    },
    180_000,
  );
  say("others have taken their places");
  await sleep(20_000);
  const left = (await ids()).filter((id) => all.includes(id));
  verify("they alone were replaced", String(left) === String(all.slice(0, -FEW)));
});
process.exit();
