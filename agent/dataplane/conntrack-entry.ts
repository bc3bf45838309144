/** One line of conntrack(8), as `-L` and `-E` print it with `-o extended,ktimestamp,id`. Reading never throws. */

export interface Entry {
  readonly family: 4 | 6;
  readonly protocol: string;
  /** seconds until the kernel forgets it, if nothing more comes; null in events */
  readonly remaining: number | null;
  /** of TCP and SCTP, such as ESTABLISHED */
  readonly state: string | null;
  readonly replied: boolean;
  readonly original: Tuple;
  readonly reply: Tuple;
  readonly mark: number;
  readonly id: string;
  /** ms since 1970, of whole seconds */
  readonly start: number | null;
  readonly stop: number | null;
}

export interface Tuple {
  readonly src: string;
  readonly dst: string;
  readonly sport: string;
  readonly dport: string;
  readonly packets: number;
  readonly bytes: number;
}

/** Null for what is no entry with two tuples and ports. */
export function parseEntry(line: string): Entry | null {
  const start = line.search(/ipv[46] /);
  if (start < 0) return null;
  const tuples: Record<string, string>[] = [];
  const single: Record<string, string> = {};
  let replied = true;
  const words: string[] = [];
  for (const word of line.slice(start).split(" ")) {
    if (word === "") continue;
    const at = word.indexOf("=");
    if (at < 0) {
      if (word === "[UNREPLIED]") replied = false;
      else if (tuples.length === 0) words.push(word);
      continue;
    }
    const key = word.slice(0, at);
    if (key === "src") tuples.push({});
    const tuple = IN_TUPLES.has(key) ? tuples.at(-1) : single;
    if (tuple !== undefined) tuple[key] = word.slice(at + 1);
  }
  const [family, , protocol, , fifth, sixth] = words;
  const [original, reply] = tuples.map(tupleOf);
  if (tuples.length !== 2 || !original || !reply || protocol === undefined || single.id === undefined) return null;
  const remaining = fifth !== undefined && /^\d+$/.test(fifth) ? Number(fifth) : null;
  const state = remaining === null ? fifth : sixth;
  return {
    family: family === "ipv6" ? 6 : 4,
    protocol,
    remaining,
    state: state !== undefined && /^[A-Z_0-9]+$/.test(state) ? state : null,
    replied,
    original,
    reply,
    mark: Number(single.mark ?? 0) || 0,
    id: single.id,
    start: timeIn(line, "[start="),
    stop: timeIn(line, "[stop="),
  };
}

const IN_TUPLES = new Set(["src", "dst", "sport", "dport", "packets", "bytes", "type", "code"]);

function tupleOf({ src, dst, sport, dport, packets, bytes }: Record<string, string>): Tuple | null {
  if (src === undefined || dst === undefined || sport === undefined || dport === undefined) return null;
  return { src, dst, sport, dport, packets: Number(packets ?? 0) || 0, bytes: Number(bytes ?? 0) || 0 };
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** `[start=Wed Nov 25 03:47:52 2026]`, printed in the time zone of the command: UTC. */
function timeIn(line: string, label: string): number | null {
  const at = line.indexOf(label);
  if (at < 0) return null;
  const text = line.slice(at + label.length, at + label.length + 24);
  const found = /^\w{3} (\w{3}) +(\d+) (\d\d):(\d\d):(\d\d) (\d{4})/.exec(text);
  if (found === null) return null;
  const [, month = "", day, hours, minutes, seconds, year] = found;
  const time = Date.UTC(
    Number(year),
    MONTHS.indexOf(month),
    Number(day),
    Number(hours),
    Number(minutes),
    Number(seconds),
  );
  return MONTHS.includes(month) ? time : null;
}
