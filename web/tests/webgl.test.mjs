// Terminals drawn by WebGL: when that comes over the wire, which terminals have it, and what happens where it is taken
// away. Chromium computes it here without a graphics card; what is drawn is judged by its pixels.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { launchBrowser, openPage, prompt, screenshots, shows, start, type } from "./playground.mjs";

let playground;
before(async () => {
  playground = await start({ browser: { webgl: true } });
});
after(async () => {
  assert.equal(await playground?.close(), 0, "the server ended well");
});

/** What WebGL draws is no text in the page; in screen reader mode it is there as text, too. */
const spoken = () => ({
  cookies: [],
  origins: [{ origin: playground.address, localStorage: [{ name: "newroot-screen-reader", value: "on" }] }],
});

const canvas = (page, terminal) => page.locator(`[data-terminal="${terminal}"] .xterm-screen canvas`).last();

/** Waits until a terminal is drawn by WebGL, or by the DOM. */
const drawn = (page, terminal, webgl) =>
  page.waitForFunction(
    ([name, webgl]) => {
      const host = document.querySelector(`[data-terminal="${name}"]`);
      return webgl === [...host.querySelectorAll("canvas")].some((canvas) => canvas.getContext("webgl2"))
        && webgl !== Boolean(host.querySelector(".xterm-rows"));
    },
    [terminal, webgl],
  );

/** How many pixels of a picture have this colour. */
async function pixels(context, picture, [red, green, blue]) {
  const page = await context.newPage();
  const count = await page.evaluate(
    async ([data, red, green, blue]) => {
      const image = new Image();
      image.src = `data:image/png;base64,${data}`;
      await image.decode();
      const canvas = new OffscreenCanvas(image.width, image.height);
      const drawing = canvas.getContext("2d");
      drawing.drawImage(image, 0, 0);
      const { data: bytes } = drawing.getImageData(0, 0, image.width, image.height);
      let count = 0;
      for (let at = 0; at < bytes.length; at += 4) {
        if (bytes[at] === red && bytes[at + 1] === green && bytes[at + 2] === blue) count += 1;
      }
      return count;
    },
    [picture.toString("base64"), red, green, blue],
  );
  await page.close();
  return count;
}

test("a terminal that is seen is drawn by WebGL after its first prompt, and by the DOM again when the context goes", async () => {
  const look = { viewport: { width: 1280, height: 720 }, colorScheme: "dark", storageState: spoken() };
  const context = await playground.browser.newContext(look);
  context.setDefaultTimeout(90_000);
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    // Chromium says of its own accord that a context was lost, and Chromium and xterm how slow one without a card is.
    if (["error", "warning"].includes(message.type()) && !/webgl|GPU stall|allotted deadline/i.test(message.text())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    if (request.url().includes("addon-webgl")) assert.ok(prompted, "WebGL is asked for before there is a prompt");
  });
  let prompted = false;
  page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => (prompted ||= String(payload).includes("# "))));
  await page.goto(playground.address);
  for (const terminal of ["host", "container"]) {
    await prompt(page, terminal);
    await drawn(page, terminal, true);
  }
  // Letters keep their width, to the half of a pixel: nothing jumps when the renderer changes.
  await page.waitForFunction(() => {
    const lines = document.querySelector("[data-terminal=host] .xterm-screen").getBoundingClientRect();
    const host = document.querySelector("[data-terminal=host]").getBoundingClientRect();
    return host.width - lines.width < 40;
  });
  await type(page, "host", "clear; echo; echo size $(stty size)");
  await shows(page, "host", "\nsize ");
  const said = await page.locator("[data-terminal=host] .xterm-accessibility-tree").innerText();
  const letter = await page.evaluate(() => document.querySelector("[data-terminal=host] .xterm-screen").getBoundingClientRect().width) / Number(said.match(/size \d+ (\d+)/)[1]);
  assert.ok(Math.abs(letter - 13 * 0.6) <= 0.5, `a letter is ${letter} pixels wide`);
  await type(page, "host", "clear; printf '\\033[41m%40s\\033[0m\\n' ' '; echo drawn");
  await shows(page, "host", "\ndrawn");
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  await page.screenshot({ path: join(screenshots, "webgl-dark.png") });
  const red = await pixels(context, await page.locator("[data-terminal=host]").screenshot(), [0xff, 0x8f, 0x87]);
  assert.ok(red > 40 * 8 * 14, `forty red cells were drawn in ${red} pixels`);

  // In one terminal's place another: what is not seen gives its context back.
  await page.getByRole("button", { name: "Side by side" }).click();
  await page.getByRole("tab", { name: "container" }).click();
  await drawn(page, "container", true);
  await drawn(page, "host", false);
  await page.getByRole("tab", { name: "host" }).click();
  await drawn(page, "host", true);
  await drawn(page, "container", false);

  // What a browser does when all its pages together have too many.
  await canvas(page, "host").evaluate((canvas) => {
    const all = [...canvas.parentElement.querySelectorAll("canvas")];
    all.map((one) => one.getContext("webgl2")).find(Boolean).getExtension("WEBGL_lose_context").loseContext();
  });
  await drawn(page, "host", false);
  await type(page, "host", "echo as before");
  await shows(page, "host", "\nas before");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("going through the terminals for long takes no more contexts than are seen", async () => {
  const { page, context, complaints } = await openPage(playground, { context: { storageState: spoken() } });
  await page.getByRole("button", { name: "Side by side" }).click();
  // Chromium has sixteen contexts for all pages, and complains when it has to take one away.
  for (let round = 0; round < 12; round++) {
    for (const terminal of ["container", "host"]) {
      await page.getByRole("tab", { name: terminal }).click();
      await drawn(page, terminal, true);
    }
  }
  assert.deepEqual(complaints.filter((words) => !/GPU stall|allotted deadline/i.test(words)), []);
  await context.close();
});

test("a browser that has no WebGL draws in the DOM, and is asked once", async () => {
  const browser = await launchBrowser();
  const context = await browser.newContext({ viewport: { width: 1280, height: 720 } });
  const page = await context.newPage();
  let asked = 0;
  page.on("request", (request) => (asked += request.url().includes("addon-webgl") ? 1 : 0));
  const loaded = page.waitForResponse(/addon-webgl/);
  await page.goto(playground.address);
  await prompt(page, "host");
  await (await loaded).finished();
  await page.getByRole("button", { name: "Side by side" }).click();
  for (const terminal of ["container", "host"]) {
    await page.getByRole("tab", { name: terminal }).click();
    await type(page, terminal, "echo plain");
    await shows(page, terminal, "\nplain");
    await drawn(page, terminal, false);
  }
  assert.equal(asked, 1);
  await browser.close();
});
