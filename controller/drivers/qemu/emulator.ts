/** What machines of an architecture need of this host: QEMU for it, and firmware. */
import { execa } from "execa";
import type { Architecture } from "../../../images/architectures.ts";
import { BuildError } from "../../../images/build-error.ts";
import { firmwareFiles, firmwaresOf } from "../../../images/check/firmware.ts";
import { ComputeRefusedError } from "../compute.ts";

const LOOK_LIMIT = 10_000;

export function isInstalled(program: string): Promise<boolean> {
  return execa("which", [program], { timeout: LOOK_LIMIT }).then(
    () => true,
    () => false,
  );
}

/**
 * Finds out whether machines of an architecture can be started.
 * @returns the firmware, as the image boots most simply on that machine; null: QEMU has it by itself
 * @throws {ComputeRefusedError} naming what is not installed
 */
export async function requireEmulator(of: Architecture): Promise<ReturnType<typeof firmwareFiles>> {
  const { program, package: its } = of.qemu;
  if (!(await isInstalled(program))) {
    throw new ComputeRefusedError(`machines for ${of.name} need ${program}: install the package ${its}`);
  }
  const [first = "uefi"] = firmwaresOf(of);
  try {
    return firmwareFiles(of, first);
  } catch (error) {
    if (error instanceof BuildError) throw new ComputeRefusedError(`machines for ${of.name}: ${error.message}`);
    throw error;
  }
}
