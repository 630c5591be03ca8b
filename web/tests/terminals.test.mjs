// Terminals in a real browser: opened, named and closed by mouse and by keyboard, shared by two pages, pasted into.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { openPage, prompt, screen, screenshots, shows, start, type } from "./playground.mjs";

let playground;
before(async () => {
  playground = await start();
});
after(async () => {
  assert.equal(await playground?.close(), 0, "the server ended well");
});

const tabs = (page) => page.getByRole("tab");
const columns = (page, terminal) => page.locator(`[data-terminal="${terminal}"] .xterm-rows > div`).count();

test("terminals are opened, named and closed by mouse and by keyboard", async () => {
  const { page, context, complaints } = await openPage(playground);
  await page.getByRole("button", { name: "New terminal" }).click();
  await prompt(page, "shell");
  assert.equal(await page.getByRole("tab", { name: "shell" }).getAttribute("aria-selected"), "true");
  await page.keyboard.type("tty");
  await page.keyboard.press("Enter");
  await shows(page, "shell", "/dev/pts/2");

  await page.getByRole("tab", { name: "shell" }).dblclick();
  await page.keyboard.type("build");
  await page.screenshot({ path: join(screenshots, "terminal-rename-dark.png") });
  await page.keyboard.press("Enter");
  await page.getByRole("tab", { name: "build" }).waitFor();
  await page.screenshot({ path: join(screenshots, "terminals-dark.png") });

  // From within a terminal, whose plain keys are the program's.
  await page.keyboard.press("Control+Shift+Enter");
  await prompt(page, "shell");
  await page.keyboard.press("Control+Shift+ArrowLeft");
  await page.keyboard.type("echo from the keyboard");
  await page.keyboard.press("Enter");
  await shows(page, "build", "\nfrom the keyboard");
  await page.getByRole("tab", { name: "build" }).focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("F2");
  await page.keyboard.type("logs");
  await page.keyboard.press("Escape");
  await page.getByRole("tab", { name: "shell" }).focus();
  await page.keyboard.press("Delete");
  await page.getByRole("tab", { name: "shell" }).waitFor({ state: "detached" });
  assert.equal(await page.locator("[data-terminal=shell]").count(), 0);

  // A command of the lesson opens its terminal again.
  await page.getByTitle("Close container").click();
  await page.getByRole("tab", { name: "container" }).waitFor({ state: "detached" });
  await page.getByRole("button", { name: /^Run in container: unshare/ }).first().click();
  await page.getByRole("tab", { name: "container" }).waitFor();
  await page.locator('article[data-ordinal="1"]').waitFor();
  assert.equal(await tabs(page).count(), 3);

  for (let count = 3; count < 8; count++) {
    await page.getByRole("button", { name: "New terminal" }).click();
    await page.waitForFunction((wanted) => document.querySelectorAll("[role=tab]").length === wanted, count + 1);
  }
  assert.equal(await page.getByRole("button", { name: "New terminal" }).getAttribute("aria-disabled"), "true");
  await page.screenshot({ path: join(screenshots, "terminals-full-dark.png") });
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a shell that has ended says how, and a key starts a new one or closes the terminal", async () => {
  const { page, context, complaints } = await openPage(playground, { theme: "light" });
  await type(page, "host", "exit 7");
  await page.getByText("exit status 7").waitFor();
  await page.screenshot({ path: join(screenshots, "shell-ended-light.png") });
  await page.keyboard.type("touch /tmp/surprise");
  await page.keyboard.press("Enter");
  await page.getByText("exit status 7").waitFor({ state: "detached" });
  await prompt(page, "host");
  await type(page, "host", "ls /tmp/surprise");
  await shows(page, "host", "No such file");
  await type(page, "host", "kill -9 $$");
  await page.getByText("signal 9 (SIGKILL)").waitFor();
  await page.keyboard.press("Control+d");
  await page.getByRole("tab", { name: "host" }).waitFor({ state: "detached" });
  assert.deepEqual(complaints, []);
  await context.close();
});

test("two pages share the screen, in the size of the one that is typed in", async () => {
  const one = await openPage(playground);
  const other = await one.context.newPage();
  await other.setViewportSize({ width: 1000, height: 600 });
  await other.goto(playground.address);
  await other.waitForSelector("html[data-connection=open]");
  await prompt(other, "host");
  await one.page.getByText("In use on another page").waitFor();
  await type(other, "host", "echo size $(stty size)");
  await shows(other, "host", "\nsize ");
  const size = (await screen(other, "host").innerText()).match(/\nsize (\d+) (\d+)/);
  await shows(one.page, "host", `\nsize ${size[1]} ${size[2]}`);
  assert.equal(await columns(one.page, "host"), Number(size[1]), "as many lines as the owner has");
  await one.page.screenshot({ path: join(screenshots, "viewer-dark.png") });

  await type(one.page, "host", "echo mine");
  await one.page.getByText("In use on another page").waitFor({ state: "detached" });
  await other.getByText("In use on another page").waitFor();
  await shows(other, "host", "\nmine");
  // The shell asks where the cursor is at each prompt; one page alone may answer.
  await type(one.page, "host", "echo clean");
  await shows(one.page, "host", "\nclean");
  assert.doesNotMatch(await screen(one.page, "host").innerText(), /\[\d+;\d+R/);
  await other.screenshot({ path: join(screenshots, "viewer-small-dark.png") });
  await one.page.close();
  await other.getByText("In use on another page").waitFor({ state: "detached" });
  await one.context.close();
});

test("a paste of a megabyte arrives whole, and Ctrl-C leaves the rest of one behind", async () => {
  const { page, context, complaints } = await openPage(playground);
  const text = Array.from({ length: 16384 }, (_, n) => `line ${n} `.padEnd(63, "x")).join("\n") + "\n";
  const paste = (terminal, text) =>
    page.evaluate(
      ([terminal, text]) => {
        const data = new DataTransfer();
        data.setData("text/plain", text);
        const field = document.querySelector(`[data-terminal="${terminal}"] textarea`);
        field.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
      },
      [terminal, text],
    );
  await type(page, "host", "stty -echo; cat > /tmp/pasted; stty echo; sha256sum /tmp/pasted | cut -c1-32");
  await page.waitForFunction(() => document.querySelector("[role=tab] .program").dataset.program === "cat");
  await paste("host", text);
  await page.keyboard.press("Control+d");
  await shows(page, "host", createHash("sha256").update(text).digest("hex").slice(0, 32));

  await prompt(page, "host");
  await type(page, "host", "sleep 1000");
  await page.waitForFunction(() => document.querySelector("[role=tab] .program").dataset.program === "sleep");
  await paste("host", "touch /tmp/surprise\n".repeat(50_000));
  await page.keyboard.press("Control+c");
  await prompt(page, "host");
  await type(page, "host", "ls /tmp/surprise; echo =$((6 * 7))=");
  await shows(page, "host", "=42=");
  await shows(page, "host", "No such file");
  assert.deepEqual(complaints, []);
  await context.close();
});
