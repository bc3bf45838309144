/**
 * A member that tells each client the address that it sees, and that client.
 *   echo.ts serve PORT                        over TCP and UDP
 *   echo.ts ask tcp|udp ADDRESS PORT          prints the answer
 */
import { createSocket } from "node:dgram";
import { connect, createServer } from "node:net";

const LIMIT = 10_000;
const [mode, ...args] = process.argv.slice(2);

if (mode === "serve") {
  const port = Number(args[0]);
  createServer((socket) => socket.end(socket.remoteAddress ?? "")).listen(port, "0.0.0.0");
  const socket = createSocket("udp4");
  socket.on("message", (_, { address, port: from }) => socket.send(address, from, address));
  socket.bind(port);
} else {
  const [protocol, address = "", port] = args;
  setTimeout(() => {
    console.error(`no answer from ${address}:${port} over ${protocol}`);
    process.exit(1);
  }, LIMIT).unref();
  if (protocol === "tcp") connect(Number(port), address).pipe(process.stdout);
  else {
    const socket = createSocket("udp4");
    socket.on("message", (answer) => {
      process.stdout.write(answer);
      socket.close();
    });
    socket.send("hello", Number(port), address);
  }
}
