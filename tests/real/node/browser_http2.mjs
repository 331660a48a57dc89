// Loads a page and opens a WebSocket in chromium; prints what it saw as JSON. Arguments: origin, SHA-256 of the public key that is
// trusted, file for chromium's own log of the network.
import path from "node:path";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
const { chromium } = createRequire(path.join(root, "target/browser/package.json"))("playwright-core");
const [origin, pin, netlog] = process.argv.slice(2);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", `--ignore-certificate-errors-spki-list=${pin}`, `--log-net-log=${netlog}`, "--net-log-capture-mode=IncludeSensitive"],
});
try {
  const page = await browser.newPage();
  await page.goto(`${origin}/index.html`, { waitUntil: "load" });
  const seen = await page.evaluate(async (url) => {
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    const echoes = [];
    await new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error("no echo")), 20_000);
      socket.onerror = () => reject(new Error("the WebSocket failed"));
      socket.onopen = () => (socket.send("hello over http/2"), socket.send(new Uint8Array(300_000)));
      socket.onmessage = ({ data }) => {
        echoes.push(typeof data === "string" ? data : data.byteLength);
        if (echoes.length === 2) (clearTimeout(late), resolve());
      };
    });
    const closed = new Promise((resolve) => (socket.onclose = ({ code, wasClean }) => resolve([code, wasClean])));
    socket.close(4000, "bye");
    return { page: performance.getEntriesByType("navigation")[0].nextHopProtocol, echoes, closed: await closed };
  }, `${origin.replace("https", "wss")}/echo`);
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
