// Logs in at ORIGIN (its host on loopback, whatever its name) as USER, watches the text of #seen, and says on standard output each
// text that it has. The password comes on standard input. Ends when standard input does.
import path from "node:path";
import { createRequire } from "node:module";
import readline from "node:readline/promises";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const { chromium } = createRequire(path.join(root, "target/browser/package.json"))("playwright-core");
const [origin, user] = process.argv.slice(2);
const input = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { value: password } = await input.next();

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", `--host-resolver-rules=MAP ${new URL(origin).hostname} 127.0.0.1`],
});
try {
  const page = await browser.newPage();
  await page.goto(origin);
  await page.fill("input[name=username]", user);
  await page.fill("input[name=password]", password);
  await page.click("button[type=submit]");
  await page.exposeFunction("say", (text) => console.log(JSON.stringify(text)));
  await page.waitForFunction(() => document.querySelector("#seen")?.textContent);
  await page.evaluate(() => {
    const seen = document.querySelector("#seen");
    window.loads = 1;
    const tell = () => window.say({ text: seen.textContent, loads: window.loads });
    new MutationObserver(tell).observe(seen, { childList: true, characterData: true, subtree: true });
    tell();
  });
  while (!(await input.next()).done);
} finally {
  await browser.close();
}
