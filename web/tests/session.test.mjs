// One page over time: the network goes and comes back, and what is copied is what was shown.

import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { after, before, test } from "node:test";
import { openPage, prompt, screen, shows, start, type } from "./playground.mjs";

let playground;
before(async () => {
  playground = await start({ image: "alpine" });
});
after(async () => {
  assert.equal(await playground?.close(), 0, "the server ends well");
});

test("a network that is cut and comes back is said quietly, and costs no line of output", async () => {
  const context = await playground.browser.newContext({ viewport: { width: 1280, height: 720 } });
  const page = await context.newPage();
  const sockets = [];
  let cut = false;
  await page.routeWebSocket(/\/api\/lab$/, (socket) => {
    if (cut) socket.close({ code: 1011 });
    else sockets.push([socket, socket.connectToServer()]);
  });
  await page.goto(playground.address);
  await prompt(page, "host");
  const state = page.locator(".topbar [role=status]");
  assert.equal(await state.innerText(), "connected");

  // The program says when it is to be cut off, and when it has gone on without us.
  await type(page, "host", "for i in $(seq 1 40); do echo line $i; [ $i != 3 ] || until [ -e go ]; do usleep 9999; done; done");
  await shows(page, "host", "line 3");
  await type(page, "container", "until [ -e /tmp/never ]; do usleep 9999; touch go; done");
  cut = true;
  for (const side of sockets[0]) await side.close({ code: 1011 });
  await page.waitForSelector("html[data-connection=lost]");
  assert.equal(await state.innerText(), "no connection, trying again");
  assert.equal(await page.getByRole("alertdialog").count(), 0);
  cut = false;
  await page.waitForSelector("html[data-connection=open]");
  await shows(page, "host", "line 40");
  const numbers = [...(await screen(page, "host").innerText()).matchAll(/^line (\d+)/gm)].map(([, number]) => Number(number));
  assert.ok(numbers.length >= 5, `${numbers}`);
  assert.deepEqual(numbers, numbers.map((_, place) => numbers[0] + place), "each line once, in order");
  assert.equal(await state.innerText(), "connected");
  await context.close();
});

test("a network that swallows what the page sends is given up, and costs no more than the wait", async () => {
  const { port } = new URL(playground.address);
  const swallowed = [];
  let swallows = true;
  // A connection of its own for each WebSocket, which begins with its request.
  const network = createServer((page) => {
    page.on("error", () => {}).once("data", (head) => {
      if (swallows && /^GET \/api\/lab[ ?]/.test(head)) return swallowed.push(page);
      const server = connect(port, "127.0.0.1").on("error", () => page.destroy());
      server.write(head);
      page.pipe(server).pipe(page);
    });
  });
  await new Promise((listening) => network.listen(0, "127.0.0.1", listening));
  const context = await playground.browser.newContext({ viewport: { width: 1280, height: 720 } });
  const page = await context.newPage();
  await page.clock.install();
  await page.goto(`http://127.0.0.1:${network.address().port}`);
  const state = page.locator(".topbar [role=status]");
  await state.getByText("starting your machine").waitFor();
  while (swallowed.length === 0) await page.waitForTimeout(10);
  await page.clock.fastForward("00:31");
  await state.getByText("no connection, trying again").waitFor();
  swallows = false;
  await page.waitForSelector("html[data-connection=open]");
  await prompt(page, "host");
  await context.close();
  swallowed.forEach((page) => page.destroy());
  network.close();
});

test("what is copied is what was shown", async () => {
  const { page, context } = await openPage(playground);
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const copied = () => page.evaluate(() => navigator.clipboard.readText());
  await page.getByRole("button", { name: "Copy: mount -t tmpfs tmpfs /mnt", exact: true }).click();
  assert.equal(await copied(), "mount -t tmpfs tmpfs /mnt");
  await page.getByRole("button", { name: "Copy the code" }).click();
  const lines = await page.locator(".line").allInnerTexts();
  assert.deepEqual((await copied()).trimEnd().split("\n").map((line) => line.trim()), lines.map((line) => line.trim()));
  await context.close();
});
