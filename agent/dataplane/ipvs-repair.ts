/** What IPVS's table should be, against what it is: decided here, as data, before anything is done. */
import ipaddr from "ipaddr.js";
import { type IpvsService, ipvsServices, weightOf } from "../../templates/ipvs.ts";
import type { AmphoraSpec } from "../../templates/spec.ts";
import { type Destination, serviceKey, type TableService, type Timeouts } from "./ipvs-table.ts";

export interface Repairs {
  /** each the words of an ipvsadm command */
  readonly commands: readonly string[];
  /** services that the table lacks: only keepalived can tell which of their members are up */
  readonly missing: readonly IpvsService[];
}

/** What keepalived last said of a member: it is in the service (true), it is not (false), or nothing. */
export type Verdict = (service: string, address: string, port: number) => boolean | undefined;

/**
 * What makes the table what the spec wants. Which members are in it is keepalived's to say; that they are, that no
 * others are, and which weight each has, is said here. A backup member has its weight only while no other member has one.
 */
export function repairsOf(spec: AmphoraSpec, table: readonly TableService[], verdict: Verdict): Repairs {
  const wanted = new Map(ipvsServices(spec).map((service) => [serviceKey(service), service]));
  const actual = new Map(table.map((service) => [serviceKey(service), service]));
  const commands: string[] = [];
  for (const [key, service] of actual) {
    const want = wanted.get(key);
    if (want === undefined) commands.push(`-D ${serviceWords(service)}`);
    else commands.push(...serviceRepairs(want, service, verdict));
  }
  return {
    commands,
    missing: [...wanted].filter(([key]) => !actual.has(key)).map(([, service]) => service),
  };
}

/** The line for `ipvsadm` that sets the time-outs; null when they are as the spec wants them. */
export function timeoutRepair(spec: AmphoraSpec, now: Timeouts | null): string | null {
  const { lvs_tcp_timeout: tcp, lvs_tcpfin_timeout: tcpfin, lvs_udp_timeout: udp } = spec;
  const agree = now !== null && now.tcp === tcp && now.tcpfin === tcpfin && now.udp === udp;
  return agree ? null : `--set ${tcp} ${tcpfin} ${udp}`;
}

function serviceRepairs(want: IpvsService, actual: TableService, verdict: Verdict): string[] {
  const commands: string[] = [];
  const key = serviceKey(want);
  const service = serviceWords(want);
  if (howOf(want) !== howOf(actual)) commands.push(`-E ${service} ${howOf(want)}`);
  const destinations = new Map(actual.destinations.map((each) => [endpoint(each), each]));
  const members = want.members.map((member) => {
    const address = ipaddr.parse(member.address).toString();
    const port = member.protocol_port;
    const at = endpoint({ address, port });
    const present = destinations.get(at);
    destinations.delete(at);
    return { member, at, present, up: verdict(key, address, port) ?? present !== undefined };
  });
  const served = members.some(({ member, up }) => up && weightOf(member) > 0);
  for (const { member, at, present, up } of members) {
    const weight = member.backup && member.admin_state_up && !served ? member.weight : weightOf(member);
    if (!up) {
      if (present !== undefined) commands.push(`-d ${service} -r ${at}`);
    } else if (present === undefined) {
      commands.push(`-a ${service} -r ${at} -m -w ${weight}`);
    } else if (present.weight !== weight) {
      commands.push(`-e ${service} -r ${at} -m -w ${weight}`);
    }
  }
  // what is left is no member's
  for (const at of destinations.keys()) commands.push(`-d ${service} -r ${at}`);
  return commands;
}

const SERVICE_OPTIONS: Readonly<Record<string, string>> = { TCP: "-t", UDP: "-u", SCTP: "--sctp-service" };

function serviceWords({ transport, vip, port }: Pick<TableService, "transport" | "vip" | "port">): string {
  return `${SERVICE_OPTIONS[transport] ?? "-t"} ${endpoint({ address: vip, port })}`;
}

function endpoint({ address, port }: Pick<Destination, "address" | "port">): string {
  return `${address.includes(":") ? `[${address}]` : address}:${port}`;
}

/** How a service is scheduled, in the words of ipvsadm. */
function howOf({ scheduler, persistence }: Pick<TableService, "scheduler" | "persistence">): string {
  const words = [`-s ${scheduler.name}`];
  if (persistence !== null) {
    words.push(`-p ${persistence.timeout}`);
    if (!isWhole(persistence.granularity)) words.push(`-M ${persistence.granularity}`);
  }
  if (scheduler.flags.length > 0) words.push(`-b ${[...scheduler.flags].sort().join(",")}`);
  return words.join(" ");
}

/** The whole address is one client: what ipvsadm does not say. */
function isWhole(granularity: string | null): boolean {
  return granularity === null || granularity === "255.255.255.255" || granularity === "128";
}
