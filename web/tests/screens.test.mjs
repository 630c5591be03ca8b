// What a terminal's screen offers beside its text: search, links, widths, the size of letters, a screen reader mode.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { look } from "./look.mjs";
import { openPage, place, prompt, shows, start, type } from "./playground.mjs";

let playground;
before(async () => {
  playground = await start();
});
after(async () => {
  assert.equal(await playground?.close(), 0, "the server ended well");
});

const found = (page, words) => page.locator(".search .found", { hasText: new RegExp(`^${words}$`) }).waitFor();

for (const theme of ["dark", "light"]) {
  test(`in the ${theme} theme Ctrl-F searches a terminal upwards, and fetches only then what it needs for that`, async () => {
    const { page, context, complaints } = await openPage(playground, { theme });
    const fetched = [];
    page.on("request", (request) => fetched.push(request.url()));
    await type(page, "host", "seq 1 300; echo Qx qx");
    await shows(page, "host", "\nQx qx");
    assert.deepEqual(fetched.filter((address) => address.includes("addon-search")), []);
    await page.keyboard.press("Control+f");
    const field = page.getByRole("textbox", { name: "Search in this terminal" });
    await field.waitFor();
    await page.waitForFunction(() => document.activeElement?.closest(".search"));
    await page.keyboard.type("29");
    await found(page, "1 of 13");
    await page.keyboard.press("Enter");
    await found(page, "2 of 13");
    await page.keyboard.press("Enter");
    await found(page, "3 of 13");
    await look(page, `search-${theme}`);
    await page.keyboard.press("Shift+Enter");
    await found(page, "2 of 13");
    await field.fill("qx");
    await found(page, "1 of 4");
    await page.getByRole("button", { name: "Upper and lower case differ" }).click();
    await found(page, "1 of 2");
    await field.fill("not there");
    await found(page, "not found");
    await look(page, `search-nothing-${theme}`);
    await field.press("Escape");
    await field.waitFor({ state: "detached" });
    await page.keyboard.type("echo back to work");
    await page.keyboard.press("Enter");
    await shows(page, "host", "\nback to work");
    assert.equal(fetched.filter((address) => address.includes("addon-search")).length, 1);
    assert.deepEqual(complaints, []);
    await context.close();
  });
}

