/**
 * A fake of OpenStack's network service (Neutron): the look-ups by which command lines turn names into ids, and nothing
 * behind them.
 */
import { createServer } from "node:http";
import type { Scope } from "./scope.ts";

const ADDRESS = "127.0.0.1";
const PORT = 9696;
/** What can be looked up, by path. */
const KINDS = {
  "/v2.0/networks": "networks",
  "/v2.0/subnets": "subnets",
  "/v2.0/ports": "ports",
  "/v2.0/qos/policies": "policies",
} as const;

export type FakeNetworks = { readonly [kind in (typeof KINDS)[keyof typeof KINDS]]?: readonly FakeObject[] };

export interface FakeObject {
  readonly id: string;
  readonly name: string;
}

/** Serves until the test ends. @returns the URL for the catalogue */
export async function startFakeNeutron(t: Scope, known: FakeNetworks): Promise<string> {
  const base = `http://${ADDRESS}:${PORT}`;
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", base);
    const answer = (status: number, body: unknown) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    };
    if (pathname === "/") return answer(200, versions(base));
    if (request.headers["x-auth-token"] === undefined) return answer(401, {});
    const kind = Object.entries(KINDS).find(([path]) => path === pathname)?.[1];
    if (request.method !== "GET" || kind === undefined) return answer(404, {});
    const wanted = ({ id, name }: FakeObject) =>
      id === (searchParams.get("id") ?? id) && name === (searchParams.get("name") ?? name);
    return answer(200, { [kind]: (known[kind] ?? []).filter(wanted) });
  });
  await new Promise<void>((resolve) => server.listen(PORT, ADDRESS, resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return base;
}

function versions(base: string) {
  return { versions: [{ id: "v2.0", status: "CURRENT", links: [{ rel: "self", href: `${base}/v2.0/` }] }] };
}
