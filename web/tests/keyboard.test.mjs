// The page without a mouse: its keys, the order in which Tab goes round, and a whole step of the lesson.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { card, openPage, prompt, row, shows, start } from "./playground.mjs";

let playground;
before(async () => {
  playground = await start({ image: "alpine" });
});
after(async () => {
  assert.equal(await playground?.close(), 0, "the server ends well");
});

/** What has the keyboard, in a few words. */
function focused(page) {
  return page.evaluate(() => {
    const element = document.activeElement;
    const pane = element?.closest("section")?.id ?? (element?.closest(".topbar") ? "bar" : "page");
    const name = element?.getAttribute("aria-label") ?? element?.textContent?.trim() ?? "";
    return `${pane}: ${name.replaceAll(/\s+/g, " ").slice(0, 50)}`;
  });
}

/** Waits until a pane has the keyboard. */
function inPane(page, id) {
  return page.waitForFunction((id) => document.activeElement?.closest("section")?.id === id, id);
}

test("a whole step of the lesson, from the keyboard alone", async () => {
  const { page, context, complaints } = await openPage(playground);
  // The first Tab finds the way past the bar.
  await page.keyboard.press("Tab");
  assert.match(await focused(page), /Skip to the lesson/);
  await page.keyboard.press("Enter");
  await inPane(page, "lesson");

  const command = async (words) => {
    await page.keyboard.press("j");
    await page.waitForFunction((words) => document.activeElement?.getAttribute("aria-label") === words, words);
    await page.keyboard.press("Enter");
  };
  /** Out of the terminal, to the mounts, to the lesson. */
  const back = async () => {
    await inPane(page, "terminals");
    await page.keyboard.press("Control+Shift+F6");
    await inPane(page, "mounts");
    await page.keyboard.press("1");
    await inPane(page, "lesson");
  };
  await command("Run in container: unshare --mount sh");
  await card(page, { ordinal: 1 }).waitFor();
  await prompt(page, "container");
  // The terminal has the keyboard now, and what is typed is typed: no key of the page is heard.
  await page.keyboard.type("echo np1?t");
  await page.keyboard.press("Enter");
  await shows(page, "container", "\nnp1?t");
  assert.equal(await page.locator("dialog[open]").count(), 0);
  await back();
  await command("Run in container: mount -t tmpfs tmpfs /mnt");
  await row(card(page, { ordinal: 1 }), "/mnt").waitFor();
  await back();
  await command("Run in container: mount");
  await shows(page, "container", "tmpfs on /mnt");
  await back();

  await page.keyboard.press("n");
  await page.getByRole("heading", { level: 2, name: "What the parent asks for" }).waitFor();
  await page.keyboard.press("2");
  await inPane(page, "code");
  const now = page.locator(".line.now");
  assert.match(await now.innerText(), /CLONE_NEWNS/);
  await page.keyboard.press("l");
  await page.locator(".code .file", { hasText: "container.go" }).waitFor();
  assert.match(await now.innerText(), /syscall\.CLONE_NEWNS/);
  const ofStep = await page.locator(".line").count();
  await page.keyboard.press("w");
  await page.locator('.listing[data-whole="true"]').waitFor();
  assert.ok((await page.locator(".line").count()) > ofStep);
  await page.keyboard.press("p");
  await page.getByRole("heading", { level: 2, name: "Two shells, two mount tables" }).waitFor();

  const theme = await page.locator("html").getAttribute("data-theme");
  await page.keyboard.press("t");
  await page.waitForFunction((theme) => document.documentElement.dataset.theme !== theme, theme);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("keys that come faster than the browser tells where it went are counted each", async () => {
  const { page, context } = await openPage(playground);
  const titles = await page.locator(".progress a").evaluateAll((steps) => steps.map(({ title }) => title));
  await page.locator("#lesson").focus();
  for (let round = 0; round < 5; round++) {
    await page.evaluate(() => {
      // All in one go: no event of the browser comes between them.
      for (const key of "nnnpn") document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    });
    await page.waitForFunction((title) => document.querySelector(".progress [aria-current]")?.title === title, titles[3]);
    await page.waitForFunction(() => document.querySelector(".progress [aria-current]").hash === location.hash);
    await page.keyboard.press("p");
    await page.keyboard.press("p");
    await page.keyboard.press("p");
    await page.waitForFunction((title) => document.querySelector(".progress [aria-current]")?.title === title, titles[0]);
  }
  await context.close();
});

test("the list of keys says what works, and can turn the keys of one letter off", async () => {
  const { page, context } = await openPage(playground);
  await page.locator("#lesson").focus();
  await page.keyboard.press("?");
  const keys = page.getByRole("dialog", { name: "Keys" });
  await keys.waitFor();
  // While it is open, no other key is heard.
  await page.keyboard.press("n");
  await page.getByRole("checkbox", { name: "Keys of one letter" }).press("Space");
  await page.keyboard.press("Escape");
  await keys.waitFor({ state: "hidden" });
  await page.locator("#lesson").focus();
  await page.keyboard.press("n");
  await page.getByRole("button", { name: "Keys", exact: true }).press("Enter");
  await keys.waitFor();
  await page.getByRole("heading", { level: 2, name: "Two shells, two mount tables" }).waitFor();
  await context.close();
});

test("reset asks, and takes no for an answer", async () => {
  const { page, context } = await openPage(playground);
  await page.locator("#lesson").focus();
  await page.keyboard.press("R");
  const question = page.getByRole("dialog", { name: "Start over with a new machine?" });
  await question.waitFor();
  assert.match(await focused(page), /Keep this machine/, "Enter does no harm");
  await page.keyboard.press("Enter");
  await question.waitFor({ state: "hidden" });
  assert.equal(await page.locator("html").getAttribute("data-connection"), "open");
  await context.close();
});

test("Tab goes round the bar and the panes in the order of the screen", async () => {
  const { page, context } = await openPage(playground);
  const order = [];
  for (let presses = 0; presses < 80; presses++) {
    await page.keyboard.press("Tab");
    const place = await focused(page);
    order.push(place);
    if (place.startsWith("terminals") && (await page.evaluate(() => document.activeElement.tagName)) === "TEXTAREA") {
      // In a terminal Tab is the shell's. This is the way out.
      await page.keyboard.press("Control+Shift+F6");
      await inPane(page, "mounts");
      order.push(await focused(page));
      break;
    }
  }
  console.log(`the order of Tab:\n  ${order.join("\n  ")}`);
  const panes = order.map((place) => place.split(":")[0]).filter((pane) => pane !== "page");
  assert.deepEqual(panes.filter((pane, place) => pane !== panes[place - 1]), ["bar", "lesson", "code", "terminals", "mounts"]);
  await context.close();
});
