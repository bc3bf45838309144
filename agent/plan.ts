/** How a new spec reaches a HAProxy that runs an older one: decided here, as data, before anything is done. */
import { isDeepStrictEqual } from "node:util";
import type { BackendView, ServerView } from "../templates/haproxy/backend.ts";
import { certificateFile, tlsFiles } from "../templates/haproxy/tls.ts";
import { type HaproxyView, haproxyView } from "../templates/haproxy.ts";
import type { AmphoraSpec } from "../templates/spec.ts";

export type HaproxyPlan =
  | { readonly how: "none" }
  | { readonly how: "runtime"; readonly changes: readonly RuntimeChange[] }
  | { readonly how: "reload" };

/** What a running worker is told over its socket. */
export type RuntimeChange =
  | { readonly kind: "certificate"; readonly file: string; readonly pem: string }
  | {
      readonly kind: "add";
      readonly backend: string;
      readonly server: ServerView;
      /** all its words: a new server does not take the backend's defaults */
      readonly options: string;
      /** whether clients know servers by cookies */
      readonly cookies: boolean;
    }
  | { readonly kind: "remove"; readonly backend: string; readonly server: string }
  | { readonly kind: "address"; readonly backend: string; readonly server: ServerView }
  | { readonly kind: "weight"; readonly backend: string; readonly server: ServerView }
  | { readonly kind: "state"; readonly backend: string; readonly server: ServerView };

/**
 * @param running the spec that HAProxy serves now
 * @returns `none` also when members have changed nothing but places; `runtime` when the two differ only in what a worker
 * can change while it serves
 */
export function planHaproxy(running: AmphoraSpec, next: AmphoraSpec): HaproxyPlan {
  const before = haproxyView(running);
  const after = haproxyView(next);
  const certificates = certificateChanges(running, next);
  if (certificates === null || !sameStructure(before, after)) return { how: "reload" };
  const changes: RuntimeChange[] = [...certificates];
  for (const [i, backend] of after.backends.entries()) {
    const old = before.backends[i];
    const found = old === undefined ? null : serverChanges(old, backend);
    if (found === null) return { how: "reload" };
    changes.push(...found);
  }
  return changes.length === 0 ? { how: "none" } : { how: "runtime", changes };
}

/** Whether two configurations differ in nothing but the servers of their backends. */
function sameStructure(before: HaproxyView, after: HaproxyView): boolean {
  const structure = ({ backends, ...rest }: HaproxyView) => [rest, backends.map(({ servers: _, ...each }) => each)];
  return isDeepStrictEqual(structure(before), structure(after));
}

/** What turns one backend's servers into the other's; null when that takes a reload. */
function serverChanges(before: BackendView, after: BackendView): RuntimeChange[] | null {
  const backend = after.name;
  const old = new Map(before.servers.map((server) => [server.name, server]));
  const changes: RuntimeChange[] = [];
  for (const server of after.servers) {
    const was = old.get(server.name);
    old.delete(server.name);
    if (was === undefined) {
      const options = [server.options, after.defaults ?? ""].join(" ").trim();
      changes.push({ kind: "add", backend, server, options, cookies: after.cookieKey !== null });
      continue;
    }
    if (was.options !== server.options) return null;
    if (was.address !== server.address || was.port !== server.port) changes.push({ kind: "address", backend, server });
    if (was.weight !== server.weight) changes.push({ kind: "weight", backend, server });
    if (was.disabled !== server.disabled) changes.push({ kind: "state", backend, server });
  }
  // the last ones go when the new ones are there
  return [...changes, ...[...old.keys()].map((server) => ({ kind: "remove", backend, server }) as const)];
}

/** Certificates with another content; null when files come, go, or change that only a reload reads. */
function certificateChanges(running: AmphoraSpec, next: AmphoraSpec): RuntimeChange[] | null {
  const [before, after] = [tlsFiles(running), tlsFiles(next)];
  if (before.size !== after.size) return null;
  const certificates = new Set(next.certificates.map(({ id }) => certificateFile(id)));
  const changes: RuntimeChange[] = [];
  for (const [file, { content }] of after) {
    const was = before.get(file)?.content;
    if (was === content) continue;
    if (was === undefined || !certificates.has(file)) return null;
    changes.push({ kind: "certificate", file, pem: content });
  }
  return changes;
}
