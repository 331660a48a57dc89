// Drives /usr/bin/chromium through the whole round trip against `fluidgate demo`.
// `--screenshots` also writes a picture of each page, light, dark and phone-wide, to docs/images/.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, mkdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
// Installed under target/ by ./scripts/test, so that the source tree stays clean.
const { chromium } = createRequire(path.join(root, "target/browser/package.json"))("playwright-core");
const binary = process.env.FLUIDGATE ?? path.join(root, "target/release/fluidgate");
const images = path.join(root, "docs/images");
const withScreenshots = process.argv.includes("--screenshots");
const PATIENCE = 15_000;

// Starts the demo and gives what it printed: { url, user, password }. Of a state folder that was used before, the password
// may be known as a hash alone; then only the address is waited for.
async function startDemo(state, listen) {
  const more = listen ? ["--listen", listen] : [];
  const child = spawn(binary, ["demo", "--state", state, ...more], { stdio: ["ignore", "pipe", "pipe"] });
  const demo = { child, said: "", state };
  await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`demo not ready after 30 s:\n${demo.said}`)), 30_000);
    const finish = (outcome) => (value) => (clearTimeout(late), outcome(value));
    child.on("error", finish(reject));
    child.on("exit", (code) => finish(reject)(new Error(`demo ended with ${code}:\n${demo.said}`)));
    child.stderr.on("data", (piece) => (demo.said += piece));
    child.stdout.on("data", (piece) => {
      demo.said += piece;
      for (const key of ["url", "user", "password"]) demo[key] = new RegExp(`^${key}: (\\S+)\\s*\\n`, "m").exec(demo.said)?.[1];
      if (demo.url && (listen || (demo.user && demo.password))) finish(resolve)();
    });
  });
  demo.url = new URL(demo.url).origin;
  return demo;
}

async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const hard = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await gone;
  clearTimeout(hard);
}

const onLoginPage = (page) => new URL(page.url()).pathname === "/_auth/login";

async function logInByKeyboard(page, user, password) {
  await page.locator("input[name=username]").focus();
  await page.keyboard.type(user);
  await page.keyboard.press("Tab");
  // A field may have a control of its own between the two, so tab until the password has the focus.
  for (let step = 0; step < 3 && (await page.evaluate(focusedName)) !== "password"; step++) await page.keyboard.press("Tab");
  await page.keyboard.type(password);
  await page.keyboard.press("Enter");
}
const focusedName = () => document.activeElement?.getAttribute("name");

// The names of our cookie that a context holds.
async function ourCookies(context) {
  return (await context.cookies()).map((cookie) => cookie.name).filter((name) => /^(__Host-)?fluidgate$/.test(name));
}

async function whoami(context, demo) {
  return (await context.request.get(`${demo.url}/_auth/whoami`, { headers: { accept: "application/json" } })).status();
}

async function openApp(context, demo, where = "/") {
  const page = await context.newPage();
  await page.goto(demo.url + where, { waitUntil: "load" });
  return page;
}

async function loggedIn(context, demo, where = "/") {
  const page = await openApp(context, demo, where);
  await page.fill("input[name=username]", demo.user);
  await page.fill("input[name=password]", demo.password);
  await page.click("form button:not([type=button])");
  await page.waitForURL((url) => !url.pathname.startsWith("/_auth/"));
  return page;
}

async function logOut(page, demo) {
  await page.goto(`${demo.url}/_auth/logout`);
  assert.equal(await whoami(page.context(), demo), 200, "GET of the logout page must not end the session");
  await Promise.all([page.waitForNavigation({ waitUntil: "load" }), page.click("form button:not([type=button])")]);
}

