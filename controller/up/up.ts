/** `amphora-controller up`: everything on this host, in the foreground, gone again when it ends. */
import { join } from "node:path";
import pino from "pino";
import { Controller, tokenFile } from "../controller.ts";
import { needsRoot } from "../drivers/drivers.ts";
import { stopSignal } from "../process.ts";
import { hasRole } from "../roles.ts";
import { type Settings, SettingsError } from "../settings.ts";
import { ApiClient } from "./client.ts";
import { awaitDemo, createDemo, type Demo, findDemo, startMembers } from "./demo.ts";

/** Runs until SIGINT or SIGTERM. @throws when it can't start; then nothing is left behind */
export async function up(settings: Settings, say: (line: string) => void): Promise<void> {
  if (settings.demo && !needsRoot(settings)) {
    throw new SettingsError("demo: there are no amphorae for it with compute noop: add --no-demo");
  }
  if (settings.demo && settings.identity === "keystone") {
    throw new SettingsError("demo: it is made with the static administrator's token: add --no-demo");
  }
  if (!hasRole(settings, "api") || !hasRole(settings, "reconciler")) {
    throw new SettingsError("role: up needs all of them; for some of the roles there is amphora-controller run");
  }
  const started = performance.now();
  const stopped = stopSignal();
  const logFile = join(settings["data-dir"], "controller.log");
  const openLog = () =>
    pino(
      { name: "amphora-controller", level: settings["log-level"] },
      pino.destination({ dest: logFile, append: true, sync: true }),
    );
  const controller = await step(say, "controller", () => Controller.start(settings, openLog));
  try {
    const work = bringUp(controller, settings, say);
    const outcome = await Promise.race([work, stopped]);
    if (typeof outcome !== "string") {
      say(summary(settings, outcome, logFile, performance.now() - started));
      await stopped;
    }
    work.catch(() => undefined);
  } finally {
    await step(say, "shutting down", () => controller.shutDown());
  }
}

async function bringUp(controller: Controller, settings: Settings, say: (line: string) => void): Promise<Demo | null> {
  const { host, token } = controller;
  if (token === null) return null;
  const api = new ApiClient(apiUrl(settings), token);
  const existing = await findDemo(controller, api);
  if (host === null || (existing === null && !settings.demo)) return null;
  const addresses = await step(say, "demo members", () => startMembers(controller, host));
  const demo = existing ?? (await step(say, "demo load balancer", () => createDemo(controller, api, addresses)));
  await step(say, "ACTIVE and ONLINE", () => awaitDemo(api, demo, settings["boot-limit-s"]));
  return demo;
}

/** Tells what is being done, and how long it took. */
async function step<T>(say: (line: string) => void, what: string, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  const result = await work();
  say(`  ${what.padEnd(22)}${seconds(performance.now() - started)}`);
  return result;
}

function summary(settings: Settings, demo: Demo | null, logFile: string, ms: number): string {
  const api = apiUrl(settings);
  const file = settings.identity === "static" ? tokenFile(settings) : null;
  const token = file === null ? "$(openstack token issue -f value -c id)" : `$(cat ${file})`;
  const list = `curl -s -H "X-Auth-Token: ${token}" ${api}/v2.0/lbaas/loadbalancers`;
  const lines = [
    "",
    `Amphora is up (${seconds(ms)}).`,
    "",
    ...(demo === null ? [] : [`  VIP     ${demo.url}`]),
    `  API     ${api}/v2.0/lbaas`,
    `  token   ${file ?? `from ${settings.keystone["auth-url"]}`}`,
    `  log     ${logFile}`,
    "",
    "Try, in another terminal:",
    "",
    // brackets mean something to some shells
    ...(demo === null ? [] : [`  curl ${demo.url.includes("[") ? `'${demo.url}'` : demo.url}`]),
    `  ${list}`,
    "",
    "Ctrl-C stops everything and keeps the data: the next start brings the same load balancers back.",
    "",
  ];
  return lines.join("\n");
}

function apiUrl(settings: Settings): string {
  const any = settings.listen === "0.0.0.0" || settings.listen === "::";
  const host = any ? "127.0.0.1" : settings.listen.includes(":") ? `[${settings.listen}]` : settings.listen;
  return `http://${host}:${settings.port}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
