// An upstream on Node's http: says how it reads each request, as a line of JSON (see readers.py). Arguments: the port, the file.
import fs from "node:fs";
import http from "node:http";
import url from "node:url";

const out = fs.openSync(process.argv[3], "a", 0o600);
const decoded = (path) => path.replace(/%([0-9a-f]{2})/gi, (_, digits) => String.fromCharCode(parseInt(digits, 16)));

const server = http.createServer((request, response) => {
  const pieces = [];
  request.on("error", () => {});
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    const fields = {};
    const raw = [...request.rawHeaders, ...request.rawTrailers];
    for (let at = 0; at < raw.length; at += 2) (fields[raw[at].toLowerCase()] ??= []).push(raw[at + 1]);
    const paths = { url: decoded(request.url.split("?")[0]), "url.parse": decoded(url.parse(request.url).pathname ?? "") };
    const hosts = { host: request.headers.host ?? "" };
    try {
      const read = new URL(request.url, `http://${request.headers.host}`);
      paths["new URL"] = decoded(read.pathname);
      hosts["new URL"] = read.host;
    } catch {
      // No reading, no disagreement.
    }
    const id = request.headers["x-request-id"] ?? "";
    const body = Buffer.concat(pieces).toString("latin1");
    fs.writeSync(out, JSON.stringify({ id, methods: { method: request.method }, target: request.url, paths, hosts, fields, body }) + "\n");
    response.setHeader("Content-Length", id.length);
    response.end(request.method === "HEAD" ? undefined : id);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(Number(process.argv[2]), "127.0.0.1");
