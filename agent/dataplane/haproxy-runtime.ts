/** Changes of a running worker, as commands of its socket (management guide, 9.3 "Unix Socket commands"). */
import { backendsOf } from "../../templates/haproxy.ts";
import type { AmphoraSpec } from "../../templates/spec.ts";
import type { RuntimeChange } from "../plan.ts";
import type { Command } from "./haproxy-socket.ts";
import type { StatRow } from "./haproxy-stats.ts";

const silent = (line: string): Command => ({ line, answer: null });

/** @param certificatesDir where HAProxy has read its certificates */
export function commandsOf(change: RuntimeChange, certificatesDir: string): Command[] {
  switch (change.kind) {
    case "certificate": {
      const file = `${certificatesDir}/${change.file}`;
      return [
        { line: `set ssl cert ${file}`, payload: change.pem, answer: /^Transaction created/ },
        { line: `commit ssl cert ${file}`, answer: /^Success!$/m },
      ];
    }
    case "add": {
      const { backend, server, options } = change;
      const name = `${backend}/${server.name}`;
      const words = `${server.address}:${server.port} weight ${server.weight} ${options}`;
      return [
        { line: `add server ${name} ${words}`, answer: /^New server registered\.$/m },
        // HAProxy 2.6 gives a new server its cookie only when asked for all of them again
        ...(change.cookies ? [silent(`enable dynamic-cookie backend ${backend}`)] : []),
        ...(/ check( |$)/.test(options) ? [silent(`enable health ${name}`)] : []),
        ...(server.disabled ? [] : [silent(`enable server ${name}`)]),
      ];
    }
    case "remove": {
      const name = `${change.backend}/${change.server}`;
      // connections to it go on to their end; once it has none, it can be removed
      return [silent(`set server ${name} state maint`), removal(name)];
    }
    case "address": {
      const { address, port, name } = change.server;
      const server = `${change.backend}/${name}`;
      return [
        { line: `set server ${server} addr ${bare(address)} port ${port}`, answer: /addr|port|IP/ },
        // what was found out about the old address is not true of the new one
        silent(`set server ${server} health up`),
      ];
    }
    case "weight":
      return [silent(`set server ${change.backend}/${change.server.name} weight ${change.server.weight}`)];
    case "state": {
      const state = change.server.disabled ? "maint" : "ready";
      return [silent(`set server ${change.backend}/${change.server.name} state ${state}`)];
    }
  }
}

/** Tries once more to remove servers that are none of the spec's: they had connections when their members went. */
export function removalsOf(spec: AmphoraSpec, rows: readonly StatRow[]): Command[] {
  const members = new Map(
    [...backendsOf(spec)].map(([name, { pool }]) => [name, new Set(pool.members.map(({ id }) => id))]),
  );
  return rows
    .filter(({ proxy, server }) => server !== "FRONTEND" && members.get(proxy)?.has(server) === false)
    .map(({ proxy, server }) => removal(`${proxy}/${server}`));
}

/** Removes a server that is in maintenance; refused as long as it has connections. */
function removal(name: string): Command {
  return { line: `del server ${name}`, answer: /^Server deleted\.$/m, optional: true };
}

/** `set server … addr` takes an IPv6 address without brackets. */
function bare(address: string): string {
  return address.replace(/^\[(.*)\]$/, "$1");
}
