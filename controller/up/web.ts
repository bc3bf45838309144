/** A demo member: a web server that says its name. `node web.ts NAME ADDRESS PORT` */
import { createServer } from "node:http";

const [name = "", address = "", port = ""] = process.argv.slice(2);
createServer((_request, response) => {
  response.writeHead(200, { "content-type": "text/plain" });
  response.end(`${name}\n`);
}).listen(Number(port), address);
