/** Connections of an amphora, live and ended, wherever they are known. */
import type { AmphoraSpec } from "../../templates/spec.ts";
import { sessions } from "../dataplane/haproxy-sessions.ts";
import { showProcesses } from "../dataplane/haproxy-socket.ts";
import { forwardedConnections } from "./forwarded.ts";
import { type Connection, type ConnectionFilter, matches } from "./protocol.ts";
import type { Sources } from "./question.ts";
import type { Ring } from "./ring.ts";
import { Served } from "./served.ts";

export interface Places {
  readonly namespace: string;
  /** HAProxy's master socket */
  readonly haproxySocket: string;
  /** null: what has ended is not remembered here */
  readonly ring: Ring | null;
}

/** Where the connections of a spec are read. */
export function sourcesOf(spec: AmphoraSpec, { namespace, haproxySocket, ring }: Places): Sources {
  return {
    forwarded: (listenerId, filter) => forwardedConnections(namespace, spec, listenerId, filter),
    served: (listenerIds, filter) => servedConnections(haproxySocket, spec, listenerIds, filter),
    ended: (listenerIds, filter) => ring?.find(listenerIds, filter) ?? [],
  };
}

/** @throws {HaproxyError} when HAProxy does not answer */
async function* servedConnections(
  socket: string,
  spec: AmphoraSpec,
  listenerIds: ReadonlySet<string>,
  filter: ConnectionFilter,
): AsyncGenerator<Connection[]> {
  const served = new Served(spec);
  const { worker, oldWorkers } = await showProcesses(socket);
  for (const each of [...(worker === null ? [] : [worker]), ...oldWorkers]) {
    for await (const batch of sessions(socket, each)) {
      const now = Date.now();
      yield batch.flatMap((session) => {
        const one = served.connectionOf(session, each, now);
        return one !== null && listenerIds.has(one.listener_id) && matches(filter, one) ? [one] : [];
      });
    }
  }
}
