// Every state of the page: that it says what is going on, that axe finds nothing against it in either theme, that
// nothing jumps, and what it costs on the wire. Pictures of all of them go to target/screenshots, to be looked at.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { look } from "./look.mjs";
import { card, openPage, prompt, row, start, type } from "./playground.mjs";

let playground;
before(async () => {
  playground = await start({ image: "alpine" });
});
after(async () => {
  assert.equal(await playground?.close(), 0, "the server ends well");
});

/** A page whose WebSocket is ours: `connect` gets it, and decides what becomes of it. */
async function pageWithSocket(theme, connect, size = { width: 1280, height: 720 }) {
  const context = await playground.browser.newContext({ viewport: size, colorScheme: theme });
  const page = await context.newPage();
  await page.routeWebSocket(/\/api\/lab$/, connect);
  return { page, context };
}

for (const theme of ["dark", "light"]) {
  test(`in the ${theme} theme axe finds nothing against any state`, async () => {
    const { page, context } = await openPage(playground, { theme });
    await look(page, `first-${theme}`);
    await page.getByRole("button", { name: "Run in container: unshare --mount sh", exact: true }).first().click();
    await card(page, { ordinal: 1 }).waitFor();
    await prompt(page, "container");
    await type(page, "container", "mount -t tmpfs tmpfs /mnt");
    await row(card(page, { ordinal: 1 }), "/mnt").waitFor();
    await look(page, `namespaces-${theme}`);

    await type(page, "container", "sleep 1000");
    await page.getByRole("tab", { name: "container" }).locator("[data-program=sleep]").waitFor();
    await page.getByRole("button", { name: "Run in container: mount", exact: true }).click();
    await page.getByRole("group", { name: "Something runs there already" }).waitFor();
    await look(page, `question-${theme}`);
    await page.getByRole("button", { name: "Leave it" }).click();

    await page.getByRole("button", { name: /^Step 1 of/ }).click();
    await look(page, `steps-${theme}`);
    await page.locator("#steps").getByText("A root of its own: pivot_root", { exact: true }).click();
    for (const fold of await page.locator(".prose details").all()) await fold.locator("summary").click();
    for (const language of ["Go", "Shell"]) {
      await page.getByRole("button", { name: language, exact: true }).click();
      await page.locator(".line.now").waitFor();
      await look(page, `code-${language.toLowerCase()}-${theme}`);
    }
    await page.getByRole("button", { name: "Keys", exact: true }).click();
    await look(page, `keys-${theme}`);
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Reset" }).click();
    await look(page, `reset-${theme}`);
    await page.keyboard.press("Escape");

    assert.equal(await page.evaluate(async () => (await fetch("/api/lab", { method: "DELETE" })).status), 204);
    await page.getByRole("alertdialog", { name: "This machine has ended" }).waitFor();
    await look(page, `ended-${theme}`);
    await context.close();
  });

  test(`in the ${theme} theme a page without a machine says why`, async () => {
    const reason = "clone(2) failed: EPERM; allow user namespaces (sysctl user.max_user_namespaces)";
    for (const [code, state, title] of [
      [4001, "full", "The room is full"],
      [4002, "no-lab", "There is no machine"],
    ]) {
      let asked = 0;
      const { page, context } = await pageWithSocket(theme, (socket) => {
        asked += 1;
        if (asked === 1) socket.close({ code, reason });
        else socket.connectToServer();
      });
      await page.goto(playground.address);
      await page.getByRole("alertdialog", { name: title }).getByText(reason).waitFor();
      await look(page, `${state}-${theme}`);
      await page.getByRole("button", { name: "Try again" }).click();
      await page.waitForSelector("html[data-connection=open]");
      await prompt(page, "host");
      assert.equal(await page.getByRole("alertdialog").count(), 0);
      await context.close();
    }
  });

  test(`in the ${theme} theme waiting and a lost connection look like it`, async () => {
    let sockets = [];
    const { page, context } = await pageWithSocket(theme, (socket) => sockets.push(socket));
    await page.route("**/api/{lessons,code}", () => {});
    await page.goto(playground.address);
    await page.getByText("Your machine is starting").waitFor();
    await look(page, `loading-${theme}`);
    await page.unrouteAll({ behavior: "ignoreErrors" });
    await context.close();

    sockets = [];
    const lost = await pageWithSocket(theme, (socket) => {
      sockets.push(socket);
      // The second one hangs: the page stays without a connection until the picture is taken.
      if (sockets.length !== 2) socket.connectToServer();
    });
    await lost.page.route("**/api/lessons", (route) => route.abort());
    await lost.page.goto(playground.address);
    await lost.page.waitForSelector("html[data-connection=open]");
    await prompt(lost.page, "host");
    await sockets[0].close({ code: 1011 });
    await lost.page.getByText("What you type is not sent").waitFor();
    await look(lost.page, `lost-${theme}`);
    await lost.page.unroute("**/api/lessons");
    await lost.page.getByRole("button", { name: "Load it again" }).click();
    await lost.page.getByRole("heading", { level: 2, name: "Two shells, two mount tables" }).waitFor();
    await lost.context.close();
  });
}

