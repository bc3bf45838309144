/** `amphora-controller run`: the service, until SIGTERM. */
import pino from "pino";
import { Controller } from "./controller.ts";
import { stopSignal } from "./process.ts";
import type { Settings } from "./settings.ts";

/** Resolves when it has been stopped. Amphorae and their traffic go on. */
export async function serve(settings: Settings): Promise<void> {
  const stopped = stopSignal();
  const log = pino({ name: "amphora-controller", level: settings["log-level"] });
  const controller = await Controller.start(settings, () => log);
  const signal = await stopped;
  log.info({ signal }, "stopping");
  await controller.stop();
}
