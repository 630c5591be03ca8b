// A page that was open while the server was upgraded: it reloads itself once, and says so. The new version is the same
// binary with another build id in it, and so with other names for the assets that contain it.

import assert from "node:assert/strict";
import { chmodSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { openPage, prompt, shows, start, type } from "./playground.mjs";

let playground;
before(async () => {
  playground = await start();
});
after(async () => {
  assert.equal(await playground?.close(), 0, "the server ended well");
});

/** What is wherever `from` was, in place: both are of one length. */
function replace(bytes, from, to) {
  let count = 0;
  for (let at = bytes.indexOf(from); at !== -1; at = bytes.indexOf(from, at)) {
    bytes.write(to, at);
    count += 1;
  }
  return count;
}

/** The same text, but for its first character. */
const other = (text) => (text.startsWith("0") ? "1" : "0") + text.slice(1);

/** The binary as another build of itself. */
function anotherBuild(build) {
  assert.match(build, /^[0-9a-f]{12}$/, "the binary has no id of its own to be changed: build it by `cargo xtask build`");
  const bytes = readFileSync(process.env.NEWROOT_BIN);
  // Eight bytes: a compiler may write as many into an instruction, instead of copying the whole from elsewhere.
  const start = build.slice(0, 8);
  assert.ok(replace(bytes, start, other(start)) >= 2, "the lab and the page both know their build");
  const assets = readdirSync(new URL("../../target/dist/page/assets", import.meta.url));
  for (const stem of ["web_bg", "web", "start"]) {
    const [name] = assets.filter((name) => name.startsWith(`${stem}-`));
    const [hash] = name.match(/[0-9a-f]{12}/);
    assert.ok(replace(bytes, hash, other(hash)) >= 2, `${name} is embedded, and referred to`);
  }
  const path = join(playground.directory, "newroot-upgraded");
  // A lab, which is nobody here, executes it too.
  chmodSync(playground.directory, 0o755);
  writeFileSync(path, bytes);
  chmodSync(path, 0o755);
  return path;
}

test("a page from before an upgrade reloads itself once, and says so; from then on it is of the new build", async () => {
  const greetings = [];
  const { page, context, complaints } = await openPage(playground);
  page.on("websocket", (socket) =>
    socket.on("framereceived", ({ payload }) => {
      const build = typeof payload === "string" && JSON.parse(payload).build;
      if (build) greetings.push(build);
    }),
  );
  await page.reload();
  await prompt(page, "host");
  const [old] = greetings;
  let loads = 0;
  page.on("load", () => (loads += 1));

  await playground.upgrade(anotherBuild(old));
  await page.getByRole("alertdialog", { name: "This machine has ended" }).getByRole("button").first().click();
  await page.getByText("Newroot was upgraded, so this page has reloaded itself").waitFor();
  await prompt(page, "host");
  await type(page, "host", "echo a new machine");
  await shows(page, "host", "\na new machine");
  assert.equal(loads, 1);
  assert.deepEqual(greetings, [old, other(old), other(old)]);
  // The page that is there now is of the new build: a further greeting reloads nothing.
  await page.reload();
  await prompt(page, "host");
  assert.equal(loads, 2);
  assert.equal(await page.getByText("has reloaded itself").count(), 0);
  assert.deepEqual(complaints.filter((words) => !/WebSocket connection|ERR_CONNECTION_REFUSED/.test(words)), []);
  await context.close();
});

test("where a reload does not help, it stays with one, and says why", async () => {
  // A machine of another build than any page that can be had: the word of a real one is changed on its way.
  const context = await playground.browser.newContext({ viewport: { width: 1280, height: 720 } });
  const page = await context.newPage();
  await page.routeWebSocket(/\/api\/lab/, (socket) => {
    const server = socket.connectToServer();
    server.onMessage((message) => socket.send(typeof message === "string" ? message.replace(/"build":"[^"]*"/, '"build":"older"') : message));
  });
  let loads = 0;
  page.on("load", () => (loads += 1));
  await page.goto(playground.address);
  await page.getByText("Your machine was started by another version of Newroot").waitFor();
  await prompt(page, "host");
  await type(page, "host", "echo works all the same");
  await shows(page, "host", "\nworks all the same");
  assert.equal(loads, 2);
  await context.close();
});
