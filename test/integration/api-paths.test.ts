import { randomUUID } from "node:crypto";
import { connect } from "node:net";
import t from "tap";
import { ADMIN, type Answer, LBAAS, startApi, type TestApi } from "../support/api.ts";
import { placesOf } from "../support/api-attributes.ts";
import { errorProblems } from "../support/api-errors.ts";
import { databases, SQLITE } from "../support/postgres.ts";

for (const database of databases(t)) {
  t.test(`${database.name}: an id that nothing has is answered with 404, whatever it looks like`, async (t) => {
    const api = await startApi(t, database);
    const { pool, listener, member } = await api.graph();
    const other = await api.graph();
    const odd = [
      "x",
      "0",
      "-1",
      "%00",
      "a%00b",
      "%F0%9F%92%A9",
      "%ZZ",
      "%E0%A4%A",
      "%27",
      "%22",
      "a%2Fb",
      "..%2F..",
      "%25",
    ];
    const ids = [randomUUID(), randomUUID().toUpperCase(), "x".repeat(10_000), ...odd, "null", "__proto__", "*", "a:b"];
    for (const id of ids) {
      const problems: string[] = [];
      const expect404 = async (method: string, path: string, body?: object) => {
        const told = errorProblems(await api.call(method, path, body), 404, "not found");
        problems.push(...told.map((problem) => `${method} ${path.slice(0, 60)}: ${problem}`));
      };
      for (const { resource, list } of placesOf(other)) {
        await expect404("GET", `${list}/${id}`);
        await expect404("PUT", `${list}/${id}`, { [resource.name]: {} });
        await expect404("DELETE", `${list}/${id}`);
      }
      for (const path of ["loadbalancers", "listeners"]) await expect404("GET", `/${path}/${id}/stats`);
      await expect404("PUT", `/loadbalancers/${id}/failover`);
      await expect404("GET", `/amphorae/${id}`);
      await expect404("GET", `/pools/${id}/members`);
      await expect404("GET", `/pools/${id}/members/${member}`);
      await expect404("POST", `/pools/${id}/members`, { member: { address: "10.0.0.1", protocol_port: 1 } });
      t.strictSame(problems, [], `the id ${id.slice(0, 40)}`);
    }
    t.equal((await api.call("GET", `/pools/${other.pool}/members/${member}`)).status, 404, "a member of another pool");
    t.equal((await api.call("GET", `/listeners/${pool}`)).status, 404, "an id of another kind");
    t.equal((await api.call("GET", `/pools/${listener}`)).status, 404, "an id of another kind");
  });
}

t.test("a path that takes other methods says which, and one that there is not is not found", async (t) => {
  const api = await startApi(t, SQLITE);
  const { lb, pool, member } = await api.graph();
  const paths: Record<string, string> = {
    "//": "GET HEAD",
    "/loadbalancers": "GET HEAD POST",
    [`/loadbalancers/${lb}`]: "DELETE GET HEAD PUT",
    [`/loadbalancers/${lb}/failover`]: "PUT",
    [`/loadbalancers/${lb}/stats`]: "GET HEAD",
    "/listeners/": "GET HEAD POST",
    [`/pools/${pool}/members`]: "GET HEAD POST PUT",
    [`/pools/${pool}/members/${member}`]: "DELETE GET HEAD PUT",
    "/amphorae": "GET HEAD",
  };
  for (const [path, methods] of Object.entries(paths)) {
    for (const method of ["POST", "PUT", "DELETE", "PATCH"].filter((each) => !methods.includes(each))) {
      const answer = await api.call(method, path, {});
      t.strictSame(errorProblems(answer, 405, method), [], `${method} ${path}`);
      t.equal(allowed(answer), methods);
    }
    const options = await api.call("OPTIONS", path, undefined, { token: "" });
    t.equal(options.status, 200);
    t.equal(allowed(options), methods, `OPTIONS ${path}`);
  }
  for (const path of [
    "/nothing",
    `/loadbalancers/${lb}/nothing`,
    `/pools/${pool}/members/${member}/x`,
    "//v3",
    "//v2.0x",
  ]) {
    for (const method of ["GET", "POST", "DELETE", "OPTIONS"]) {
      t.strictSame(errorProblems(await api.call(method, path), 404), [], `${method} ${path}`);
    }
  }
});

t.test("HEAD is answered as GET is, without the body", async (t) => {
  const api = await startApi(t, SQLITE);
  const { lb } = await api.graph();
  for (const path of ["/loadbalancers", `/loadbalancers/${lb}`, `/loadbalancers/${randomUUID()}`, "//"]) {
    const [head, get] = [await api.call("HEAD", path), await api.call("GET", path)];
    t.equal(head.status, get.status, path);
    t.equal(head.text, "");
    t.equal(head.headers.get("content-type"), get.headers.get("content-type"));
    t.equal(Number(head.headers.get("content-length")), Buffer.byteLength(get.text));
  }
});

t.test("requests that browsers and libraries never send are answered too", async (t) => {
  const api = await startApi(t, SQLITE);
  const { lb } = await api.graph();
  const token = `X-Auth-Token: ${ADMIN}\r\n`;
  const cases: [number, string][] = [
    [200, `GET ${LBAAS}/loadbalancers HTTP/1.0\r\n${token}\r\n`],
    [200, `GET ${LBAAS}/loadbalancers?limit=1 HTTP/1.0\r\n${token}\r\n`],
    [200, `GET ${LBAAS}/loadbalancers/${lb} HTTP/1.1\r\nHost: [\r\n${token}\r\n`],
    [200, `GET ${LBAAS}/loadbalancers HTTP/1.1\r\nHost: a b\r\n${token}\r\n`],
    [200, `GET http://elsewhere${LBAAS}/loadbalancers HTTP/1.1\r\nHost: x\r\n${token}\r\n`],
    [400, `GET ${LBAAS}/loadbalancers?limit=%00&&&=&%ZZ HTTP/1.1\r\nHost: x\r\n${token}\r\n`],
    [404, `GET //x${LBAAS}/loadbalancers HTTP/1.1\r\nHost: x\r\n${token}\r\n`],
    [404, `GET ${LBAAS}/../../etc/passwd HTTP/1.1\r\nHost: x\r\n${token}\r\n`],
    [400, `GET ${LBAAS}/loadbalancers HTTP/1.1\r\n${token}\r\n`],
    [400, `BREW ${LBAAS}/loadbalancers HTTP/1.1\r\nHost: x\r\n${token}\r\n`],
    [400, `POST ${LBAAS}/loadbalancers HTTP/1.1\r\nHost: x\r\n${token}Content-Length: x\r\n\r\n`],
    [431, `GET ${LBAAS}/loadbalancers HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(20_000)}\r\n${token}\r\n`],
  ];
  for (const [status, request] of cases) t.equal(await send(api, request), status, request.slice(0, 60));
  t.equal((await api.call("GET", "/loadbalancers")).status, 200, "and others are still served");
});

function allowed({ headers }: Answer): string {
  return (headers.get("allow") ?? "").split(", ").sort().join(" ");
}

/** Sends bytes as they are, and gives the status of the answer. */
function send(api: TestApi, request: string): Promise<number> {
  const { hostname, port } = new URL(api.base);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), timeout: 5000 });
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk.toString();
      const status = /^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1];
      if (status === undefined) return;
      resolve(Number(status));
      socket.destroy();
    });
    socket.on("timeout", () => socket.destroy(new Error("no answer")));
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`closed after ${text}`)));
    socket.write(request);
  });
}
