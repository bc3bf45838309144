/** Firmware that QEMU starts a disk with. */
import { existsSync } from "node:fs";
import type { Architecture } from "../architectures.ts";
import { BuildError } from "../build-error.ts";

export type Firmware = "bios" | "uefi";

/** Debian's packages of EDK II, by what they are for. */
const UEFI = {
  x86_64: {
    package: "ovmf",
    code: "/usr/share/OVMF/OVMF_CODE_4M.fd",
    variables: "/usr/share/OVMF/OVMF_VARS_4M.fd",
  },
  aarch64: {
    package: "qemu-efi-aarch64",
    code: "/usr/share/AAVMF/AAVMF_CODE.fd",
    variables: "/usr/share/AAVMF/AAVMF_VARS.fd",
  },
};

export function firmwaresOf({ name }: Architecture): readonly Firmware[] {
  return name === "x86_64" ? ["bios", "uefi"] : ["uefi"];
}

/** @returns null for the firmware that QEMU has by itself @throws {BuildError} when it is not installed */
export function firmwareFiles(
  architecture: Architecture,
  firmware: Firmware,
): { readonly code: string; readonly variables: string } | null {
  if (firmware === "bios") return null;
  const files = UEFI[architecture.name];
  if (existsSync(files.code)) return files;
  throw new BuildError(`${files.code} is not there: install the package ${files.package}`);
}