test("Ctrl-F belongs to a program that has the whole screen; Ctrl-Shift-F searches there too", async () => {
  const { page, context, complaints } = await openPage(playground);
  await type(page, "host", "printf '\\033[?1049h'; cat -v");
  await page.getByRole("tab", { name: "host" }).locator("[data-program=cat]").waitFor();
  await page.keyboard.press("Control+f");
  await page.keyboard.press("Enter");
  await shows(page, "host", "^F");
  assert.equal(await page.locator(".search").count(), 0);
  await page.keyboard.press("Control+Shift+f");
  await page.locator(".search").waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a link opens by Ctrl and a click, says first where it leads, and is never a script", async () => {
  const { page, context, complaints } = await openPage(playground);
  const address = `${playground.address}/api/code`;
  await type(page, "host", `echo go to ${address}.`);
  const text = await place(page, "host", `go to ${address}`);
  const target = page.locator(".target a");
  // The addon finds links from its arrival on, and the terminal asks for them when the mouse comes to another cell.
  const hover = async (at) => {
    for (let step = 0; !(await target.isVisible()); step = (step + 1) % 20) {
      await page.mouse.move(at.x + 60 + step, at.y);
      await page.evaluate(() => new Promise(requestAnimationFrame));
    }
  };
  await hover(text);
  assert.equal(await target.getAttribute("href"), address);
  assert.equal(await target.getAttribute("rel"), "noopener noreferrer");
  await look(page, "link-dark");
  await page.mouse.down();
  await page.mouse.up();
  await page.getByRole("button", { name: "Leave it" }).waitFor();
  assert.equal(context.pages().length, 1, "a click alone opens nothing");
  await page.keyboard.down("Control");
  const [opened] = await Promise.all([context.waitForEvent("page"), page.mouse.down().then(() => page.mouse.up())]);
  await page.keyboard.up("Control");
  await opened.waitForURL(address);
  assert.equal(await opened.evaluate(() => opener), null);
  assert.equal(await opened.evaluate(() => document.referrer), "");
  await opened.close();
  await page.getByRole("button", { name: "Leave it" }).click();

  // What a program marks as a link may say one thing and be another. A web address is shown; a script is no link at all.
  await type(page, "host", `printf '\\033]8;;${address}\\033\\\\https://bank.example/\\033]8;;\\033\\\\ \\033]8;;javascript:document.title=1\\033\\\\run-me\\033]8;;\\033\\\\\\n'`);
  const script = await place(page, "host", "run-me");
  await page.keyboard.down("Control");
  await page.mouse.click(script.x, script.y);
  await page.keyboard.up("Control");
  assert.equal(await target.count(), 0);
  assert.notEqual(await page.title(), "1");
  const marked = await place(page, "host", "https://bank.example/ run-me");
  for (let step = 0; !(await target.isVisible()); step = (step + 1) % 20) {
    await page.mouse.move(marked.x - 40 - step, marked.y);
    await page.evaluate(() => new Promise(requestAnimationFrame));
  }
  assert.equal(await target.getAttribute("href"), address, "where it leads, not what it says");
  assert.equal(context.pages().length, 1);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("wide characters, combining ones and emoji are as wide as C libraries say", async () => {
  const { page, context, complaints } = await openPage(playground);
  // The terminal answers where the cursor is; the kernel echoes the answer.
  for (const [text, columns] of [
    ["日本語", 6],
    ["e\u0301o\u0308", 2],
    ["😀🚀✅", 6],
    ["한ｈ", 4],
    ["─│é", 3],
  ]) {
    await type(page, "host", `clear; printf '${text}\\033[6n'; cat -v`);
    await page.getByRole("tab", { name: "host" }).locator("[data-program=cat]").waitFor();
    await shows(page, "host", `;${columns + 1}R`);
    await page.keyboard.press("Control+c");
    await prompt(page, "host");
  }
  assert.deepEqual(complaints, []);
  await context.close();
});

for (const theme of ["dark", "light"]) {
  test(`in the ${theme} theme letters can be made larger, and a screen reader be served; both are remembered`, async () => {
    const { page, context, complaints } = await openPage(playground, { theme });
    // What it was before is on the screen until it is cleared.
    const rows = async (when) => {
      await type(page, "host", `clear; echo; echo ${when} $(stty size)`);
      await shows(page, "host", `\n${when} `);
      const said = await page.locator("[data-terminal=host] .xterm-rows").innerText();
      return Number(said.match(new RegExp(`^${when} (\\d+)`, "m"))[1]);
    };
    const usual = await rows("usual");
    for (let presses = 0; presses < 5; presses++) await page.keyboard.press("Control++");
    await page.keyboard.press("Control+-");
    const large = await rows("large");
    assert.ok(large < usual, `${large} lines where there were ${usual}`);
    await page.getByRole("button", { name: "Search, copy, paste, size of letters" }).click();
    await page.getByRole("button", { name: "17 px; back to their own size" }).waitFor();
    await look(page, `terminals-menu-${theme}`);
    await page.getByRole("button", { name: "Larger letters" }).click();
    await page.getByRole("button", { name: "18 px; back to their own size" }).waitFor();
    await page.getByRole("checkbox", { name: "Screen reader mode" }).check();
    await page.keyboard.press("Escape");
    await page.getByText("Screen reader mode is on").waitFor();

    await page.reload();
    await prompt(page, "host");
    await type(page, "host", "echo heard");
    const text = page.locator("[data-terminal=host] .xterm-accessibility-tree", { hasText: "heard" });
    await text.waitFor({ state: "attached" });
    await page.getByRole("textbox", { name: "Terminal host" }).waitFor();
    await look(page, `screen-reader-${theme}`);
    await page.keyboard.press("Control+Shift+S");
    await page.getByText("Screen reader mode is off").waitFor();
    assert.equal(await text.count(), 0);
    await type(page, "host", "true");
    await page.keyboard.press("Control+0");
    await type(page, "host", "clear; echo; echo size $(stty size)");
    await shows(page, "host", `\nsize ${usual} `);
    assert.deepEqual(await page.evaluate(() => ["newroot-terminal-size", "newroot-screen-reader"].map((key) => localStorage.getItem(key))), [null, null]);
    assert.deepEqual(complaints, []);
    await context.close();
  });
}