const tests = {
  async "an app page sends a stranger to the login page"({ context, demo }) {
    const page = await openApp(context, demo, "/deep/page?a=1&b=two%20words");
    assert.ok(onLoginPage(page), page.url());
    assert.equal(await page.locator("input[name=username]").count(), 1);
    assert.equal(await page.locator("input[name=password]").getAttribute("type"), "password");
    assert.ok((await page.title()).length > 0);
  },

  async "a wrong password leaves one on the page with a message and no session"({ context, demo }) {
    const page = await openApp(context, demo);
    const before = await page.locator("body").innerText();
    await page.fill("input[name=username]", demo.user);
    await page.fill("input[name=password]", "not the password at all");
    await Promise.all([page.waitForNavigation({ waitUntil: "load" }), page.click("form button:not([type=button])")]);
    assert.ok(onLoginPage(page), page.url());
    assert.notEqual(await page.locator("body").innerText(), before, "no message");
    assert.equal(await page.locator("[role=alert]").count(), 1, "the message is not announced to a screen reader");
    assert.equal(await page.locator("input[name=password]").inputValue(), "");
    assert.equal(await whoami(context, demo), 401);
  },

  async "login by keyboard alone lands on the page first asked for, query and all"({ context, demo }) {
    const page = await openApp(context, demo, "/deep/page?a=1&b=two%20words");
    await logInByKeyboard(page, demo.user, demo.password);
    await page.waitForURL(`${demo.url}/deep/page?a=1&b=two%20words`);
    const text = await page.locator("body").innerText();
    assert.match(text, /remote-user/i);
    assert.ok(text.includes(demo.user), text);
  },

  async "after a wrong password the right one still lands on the page first asked for"({ context, demo }) {
    const page = await openApp(context, demo, "/kept?x=1");
    await logInByKeyboard(page, demo.user, "wrong for once");
    await page.locator("[role=alert]").waitFor();
    const name = page.locator("input[name=username]");
    if ((await name.inputValue()) !== "") await name.fill("");
    await logInByKeyboard(page, demo.user, demo.password);
    await page.waitForURL(`${demo.url}/kept?x=1`);
  },

  async "a second tab is logged in too"({ context, demo }) {
    await loggedIn(context, demo);
    const second = await openApp(context, demo, "/second");
    assert.equal(new URL(second.url()).pathname, "/second");
    assert.ok((await second.locator("body").innerText()).includes(demo.user));
  },

  async "two tabs that both wait at the login page can both log in"({ context, demo }) {
    const first = await openApp(context, demo, "/first");
    const second = await openApp(context, demo, "/second");
    for (const [page, where] of [[first, "/first"], [second, "/second"]]) {
      await page.fill("input[name=username]", demo.user);
      await page.fill("input[name=password]", demo.password);
      await page.click("form button:not([type=button])");
      await page.waitForURL(demo.url + where);
    }
  },

  async "the cookie is out of reach of scripts"({ context, demo }) {
    const page = await loggedIn(context, demo);
    assert.equal((await ourCookies(context)).length, 1);
    assert.ok(!(await page.evaluate(() => document.cookie)).includes("fluidgate"));
  },

  async "logout ends the session, and neither the back button nor the cookie brings it back"({ context, demo }) {
    const page = await loggedIn(context, demo, "/secret?page=1");
    const kept = await context.cookies();
    await logOut(page, demo);
    assert.equal(await whoami(context, demo), 401);
    assert.deepEqual(await ourCookies(context), [], "the cookie is still in the browser");
    // Back to the logout page, then to the app: the browser has to ask again, and is challenged.
    for (let step = 0; step < 2; step++) await page.goBack({ waitUntil: "load" }).catch(() => {});
    await page.waitForURL((url) => url.pathname === "/_auth/login" || url.pathname === "/_auth/logout", { timeout: PATIENCE });
    assert.ok(!/remote-user/i.test(await page.locator("body").innerText()), "the app's page came back from a cache");
    const again = await openApp(context, demo, "/secret?page=1");
    assert.ok(onLoginPage(again), again.url());
    // The token itself is dead, not only gone from this browser.
    await context.addCookies(kept);
    assert.equal(await whoami(context, demo), 401);
  },

  async "a session from before is still valid after the demo is started again"({ context, demo, restart }) {
    await loggedIn(context, demo);
    await restart();
    const page = await openApp(context, demo, "/after");
    assert.equal(new URL(page.url()).pathname, "/after");
    assert.ok((await page.locator("body").innerText()).includes(demo.user));
  },

  async "a script's request without a session gets 401 with JSON, not a login page"({ context, demo }) {
    // From a page of the app: our own pages may not fetch anything at all.
    await loggedIn(context, demo);
    const page = await openApp(context, demo);
    await context.clearCookies();
    const answer = await page.evaluate(async () => {
      const got = await fetch("/api/data");
      return [got.status, got.headers.get("content-type"), got.redirected];
    });
    assert.equal(answer[0], 401);
    assert.match(answer[1], /application\/json/);
    assert.equal(answer[2], false);
  },

  async "our pages make no error in the console and name their language"({ context, demo }) {
    const page = await context.newPage();
    const complaints = [];
    // The browser asks for an icon by itself; whether the app has one is not ours to say.
    const counts = (message) => message.type() === "error" && !message.location().url.endsWith("/favicon.ico");
    page.on("console", (message) => counts(message) && complaints.push(`${message.text()} ${message.location().url}`));
    page.on("pageerror", (error) => complaints.push(String(error)));
    await page.goto(`${demo.url}/_auth/login`, { waitUntil: "networkidle" });
    assert.ok(await page.locator("html").getAttribute("lang"));
    assert.deepEqual(complaints, []);
  },

  async "the login page fits a phone without sideways scrolling"({ browser, demo }) {
    const context = await browser.newContext({ viewport: { width: 320, height: 640 }, isMobile: true });
    const page = await openApp(context, demo);
    const [content, view] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    assert.ok(content <= view, `${content} px of content in a ${view} px window`);
    await context.close();
  },

  async "without JavaScript the whole round trip works"({ browser, demo }) {
    const context = await browser.newContext({ javaScriptEnabled: false });
    context.setDefaultTimeout(PATIENCE);
    const page = await loggedIn(context, demo, "/plain?x=1");
    assert.equal(page.url(), `${demo.url}/plain?x=1`);
    assert.ok((await page.locator("body").innerText()).includes(demo.user));
    await logOut(page, demo);
    assert.equal(await whoami(context, demo), 401);
    assert.deepEqual(await ourCookies(context), []);
    await context.close();
  },
};

