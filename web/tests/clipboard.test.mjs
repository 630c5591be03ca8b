// Copy and paste in the terminals: by keys, by the middle button, by the menus, by touch; and where the browser refuses.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { openPage, place, prompt, shows, start, type } from "./playground.mjs";

const NAME = "newroot.test";

let playground;
before(async () => {
  // A page under a name of its own over http is what a classroom has: no secure context, and no clipboard for scripts.
  playground = await start({
    flags: ["--host", NAME, "--host", "127.0.0.1"],
    browser: { args: [`--host-resolver-rules=MAP ${NAME} 127.0.0.1`] },
  });
});
after(async () => {
  assert.equal(await playground?.close(), 0, "the server ended well");
});

const CLIPBOARD = { permissions: ["clipboard-read", "clipboard-write"] };

const clipboard = (page) => page.evaluate(() => navigator.clipboard.readText());

/** Selects the word that stands in a terminal, by a double click. */
async function select(page, terminal, word) {
  const { x, y } = await place(page, terminal, word);
  await page.mouse.dblclick(x, y);
}

/** A program that shows all it gets, control characters too. */
async function listen(page, terminal, before = "") {
  await type(page, terminal, `${before}cat -v`);
  await page.getByRole("tab", { name: terminal }).locator("[data-program=cat]").waitFor();
}

