/**
 * What keepalived says of members the moment it finds out (keepalived.conf(5), lvs_notify_fifo): a line for each that is
 * added to a service or removed from it. The pipe is the agent's: what is said while no agent reads waits in it.
 */
import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { rm } from "node:fs/promises";
import { Socket } from "node:net";
import ipaddr from "ipaddr.js";
import { run } from "./inside.ts";
import { serviceKey } from "./ipvs-table.ts";

/** A line is some 100 bytes; what is longer is no line of keepalived's. */
const MAX_LINE = 1024;

export interface MemberEvent {
  /** of the service, as `serviceKey` gives it */
  readonly service: string;
  readonly address: string;
  readonly port: number;
  readonly up: boolean;
}

/** The one name of a member of a service. */
export function memberKey(service: string, address: string, port: number): string {
  return `${service} ${address} ${port}`;
}

/** `RS [10.0.0.2]:tcp:8080 [10.0.0.1]:tcp:80 UP`; null for whatever else. Exported for tests. */
export function parseEvent(line: string): MemberEvent | null {
  const found = /^RS \[(\S+)\]:\w+:(\d+) \[(\S+)\]:(\w+):(\d+) (UP|DOWN)$/.exec(line);
  if (found === null) return null;
  const [, address = "", port, vip = "", transport = "", vipPort, state] = found;
  if (!ipaddr.isValid(address) || !ipaddr.isValid(vip)) return null;
  return {
    service: serviceKey({
      transport: transport.toUpperCase(),
      vip: ipaddr.parse(vip).toString(),
      port: Number(vipPort),
    }),
    address: ipaddr.parse(address).toString(),
    port: Number(port),
    up: state === "UP",
  };
}

export class MemberEvents {
  readonly #path: string;
  readonly #onEvent: () => void;
  readonly #verdicts = new Map<string, boolean>();
  #pipe: Socket | null = null;
  #rest = "";

  /** @param onEvent called after lines were taken in */
  constructor(path: string, onEvent: () => void) {
    this.#path = path;
    this.#onEvent = onEvent;
  }

  /** Makes the pipe if it is missing, and begins to read. @throws {CommandError} */
  async open(): Promise<void> {
    if (this.#pipe !== null) return;
    const fd = (await this.#openPipe()) ?? (await this.#makePipe());
    this.#pipe = new Socket({ fd, readable: true, writable: false }).setEncoding("utf8");
    this.#pipe.on("data", (text: string) => this.#take(text));
    this.#pipe.on("error", () => this.close());
    // it does not keep the agent from ending
    this.#pipe.unref();
  }

  close(): void {
    this.#pipe?.destroy();
    this.#pipe = null;
  }

  /** What keepalived last said of a member of a service; undefined when it has not said anything. */
  verdict(service: string, address: string, port: number): boolean | undefined {
    return this.#verdicts.get(memberKey(service, address, port));
  }

  /** A keepalived that is about to start knows nothing yet. */
  forget(): void {
    this.#verdicts.clear();
  }

  /** What was said of others is forgotten: when they are members again, it would no longer be true. */
  keepOnly(members: ReadonlySet<string>): void {
    for (const key of this.#verdicts.keys()) if (!members.has(key)) this.#verdicts.delete(key);
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = (lines.pop() ?? "").slice(0, MAX_LINE);
    for (const line of lines) {
      const event = parseEvent(line);
      if (event !== null) this.#verdicts.set(memberKey(event.service, event.address, event.port), event.up);
    }
    this.#onEvent();
  }

  /** Null when there is none, or something else in its place. Open for writing as well, it never comes to an end. */
  async #openPipe(): Promise<number | null> {
    let fd: number;
    try {
      fd = openSync(this.#path, constants.O_RDWR | constants.O_NONBLOCK);
    } catch {
      return null;
    }
    if (fstatSync(fd).isFIFO()) return fd;
    closeSync(fd);
    return null;
  }

  async #makePipe(): Promise<number> {
    await rm(this.#path, { force: true });
    await run(["mkfifo", "-m", "600", this.#path]);
    return openSync(this.#path, constants.O_RDWR | constants.O_NONBLOCK);
  }
}
