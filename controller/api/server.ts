/** The listening side of the API: takes its port first, and answers 503 until there is somebody to answer. */
import { createServer, type RequestListener, type Server } from "node:http";
import { errorBody } from "./errors.ts";

const REQUEST_LIMIT = 60_000;
const HEADERS_LIMIT = 10_000;

/** The API's port can't be listened on. */
export class PortError extends Error {
  override readonly name = "PortError";
}

export class ApiServer {
  readonly #server: Server;
  #handler: RequestListener = (_request, response) => {
    response.writeHead(503, { "content-type": "application/json", "retry-after": "1" });
    response.end(JSON.stringify(errorBody(503, "The server is starting.")));
  };

  constructor() {
    this.#server = createServer({ requestTimeout: REQUEST_LIMIT, headersTimeout: HEADERS_LIMIT }, (request, response) =>
      this.#handler(request, response),
    );
  }

  /** @param port 0: any that is free. @returns the port. @throws {PortError} */
  listen(address: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException) => {
        const problems = new Map([
          ["EADDRINUSE", `port ${port} on ${address} is taken: choose another with --port`],
          ["EADDRNOTAVAIL", `listen: ${address} is no address of this host`],
          ["EACCES", `port ${port} may not be listened on by this user: choose another with --port`],
        ]);
        reject(new PortError(problems.get(error.code ?? "") ?? `port ${port} on ${address}: ${error.message}`));
      };
      this.#server.once("error", failed);
      this.#server.listen(port, address, () => {
        this.#server.off("error", failed);
        const bound = this.#server.address();
        resolve(typeof bound === "object" && bound !== null ? bound.port : port);
      });
    });
  }

  serve(handler: RequestListener): void {
    this.#handler = handler;
  }

  /** Takes no more requests, and lets those under way finish for up to `patience` ms. */
  async close(patience = 3000): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeIdleConnections();
    const timer = setTimeout(() => this.#server.closeAllConnections(), patience);
    await closed;
    clearTimeout(timer);
  }
}
