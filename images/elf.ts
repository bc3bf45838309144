/** What a program needs to be started: read from its ELF file (elf(5)), without running anything. */

const MAGIC = Buffer.from("\x7fELF", "latin1");
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const DT_NEEDED = 1;
const DT_STRTAB = 5;

export interface Needs {
  /** the dynamic loader's path, such as /lib64/ld-linux-x86-64.so.2 */
  readonly loader: string | null;
  /** names of shared libraries, such as libc.so.6 */
  readonly libraries: readonly string[];
}

/** What a 64-bit little-endian ELF file needs; null for any other file, and for one that is cut short. */
export function needsOf(file: Buffer): Needs | null {
  if (file.length < 64 || !file.subarray(0, 4).equals(MAGIC) || file[4] !== 2 || file[5] !== 1) return null;
  try {
    return readNeeds(file);
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

function readNeeds(file: Buffer): Needs {
  const segments = programHeaders(file);
  const interpreter = segments.find((each) => each.type === PT_INTERP);
  const loader = interpreter === undefined ? null : textAt(file, interpreter.offset);
  const dynamic = segments.find((each) => each.type === PT_DYNAMIC);
  if (dynamic === undefined) return { loader, libraries: [] };

  const needed: number[] = [];
  let strings = 0;
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.size; at += 16) {
    const tag = number(file, at);
    if (tag === DT_NEEDED) needed.push(number(file, at + 8));
    if (tag === DT_STRTAB) strings = number(file, at + 8);
  }
  const load = segments.find(
    (each) => each.type === PT_LOAD && strings >= each.address && strings < each.address + each.size,
  );
  const table = load === undefined ? 0 : strings - load.address + load.offset;
  return { loader, libraries: needed.map((offset) => textAt(file, table + offset)) };
}

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly size: number;
}

function programHeaders(file: Buffer): Segment[] {
  const start = number(file, 32);
  const size = file.readUInt16LE(54);
  const count = file.readUInt16LE(56);
  return Array.from({ length: count }, (_, i) => {
    const at = start + i * size;
    return {
      type: file.readUInt32LE(at),
      offset: number(file, at + 8),
      address: number(file, at + 16),
      size: number(file, at + 32),
    };
  });
}

function number(file: Buffer, at: number): number {
  return Number(file.readBigUInt64LE(at));
}

function textAt(file: Buffer, at: number): string {
  const end = file.indexOf(0, at);
  if (end < 0) throw new RangeError("text without an end");
  return file.toString("utf8", at, end);
}
