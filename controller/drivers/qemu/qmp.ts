/** Speaking to a running QEMU: QMP over its UNIX socket (QEMU, docs/interop/qmp-spec.rst). */
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { z } from "zod";
import { messageOf } from "../../../agent/faults.ts";

/** QEMU answers at once, or something else speaks to it at this moment (ms). */
const LIMIT = 10_000;

/** The machine does not do what it was told; the message holds its words. */
export class QmpError extends Error {
  override readonly name = "QmpError";
}

export interface QmpCommand {
  readonly execute: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
}

const message = z.looseObject({
  QMP: z.unknown().optional(),
  return: z.unknown().optional(),
  error: z.object({ desc: z.string() }).optional(),
  event: z.string().optional(),
  data: z.unknown().optional(),
});
export type QmpEvent = z.output<typeof message>;

/**
 * Has the machine carry out commands, in their order.
 * @param until after the last of them, the event to wait for
 * @throws {QmpError} at the first that fails; or after `LIMIT` ms
 */
export async function tell(
  socketFile: string,
  commands: readonly QmpCommand[],
  until?: (event: QmpEvent) => boolean,
): Promise<void> {
  const socket = connect(socketFile);
  const timer = setTimeout(() => socket.destroy(new QmpError(`QEMU does not answer at ${socketFile}`)), LIMIT);
  try {
    await converse(socket, commands, until);
  } catch (error) {
    if (error instanceof QmpError) throw error;
    throw new QmpError(`${socketFile}: ${messageOf(error)}`);
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

async function converse(
  socket: Socket,
  commands: readonly QmpCommand[],
  until?: (event: QmpEvent) => boolean,
): Promise<void> {
  const left = [{ execute: "qmp_capabilities" }, ...commands];
  let current: QmpCommand | undefined;
  let awaits = until;
  const next = () => {
    current = left.shift();
    if (current !== undefined) socket.write(`${JSON.stringify(current)}\n`);
  };
  // an error of the socket does not end a loop over its lines
  const broken = new Promise<never>((_, reject) => socket.once("error", reject));
  const talk = async () => {
    for await (const line of createInterface(socket)) {
      const said = message.parse(JSON.parse(line));
      if (said.error !== undefined) throw new QmpError(`${current?.execute}: ${said.error.desc}`);
      if (said.event !== undefined && awaits?.(said)) awaits = undefined;
      if (said.QMP !== undefined || said.return !== undefined) next();
      if (current === undefined && awaits === undefined) return;
    }
    throw new QmpError("QEMU has ended");
  };
  await Promise.race([talk(), broken]);
}
