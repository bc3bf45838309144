/** Commands to HAProxy: whole answers or an error, in good time, and nothing that could be a second command. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { ask, type Command, HaproxyError, tell } from "../../agent/dataplane/haproxy-socket.ts";

t.test("one line goes out, the whole answer comes back", async (t) => {
  const { path, lines } = await listen(t, (socket) => {
    socket.write("first part, ");
    setImmediate(() => socket.end("second part\n"));
  });
  t.equal(await ask(path, "show proc"), "first part, second part\n");
  t.strictSame(lines, ["show proc"]);
});

t.test("a line end would be a second command: it is not sent", async (t) => {
  const { path, lines } = await listen(t, (socket) => socket.end("\n"));
  for (const line of ["a\nb", "a\r", "a\n"]) t.throws(() => ask(path, line), RangeError);
  await ask(path, "last");
  t.strictSame(lines, ["last"]);
});

t.test("nobody there, or no answer in time, is an error that names the socket", async (t) => {
  const nowhere = "/nowhere/socket";
  await t.rejects(ask(nowhere, "show proc"), { name: "HaproxyError", message: new RegExp(`^${nowhere}: .*ENOENT`) });
  const { path } = await listen(t, () => undefined);
  await t.rejects(ask(path, "show proc", 50), { name: "HaproxyError", message: `${path}: no answer within 50 ms` });
});

t.test("changes are told to the serving worker, many in one line", async (t) => {
  const { path, lines } = await listen(t, (socket, line) => socket.end("\n".repeat(line.split("; ").length)));
  await tell(path, numbered(130));
  t.strictSame(
    lines.map((line) => line.split("; ").length),
    [64, 64, 2],
  );
  t.strictSame(
    lines.flatMap((line) => line.split("; ")),
    numbered(130).map(({ line }) => `@1 ${line}`),
  );
});

t.test("the line of the longest commands fits HAProxy's buffer", async (t) => {
  const { path, lines } = await listen(t, (socket) => socket.end("\n"));
  const id = "00000000-0000-4000-8000-000000000000";
  await tell(
    path,
    Array(64).fill({ line: `set server ${id}:http:2147483647:2147483647/${id} state ready`, answer: null }),
  );
  t.ok(Buffer.byteLength(lines[0] ?? "") < 16_384);
});

t.test("a change that was refused is an error in HAProxy's words, and no more are told", async (t) => {
  const { path, lines } = await listen(t, (socket) => socket.end("\nNo such server.\n\n\n"));
  await t.rejects(tell(path, numbered(130)), { name: "HaproxyError", message: /refused a change: No such server\.$/ });
  t.equal(lines.length, 1);
});

t.test("a command that answers goes out alone, and its answer must be the one expected", async (t) => {
  const { path, lines } = await listen(t, (socket, line) => socket.end(line.includes("add") ? "Added.\n" : "\n"));
  const add: Command = { line: "add server a/b", answer: /^Added\.$/m };
  await tell(path, [...numbered(2), add, ...numbered(2)]);
  t.strictSame(
    lines.map((line) => line.split("; ").length),
    [2, 1, 2],
  );
  await t.rejects(tell(path, [{ ...add, answer: /^Removed/ }]), { name: "HaproxyError", message: /Added\./ });
});

t.test("what may be refused may be", async (t) => {
  const { path } = await listen(t, (socket) => socket.end("Server still has connections.\n"));
  await t.resolves(tell(path, [{ line: "del server a/b", answer: /^Deleted/, optional: true }]));
});

t.test("a payload goes out after its command, and ends with an empty line", async (t) => {
  const { path, text } = await listen(t, (socket, line) => line.endsWith("two") && socket.end("Taken.\n"));
  await tell(path, [{ line: "set ssl cert a.pem", payload: "one\ntwo\n", answer: /^Taken/ }]);
  t.equal(text(), "@1 set ssl cert a.pem <<\none\ntwo\n\n");
});

t.test("a payload that would end early, or does not fit, is not sent, and shown in no error", async (t) => {
  const { path, lines } = await listen(t, (socket) => socket.end("\n"));
  const command = { line: "set ssl cert a.pem", answer: null };
  for (const payload of ["secret\n\nshow stat\n", "\nsecret", "secret\r\n\r\n"]) {
    const error = await tell(path, [{ ...command, payload }]).catch((error: Error) => error);
    t.match(error, { name: "RangeError" });
    t.notMatch(String(error), /secret/);
  }
  await t.rejects(tell(path, [{ ...command, payload: "x".repeat(16_384) }]), {
    name: "HaproxyError",
    message: /16384/,
  });
  await ask(path, "last");
  t.strictSame(lines, ["last"]);
});

t.test("a worker that ends amid a change has not taken it", async (t) => {
  const { path } = await listen(t, (socket) => socket.end());
  await t.rejects(tell(path, numbered(1)), HaproxyError);
});

t.test("no changes, no call", async (t) => {
  await t.resolves(tell("/nowhere/socket", []));
});

function numbered(count: number): Command[] {
  return Array.from({ length: count }, (_, i) => ({ line: `set server pool/member${i} weight 1`, answer: null }));
}

/** A socket that answers each line so, and keeps the lines. */
async function listen(
  t: Test,
  answer: (socket: Socket, line: string) => void,
): Promise<{ readonly path: string; readonly lines: string[]; readonly text: () => string }> {
  // not in the test's own folder: the path of a UNIX socket has at most 107 bytes
  const folder = await mkdtemp(join(tmpdir(), "amphora-"));
  const path = join(folder, "socket");
  const lines: string[] = [];
  const sockets: Socket[] = [];
  let all = "";
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    let text = "";
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      all += chunk;
      if (!text.endsWith("\n")) return;
      lines.push(text.trimEnd());
      answer(socket, text.trimEnd());
    });
  });
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
    return rm(folder, { recursive: true });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return { path, lines, text: () => all };
}