// One picture of every page in each look.
async function takeScreenshots(browser, demo) {
  mkdirSync(images, { recursive: true });
  const wide = { width: 1280, height: 800 };
  const phone = { width: 390, height: 844 };
  const looks = [["light", wide, "light"], ["dark", wide, "dark"], ["phone", phone, "light"], ["phone-dark", phone, "dark"]];
  for (const [look, viewport, colorScheme] of looks) {
    const context = await browser.newContext({ viewport, colorScheme, deviceScaleFactor: 1 });
    context.setDefaultTimeout(PATIENCE);
    const shoot = (page, name) => page.screenshot({ path: path.join(images, `${name}-${look}.png`) });
    const page = await openApp(context, demo);
    await shoot(page, "login");
    await logInByKeyboard(page, demo.user, "a wrong password");
    await page.locator("[role=alert]").waitFor();
    await shoot(page, "login-refused");
    await page.fill("input[name=username]", demo.user);
    await page.fill("input[name=password]", demo.password);
    await page.click("form button:not([type=button])");
    await page.waitForURL((url) => !url.pathname.startsWith("/_auth/"));
    await shoot(page, "app");
    for (const own of ["account", "logout"]) {
      const answer = await page.goto(`${demo.url}/_auth/${own}`);
      if (answer.status() === 200) await shoot(page, own);
      else console.log(`  no picture of /_auth/${own}: it answers ${answer.status()}`);
    }
    await context.close();
  }
  console.log(`  pictures are in ${path.relative(root, images)}/: look at them`);
}

let passed = 0;
let failed = 0;
const scratch = mkdtempSync(path.join(tmpdir(), "fluidgate-browser-"));
let demo, browser;
// However this ends, the demo ends with it.
process.on("exit", () => {
  demo?.child.kill("SIGKILL");
  rmSync(scratch, { recursive: true, force: true });
});
for (const [name, code] of [["SIGINT", 130], ["SIGTERM", 143]]) process.on(name, () => process.exit(code));
// Nothing here may hang a build.
const alarm = setTimeout(() => {
  console.log("the browser tests took longer than 4 minutes");
  console.log(`browser: ${passed} passed, ${Object.keys(tests).length - passed} failed`);
  process.exit(1);
}, 240_000);

try {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
  for (const [name, test] of Object.entries(tests)) {
    const began = Date.now();
    let context;
    try {
      // A demo of its own: no test lives on another's attempts or sessions.
      demo = await startDemo(mkdtempSync(path.join(scratch, "state-")));
      context = await browser.newContext();
      context.setDefaultTimeout(PATIENCE);
      const restart = async () => {
        await end(demo.child);
        demo.child = (await startDemo(demo.state, new URL(demo.url).host)).child;
      };
      await test({ browser, context, demo, restart });
      passed++;
      console.log(`ok     ${name} (${Date.now() - began} ms)`);
    } catch (error) {
      failed++;
      console.log(`FAILED ${name}\n${String(error?.stack ?? error).replace(/^/gm, "       ")}`);
      if (demo?.said) console.log(`       the demo said:\n${demo.said.slice(-1500).replace(/^password: .*$/m, "password: (withheld)").replace(/^/gm, "       ")}`);
    } finally {
      await context?.close().catch(() => {});
      if (demo) await end(demo.child);
    }
  }
  if (withScreenshots) {
    demo = await startDemo(mkdtempSync(path.join(scratch, "state-")));
    await takeScreenshots(browser, demo);
  }
} catch (error) {
  failed++;
  console.log(`FAILED ${String(error?.stack ?? error)}`);
} finally {
  await browser?.close().catch(() => {});
  if (demo) await end(demo.child);
  clearTimeout(alarm);
}
console.log(`browser: ${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
