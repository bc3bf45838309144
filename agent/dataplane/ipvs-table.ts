/** IPVS's table as ipvsadm(8) shows it. What is not understood is passed over: reading never throws. */
import ipaddr from "ipaddr.js";

export interface Destination {
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  /** established connections, and all others that IPVS still knows */
  readonly active: number;
  readonly inactive: number;
}

export interface TableService {
  readonly transport: string;
  readonly vip: string;
  readonly port: number;
  readonly scheduler: { readonly name: string; readonly flags: readonly string[] };
  readonly persistence: { readonly timeout: number; readonly granularity: string | null } | null;
  readonly destinations: readonly Destination[];
}

/** Since the service was made. */
export interface Traffic {
  readonly connections: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export interface Timeouts {
  readonly tcp: number;
  readonly tcpfin: number;
  readonly udp: number;
}

/** The one name of a service, such as `TCP 10.0.0.1 80`. */
export function serviceKey({ transport, vip, port }: Pick<TableService, "transport" | "vip" | "port">): string {
  return `${transport} ${vip} ${port}`;
}

/** Reads `ipvsadm -Ln`. */
export function parseTable(text: string): TableService[] {
  const services: (TableService & { destinations: Destination[] })[] = [];
  for (const line of text.split("\n")) {
    const [first = "", second = "", ...rest] = line.trim().split(/\s+/);
    const endpoint = parseEndpoint(second);
    if (endpoint === null) continue;
    if (first !== "->") {
      if (!/^[A-Z]+$/.test(first)) continue;
      const { address: vip, port } = endpoint;
      services.push({ transport: first, vip, port, ...parseHow(rest), destinations: [] });
      continue;
    }
    const [, weight, active, inactive] = rest.map(Number);
    if (![weight, active, inactive].every((each) => Number.isSafeInteger(each))) continue;
    services.at(-1)?.destinations.push({
      ...endpoint,
      weight: weight ?? 0,
      active: active ?? 0,
      inactive: inactive ?? 0,
    });
  }
  return services;
}

/** Reads `ipvsadm -Ln --stats --exact`: service key -> what went through it. */
export function parseTraffic(text: string): Map<string, Traffic> {
  const traffic = new Map<string, Traffic>();
  for (const line of text.split("\n")) {
    const [transport = "", local = "", ...numbers] = line.trim().split(/\s+/);
    const endpoint = parseEndpoint(local);
    if (endpoint === null || !/^[A-Z]+$/.test(transport)) continue;
    const [connections, , , bytesIn, bytesOut] = numbers.map(Number);
    if (![connections, bytesIn, bytesOut].every((each) => Number.isSafeInteger(each))) continue;
    traffic.set(serviceKey({ transport, vip: endpoint.address, port: endpoint.port }), {
      connections: connections ?? 0,
      bytesIn: bytesIn ?? 0,
      bytesOut: bytesOut ?? 0,
    });
  }
  return traffic;
}

/** Reads `ipvsadm -l --timeout`; null when it says something else. */
export function parseTimeouts(text: string): Timeouts | null {
  const found = /^Timeout \(tcp tcpfin udp\): (\d+) (\d+) (\d+)$/m.exec(text);
  return found === null ? null : { tcp: Number(found[1]), tcpfin: Number(found[2]), udp: Number(found[3]) };
}

/** `wlc`, `mh (mh-fallback,mh-port) persistent 60 mask 255.255.255.0` */
function parseHow(words: readonly string[]): Pick<TableService, "scheduler" | "persistence"> {
  const text = words.join(" ");
  const persistent = /\bpersistent (\d+)(?: mask (\S+))?/.exec(text);
  return {
    scheduler: { name: words[0] ?? "", flags: /\(([^)]*)\)/.exec(text)?.[1]?.split(",") ?? [] },
    persistence: persistent === null ? null : { timeout: Number(persistent[1]), granularity: persistent[2] ?? null },
  };
}

function parseEndpoint(text: string): { address: string; port: number } | null {
  const [, six, four, port] = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text) ?? [];
  const address = six ?? four;
  if (address === undefined || !ipaddr.isValid(address)) return null;
  return { address: ipaddr.parse(address).toString(), port: Number(port) };
}
