// What the browser tests stand on: a real docker-registry, a real `newroot serve`, a real Chromium. Nothing is mocked;
// what is missing makes the test fail.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const root = new URL("../..", import.meta.url).pathname;

/** Where screenshots go, to be looked at. */
export const screenshots = join(root, "target/screenshots");

/** The first line of a program's output that matches; the rest is read and forgotten, so that no pipe fills up. */
export async function lineOf(stream, pattern) {
  const said = [];
  for await (const line of createInterface({ input: stream })) {
    said.push(line);
    const match = pattern.exec(line);
    if (match) {
      stream.resume();
      return match;
    }
  }
  throw new Error(`no line matched ${pattern}:\n${said.join("\n")}`);
}

export async function ended(child, signal) {
  if (child.exitCode === null) {
    const exit = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await exit;
  }
  return child.exitCode;
}

/** A docker-registry on a free port with Newroot's busybox image under another name. */
async function startRegistry(directory, image) {
  const config = join(directory, "registry.yml");
  writeFileSync(
    config,
    `version: 0.1\nlog: {level: info, formatter: text}\n` +
      `storage: {filesystem: {rootdirectory: ${directory}/registry}}\nhttp: {addr: 127.0.0.1:0}\n`,
  );
  const env = { ...process.env, OTEL_TRACES_EXPORTER: "none" };
  const registry = spawn("docker-registry", ["serve", config], { env, stdio: ["ignore", "ignore", "pipe"] });
  const [, address] = await lineOf(registry.stderr, /listening on ([0-9.:]+)/);
  const from = `oci:${root}target/dist/images/busybox`;
  const options = ["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"];
  execFileSync("skopeo", [...options, from, `docker://${address}/library/${image}`], { stdio: "inherit" });
  return { registry, url: `http://${address}` };
}

/** A Chromium of its own, as quiet as it can be made; with WebGL, which it then computes without a graphics card. */
export function launchBrowser({ webgl = false, args = [] } = {}) {
  return chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      ...(webgl ? ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"] : ["--disable-gpu", "--disable-3d-apis"]),
      ...args,
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** Everything a browser test needs; `close` ends it all and says whether the server ended well. */
export async function start({ image = "alpine", flags: more = [], browser: looks } = {}) {
  assert.ok(process.env.NEWROOT_BIN, "NEWROOT_BIN names the binary: run the tests by `cargo xtask test`");
  const directory = mkdtempSync(join(tmpdir(), "newroot-page-"));
  mkdirSync(screenshots, { recursive: true });
  const { registry, url } = await startRegistry(directory, image);
  const flags = ["--run", `${directory}/run`, "--state", `${directory}/state`, "--upstream", url, ...more];
  const serve = async (binary, listen) => {
    const server = spawn(binary, ["serve", "--listen", listen, ...flags], { stdio: ["ignore", "pipe", "inherit"] });
    const [, address] = await lineOf(server.stdout, /(http:\/\/[0-9.:]+)/);
    return { server, address };
  };
  const started = serve(process.env.NEWROOT_BIN, "127.0.0.1:0");
  // A registry that goes on would keep this file's process from ending, and nobody would see why there is no server.
  started.catch(() => registry.kill("SIGKILL"));
  let { server, address } = await started;
  const browser = await launchBrowser(looks);
  return {
    address,
    browser,
    directory,
    /** Ends the server and its labs, and starts another binary in its place. */
    async upgrade(binary) {
      assert.equal(await ended(server, "SIGINT"), 0, "the old server ends well");
      ({ server } = await serve(binary, new URL(address).host));
    },
    async close() {
      await browser.close();
      const status = await ended(server, "SIGINT");
      await ended(registry, "SIGKILL");
      rmSync(directory, { recursive: true, force: true });
      return status;
    },
  };
}

/**
 * The name of the lab of a browser: the digest of its cookie's secret, which stands before the tag. No other lab of this
 * machine is looked at.
 */
export async function labOf(context) {
  const { value } = (await context.cookies()).find(({ name }) => name === "newroot");
  return createHash("sha256").update(value.split(".")[0]).digest("hex").slice(0, 32);
}

/** Whether a process is in a cgroup of this name. One that has ended, and is not reaped yet, is in none. */
export function inCgroup(pid, name) {
  try {
    if (/\) [ZX] [^)]*$/.test(readFileSync(`/proc/${pid}/stat`, "utf8"))) return false;
    return readFileSync(`/proc/${pid}/cgroup`, "utf8").includes(name);
  } catch {
    return false; // Not a process, or one that has just ended.
  }
}