test("on a tablet held upright, what is read and what is done are both there; a small window has one pane", async () => {
  const context = await playground.browser.newContext({ viewport: { width: 820, height: 1180 }, colorScheme: "light" });
  const page = await context.newPage();
  await page.goto(playground.address);
  await prompt(page, "host");
  const visible = async () => {
    const shown = [];
    for (const id of ["lesson", "code", "terminals", "mounts"]) if (await page.locator(`#${id}`).isVisible()) shown.push(id);
    return shown;
  };
  assert.deepEqual(await visible(), ["lesson", "terminals"]);
  await look(page, "tablet-light");
  const tabs = page.getByRole("navigation", { name: "Panes" });
  await tabs.getByRole("button", { name: "Mounts" }).click();
  assert.deepEqual(await visible(), ["lesson", "mounts"]);
  await tabs.getByRole("button", { name: "Code" }).click();
  assert.deepEqual(await visible(), ["code", "mounts"]);
  await look(page, "tablet-code-light");
  await page.setViewportSize({ width: 700, height: 600 });
  await page.waitForFunction(() => document.querySelectorAll('.pane-tabs [aria-pressed="true"]').length === 1);
  assert.deepEqual(await visible(), ["code"]);
  await look(page, "small-light");
  await context.close();
});

test("it fits a large screen, nothing jumps while it loads, and the bytes are few", async () => {
  const size = { width: 1920, height: 1080 };
  const context = await playground.browser.newContext({ viewport: size, colorScheme: "dark" });
  const page = await context.newPage();
  await page.addInitScript(() => {
    globalThis.shifts = [];
    new PerformanceObserver((list) => {
      for (const { value, sources } of list.getEntries()) {
        // A word that changes at the end of the bar is no jump.
        if (value < 0.001) continue;
        const moved = sources.map(({ node }) => (node?.parentElement?.className ?? "") + " " + (node?.className || node?.nodeName));
        shifts.push(`${value.toFixed(4)}: ${moved.join(", ")}`);
      }
    }).observe({ type: "layout-shift", buffered: true });
  });
  const client = await context.newCDPSession(page);
  await client.send("Network.enable");
  const addresses = new Map();
  const costs = [];
  client.on("Network.responseReceived", ({ requestId, response }) => addresses.set(requestId, response));
  client.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
    const { url, headers } = addresses.get(requestId) ?? { url: "", headers: {} };
    const encoding = headers["content-encoding"] ?? headers["Content-Encoding"] ?? "plain";
    costs.push({ path: url && new URL(url).pathname, bytes: encodedDataLength, encoding });
  });
  const begin = performance.now();
  await page.goto(playground.address);
  await prompt(page, "host");
  const first = performance.now() - begin;
  await page.getByRole("heading", { level: 2, name: "Two shells, two mount tables" }).waitFor();
  await card(page, { ordinal: 0 }).waitFor();
  await page.waitForLoadState("networkidle");
  await look(page, "large-dark");

  costs.sort((one, other) => other.bytes - one.bytes);
  const total = costs.reduce((sum, { bytes }) => sum + bytes, 0);
  const lines = costs.map(({ path, bytes, encoding }) => `${String(bytes).padStart(8)} ${encoding.padEnd(6)} ${path}`);
  console.log(`first prompt after ${first.toFixed(0)} ms\nbytes over the wire:\n${lines.join("\n")}\n${String(total).padStart(8)} in all`);
  for (const { path, encoding } of costs.filter(({ path, bytes }) => bytes > 2000 && !path.endsWith(".woff2"))) {
    assert.equal(encoding, "gzip", `${path} is compressed`);
  }
  assert.deepEqual(await page.evaluate(() => shifts), [], "nothing jumps");
  const { bottom, right } = await page.locator("#mounts").evaluate((pane) => pane.getBoundingClientRect());
  assert.ok(size.height - bottom < 12 && size.width - right < 12, "the panes fill the window");
  await context.close();
});
