// The npm `ws` server: echoes messages, obeys a few words, and prints what becomes of each connection. Argument: the port.
import path from "node:path";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
const { WebSocketServer } = createRequire(path.join(root, "target/real-node/package.json"))("ws");

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  perMessageDeflate: { threshold: 0 },
  handleProtocols: (offered) => (offered.has("chat.v2") ? "chat.v2" : false),
});
server.on("connection", (socket, request) => {
  const path = request.url;
  console.log(`open ${path} user=${request.headers["remote-user"] ?? "-"}`);
  socket.on("message", (data, isBinary) => {
    const said = isBinary ? "" : data.toString();
    if (said === "please terminate") socket.terminate();
    else if (said.startsWith("please close ")) socket.close(Number(said.split(" ")[2]), said.split(" ").slice(3).join(" "));
    else socket.send(data, { binary: isBinary });
  });
  socket.on("error", () => {});
  socket.on("close", (code) => console.log(`close ${path} ${code}`));
});