/** The workshop's chapter, which most tests are about: lesson and step, as in the page's address. */
export const chapter = "04-mount-namespace-and-root-directory/two-shells-two-mount-tables";

/** Opens the page in a browser of its own, and listens for what must not happen there. `context` has further options. */
export async function openPage(
  playground,
  { theme = "dark", size = { width: 1280, height: 720 }, at = chapter, context: more } = {},
) {
  const context = await playground.browser.newContext({ viewport: size, colorScheme: theme, ...more });
  // A machine with much else to do takes its time; nothing is timed by this.
  context.setDefaultTimeout(90_000);
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith(playground.address) && !request.url().startsWith("data:")) {
      complaints.push(`a request to ${request.url()}`);
    }
  });
  try {
    await page.goto(`${playground.address}/#/${at}`);
    await page.waitForSelector("html[data-connection=open]");
    await prompt(page, "host");
    await prompt(page, "container");
  } catch (error) {
    const says = await page.locator("body").innerText().catch(String);
    throw new Error(["The page does not come to its prompts.", ...complaints, says].join("\n"), { cause: error });
  }
  return { page, context, complaints };
}

/** Where a text stands in a terminal that is drawn in the DOM: the middle of its cells, for the mouse. */
export async function place(page, terminal, text) {
  await shows(page, terminal, text);
  return page.evaluate(
    ([name, text]) => {
      const rows = [...document.querySelectorAll(`[data-terminal="${name}"] .xterm-rows > div`)];
      const row = rows.findLast((row) => row.textContent.includes(text));
      const range = document.createRange();
      const letters = document.createTreeWalker(row, NodeFilter.SHOW_TEXT);
      let [start, end] = [row.textContent.indexOf(text), row.textContent.indexOf(text) + text.length];
      for (let node = letters.nextNode(); node; node = letters.nextNode()) {
        if (start >= 0 && start < node.length) range.setStart(node, start);
        if (end > 0 && end <= node.length) range.setEnd(node, end);
        [start, end] = [start - node.length, end - node.length];
      }
      const { x, y, width, height } = range.getBoundingClientRect();
      return { x: x + width / 2, y: y + height / 2 };
    },
    [terminal, text],
  );
}

/** The text that a terminal shows. */
export function screen(page, terminal) {
  return page.locator(`[data-terminal="${terminal}"] .xterm-rows`);
}

/** Waits until a terminal's last line is a prompt. What WebGL draws is read as a screen reader does. */
export async function prompt(page, terminal) {
  await page.waitForFunction((name) => {
    const lines = ":is(.xterm-rows, .xterm-accessibility-tree) > div";
    const rows = [...document.querySelectorAll(`[data-terminal="${name}"] ${lines}`)];
    const last = rows.map((row) => row.textContent.trimEnd()).filter(Boolean).at(-1);
    return /[#$]$/.test(last ?? "");
  }, terminal);
}

/** Waits until a terminal shows a text. */
export async function shows(page, terminal, text) {
  await page.waitForFunction(
    ([name, wanted]) =>
      [...document.querySelectorAll(`[data-terminal="${name}"] :is(.xterm-rows, .xterm-accessibility-tree) > div`)]
        .map((row) => row.textContent)
        .join("\n")
        .includes(wanted),
    [terminal, text],
  );
}

/** Types a line into a terminal, as a person does: a click, the keys, Enter. */
export async function type(page, terminal, line) {
  await page.locator(`[data-terminal="${terminal}"]`).click();
  await page.keyboard.type(line);
  await page.keyboard.press("Enter");
}

/** The mount card of a view: by its mount namespace's place in the order of appearance, or by its root directory. */
export function card(page, { ordinal, root }) {
  const by = (name, value) => (value === undefined ? "" : `[data-${name}="${value}"]`);
  return page.locator(`article[data-view]${by("ordinal", ordinal)}${by("root", root)}:not([data-state="gone"])`);
}

/** A row of a card that is there, or is new; not one that has just gone. */
export function row(card, mountPoint) {
  return card.locator(`tr[data-mount-point="${mountPoint}"]:not([data-state="gone"])`);
}

/** Pulls the image of the tests. */
export async function pull(page) {
  await type(page, "host", "newroot pull alpine");
  await shows(page, "host", "Pulling done");
  await prompt(page, "host");
}

/** The text of the line that the code pane brings out, and the outcome beside it. */
export async function lineNow(page) {
  const line = page.locator("#code .line.now");
  return { number: await line.getAttribute("data-line"), text: await line.innerText() };
}