test("keys copy what is selected and paste it, in either way of writing them", async () => {
  const { page, context, complaints } = await openPage(playground, { context: CLIPBOARD });
  await type(page, "host", "echo first-word second-word");
  await shows(page, "host", "\nfirst-word");
  await select(page, "host", "first-word");
  await page.keyboard.press("Control+Shift+c");
  await page.waitForFunction(async () => (await navigator.clipboard.readText()) === "first-word");
  await select(page, "host", "second-word");
  await page.keyboard.press("Control+Insert");
  await page.waitForFunction(async () => (await navigator.clipboard.readText()) === "second-word");

  await page.keyboard.type("echo by ");
  await page.keyboard.press("Control+Shift+v");
  await page.keyboard.press("Enter");
  await shows(page, "host", "\nby second-word");
  await page.keyboard.type("echo as ");
  await page.keyboard.press("Shift+Insert");
  await page.keyboard.press("Enter");
  await shows(page, "host", "\nas second-word");
  // Without a selection nothing is copied, and that is said.
  await page.keyboard.press("Control+Shift+c");
  await page.getByText("Nothing is selected in this terminal").waitFor();
  assert.equal(await clipboard(page), "second-word");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the middle button pastes what was selected last, in whichever terminal, and not where a program has the mouse", async () => {
  const { page, context, complaints } = await openPage(playground);
  await type(page, "host", "echo from-the-host");
  await shows(page, "host", "\nfrom-the-host");
  await select(page, "host", "from-the-host");
  await type(page, "container", "true");
  await page.keyboard.type("echo got ");
  await page.locator("[data-terminal=container]").click({ button: "middle" });
  await page.keyboard.press("Enter");
  await shows(page, "container", "\ngot from-the-host");

  await listen(page, "container", "printf '\\033[?1000h'; ");
  await page.locator("[data-terminal=container]").click({ button: "middle" });
  await page.keyboard.press("Enter");
  await shows(page, "container", "^[[M!");
  await page.keyboard.press("Control+c");
  await prompt(page, "container");
  const lines = await page.locator("[data-terminal=container] .xterm-rows").innerText();
  assert.equal(lines.split("from-the-host").length - 1, 2, lines);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a paste is bracketed for programs that ask for it, and nothing in it can end it early", async () => {
  const { page, context, complaints } = await openPage(playground, { context: CLIPBOARD });
  await page.evaluate(() => navigator.clipboard.writeText("one\x1b[201~\x03two\tthree"));
  await listen(page, "host", "printf '\\033[?2004h'; ");
  await page.keyboard.press("Control+Shift+v");
  await page.keyboard.press("Enter");
  await shows(page, "host", "^[[200~one[201~two");
  await shows(page, "host", "three^[[201~");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the right button leaves the browser its menu, with the selection to be copied and a field to paste into", async () => {
  const { page, context, complaints } = await openPage(playground);
  await type(page, "host", "echo right-here");
  await shows(page, "host", "\nright-here");
  await select(page, "host", "right-here");
  await page.evaluate(() => addEventListener("contextmenu", (event) => (globalThis.menu = { taken: event.defaultPrevented, field: event.target.tagName })));
  const { x, y } = await place(page, "host", "right-here");
  await page.mouse.click(x, y, { button: "right" });
  assert.equal(await page.evaluate(() => menu.taken), false);
  assert.deepEqual(
    await page.evaluate(([x, y]) => {
      const under = document.elementFromPoint(x, y);
      return [under.tagName, under.value.slice(under.selectionStart, under.selectionEnd)];
    }, [x, y]),
    ["TEXTAREA", "right-here"],
  );
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the menu copies and pastes too; where the browser refuses it says so", async () => {
  const { page, context, complaints } = await openPage(playground, { context: CLIPBOARD });
  const menu = page.getByRole("button", { name: "Search, copy, paste, size of letters" });
  await type(page, "host", "echo in-the-menu");
  await shows(page, "host", "\nin-the-menu");
  await select(page, "host", "in-the-menu");
  await menu.click();
  await page.getByRole("button", { name: "Copy Ctrl-Shift-C" }).click();
  await page.waitForFunction(async () => (await navigator.clipboard.readText()) === "in-the-menu");
  await page.keyboard.type("echo pasted ");
  await menu.click();
  await page.getByRole("button", { name: "Paste Ctrl-Shift-V" }).click();
  await shows(page, "host", "echo pasted in-the-menu");
  await page.keyboard.press("Enter");
  await shows(page, "host", "\npasted in-the-menu");

  await context.clearPermissions();
  const client = await context.newCDPSession(page);
  await client.send("Browser.setPermission", { permission: { name: "clipboard-read" }, setting: "denied", origin: playground.address });
  await menu.click();
  await page.getByRole("button", { name: "Paste Ctrl-Shift-V" }).click();
  await page.getByText("The browser lets no page read the clipboard here").waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

test("over http and under a name, keys copy and paste, and the menu says why it cannot paste", async () => {
  const named = { ...playground, address: playground.address.replace("127.0.0.1", NAME) };
  const { page, context, complaints } = await openPage(named);
  assert.equal(await page.evaluate(() => isSecureContext || "clipboard" in navigator), false);
  await type(page, "host", "echo plain-http");
  await shows(page, "host", "\nplain-http");
  await select(page, "host", "plain-http");
  await page.keyboard.press("Control+Shift+c");
  await page.keyboard.type("echo over ");
  await page.keyboard.press("Control+Shift+v");
  await page.keyboard.press("Enter");
  await shows(page, "host", "\nover plain-http");
  await page.getByRole("button", { name: "Search, copy, paste, size of letters" }).click();
  await page.getByRole("button", { name: "Paste Ctrl-Shift-V" }).click();
  await page.getByText("The browser lets no page read the clipboard here").waitFor();
  // Chromium says of each page over http that it heeds one header less.
  assert.deepEqual(complaints.filter((words) => !words.startsWith("The Cross-Origin-Opener-Policy header")), []);
  await context.close();
});

test("a finger that rests selects the word below it, and can copy and paste", async () => {
  const { page, context, complaints } = await openPage(playground, { context: { ...CLIPBOARD, hasTouch: true } });
  await type(page, "host", "echo with-a-finger");
  await shows(page, "host", "\nwith-a-finger");
  const { x, y } = await place(page, "host", "with-a-finger");
  const client = await context.newCDPSession(page);
  const touch = (type, ...touchPoints) => client.send("Input.dispatchTouchEvent", { type, touchPoints });
  await touch("touchStart", { x, y });
  await page.locator("[data-terminal=host] .xterm-selection div").first().waitFor({ state: "attached" });
  await touch("touchEnd");
  await page.getByRole("group", { name: "Selected text" }).getByRole("button", { name: "Copy" }).click();
  await page.waitForFunction(async () => (await navigator.clipboard.readText()) === "with-a-finger");

  // A finger that moves selects nothing: it scrolls.
  await page.keyboard.type("echo ");
  await touch("touchStart", { x, y });
  await touch("touchMove", { x, y: y + 40 });
  await touch("touchEnd");
  await touch("touchStart", { x, y });
  const tools = page.getByRole("group", { name: "Selected text" });
  await page.locator("[data-terminal=host] .xterm-selection div").first().waitFor({ state: "attached" });
  await touch("touchEnd");
  await tools.getByRole("button", { name: "Paste" }).click();
  await page.keyboard.press("Enter");
  await shows(page, "host", "\nwith-a-finger");
  assert.equal(await tools.count(), 0);
  assert.deepEqual(complaints, []);
  await context.close();
});
