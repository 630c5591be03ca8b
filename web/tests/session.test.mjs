// One page over time: the network goes and comes back, and what is copied is what was shown.

import assert from "node:assert/strict";
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
