/** What IPVS's table should be, against what it is: decided here, as data, before anything is done. */
import ipaddr from "ipaddr.js";
import { type IpvsService, ipvsServices, weightOf } from "../../templates/ipvs.ts";
import type { AmphoraSpec, MemberSpec } from "../../templates/spec.ts";
import { type Destination, serviceKey, type TableService, type Timeouts } from "./ipvs-table.ts";

export interface Repairs {
  /** each the words of an ipvsadm command */
  readonly commands: readonly string[];
  /** services that the table lacks: only keepalived can tell which of their members are up */
  readonly missing: readonly IpvsService[];
}

/**
 * What makes the table what the spec wants. Which members are in it is keepalived's to say; that no others are, and
 * which weight each has, is said here. A backup member has its weight only while no other member has one.
 */
export function repairsOf(spec: AmphoraSpec, table: readonly TableService[]): Repairs {
  const wanted = new Map(ipvsServices(spec).map((service) => [serviceKey(service), service]));
  const actual = new Map(table.map((service) => [serviceKey(service), service]));
  const commands: string[] = [];
  for (const [key, service] of actual) {
    const want = wanted.get(key);
    if (want === undefined) commands.push(`-D ${serviceWords(service)}`);
    else commands.push(...serviceRepairs(want, service));
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

function serviceRepairs(want: IpvsService, actual: TableService): string[] {
  const commands: string[] = [];
  if (howOf(want) !== howOf(actual)) commands.push(`-E ${serviceWords(want)} ${howOf(want)}`);
  const members = new Map(want.members.map((member) => [memberKey(member.address, member.protocol_port), member]));
  const present = actual.destinations.flatMap((destination) => {
    const member = members.get(memberKey(destination.address, destination.port));
    return member === undefined ? [] : [{ destination, member }];
  });
  const served = present.some(({ member }) => weightOf(member) > 0);
  for (const { destination, member } of present) {
    const weight = member.backup && member.admin_state_up && !served ? member.weight : weightOf(member);
    if (destination.weight === weight) continue;
    commands.push(`-e ${serviceWords(want)} -r ${endpoint(destination)} -m -w ${weight}`);
  }
  for (const destination of actual.destinations) {
    if (members.has(memberKey(destination.address, destination.port))) continue;
    commands.push(`-d ${serviceWords(want)} -r ${endpoint(destination)}`);
  }
  return commands;
}

function memberKey(address: MemberSpec["address"], port: number): string {
  return `${ipaddr.parse(address).toString()} ${port}`;
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
