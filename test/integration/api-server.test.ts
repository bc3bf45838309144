import { connect } from "node:net";
import t, { type Test } from "tap";
import { ApiServer, PortError } from "../../controller/api/server.ts";
import { until } from "../support/deployment.ts";

/** One per test: what one test's client keeps open is not the next one's. */
let port = 9876;

t.test("until there is somebody to answer, clients are asked to come again", async (t) => {
  const { server, url } = await listening(t);
  const answer = await fetch(url);
  t.equal(answer.status, 503);
  t.equal(answer.headers.get("retry-after"), "1");
  t.match(await answer.json(), { error: { code: 503 }, faultcode: "Server", faultstring: "The server is starting." });
  server.serve((_request, response) => response.end("here"));
  t.equal(await (await fetch(url)).text(), "here");
});

t.test("a port in another's hands is told, with what to do", async (t) => {
  await listening(t);
  const message = `port ${port} on 127.0.0.1 is taken: choose another with --port`;
  await t.rejects(new ApiServer().listen("127.0.0.1", port), { constructor: PortError, message });
  await t.rejects(new ApiServer().listen("192.0.2.1", port), {
    constructor: PortError,
    message: /^listen: 192\.0\.2\.1 is no address of this host$/,
  });
});

t.test("a server that closes answers what it has begun with, and takes nothing more", async (t) => {
  const { server, url } = await listening(t);
  let begun = false;
  const gate = Promise.withResolvers<void>();
  server.serve(async (_request, response) => {
    begun = true;
    await gate.promise;
    response.end("after all");
  });
  const answer = fetch(url);
  await until("the request has come in", async () => begun);
  const closed = server.close();
  await t.rejects(fetch(url));
  gate.resolve();
  t.equal(await (await answer).text(), "after all");
  await closed;
});

t.test("a client that never ends its request does not keep the server", async (t) => {
  const { server } = await listening(t);
  const socket = connect(port, "127.0.0.1");
  t.teardown(() => socket.destroy());
  socket.on("error", () => undefined);
  socket.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n");
  let begun = false;
  server.serve(() => {
    begun = true;
  });
  await until("the request has come in", async () => begun);
  const started = performance.now();
  await server.close(50);
  t.ok(performance.now() - started < 2000);
});

async function listening(t: Test) {
  const server = new ApiServer();
  await server.listen("127.0.0.1", ++port);
  t.teardown(() => server.close(0));
  return { server, url: `http://127.0.0.1:${port}/` };
}
