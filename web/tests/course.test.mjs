// The course in a real browser: tasks that the kernel ticks, predictions that it grades, and what is kept of both. Most of it
// on two small lessons of these tests' own (web/tests/lessons), which also shows that lessons need no Rust.

import assert from "node:assert/strict";
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { look } from "./look.mjs";
import { card, openPage, prompt, row, screen, screenshots, shows, start, type } from "./playground.mjs";

const lessons = mkdtempSync(join(tmpdir(), "newroot-lessons-"));
const CHAPTER = "04-mount-namespace-and-root-directory";

let playground;
before(async () => {
  cpSync(new URL("lessons", import.meta.url), lessons, { recursive: true });
  // For the server, who is a user of its own.
  chmodSync(lessons, 0o755);
  playground = await start({ image: "alpine", flags: ["--lessons", lessons] });
});
after(async () => {
  assert.equal(await playground?.close(), 0, "the server ends well");
  rmSync(lessons, { recursive: true, force: true });
});

/** A page on a machine of its own, at a step of a lesson. */
async function openStep(lesson, step, options) {
  const opened = await openPage(playground, options);
  await go(opened.page, lesson, step);
  return opened;
}

/** Goes to a step by its address, as a link to it does. */
async function go(page, lesson, step) {
  await page.goto(`${playground.address}/#/${lesson}/${step}`);
  await page.waitForFunction((step) => document.querySelector(".steps a[aria-current]")?.href.endsWith(`/${step}`), step);
}

/** A task or a quiz by its name. */
function task(page, name) {
  return page.locator(`:is([data-task$="/${name}"], [data-quiz$="/${name}"])`);
}

/** Waits until a task is done. */
async function done(page, name) {
  await task(page, name).and(page.locator('[data-state="done"]')).waitFor();
}

async function state(page, name) {
  return task(page, name).getAttribute("data-state");
}

test("the right words without the effect do nothing, the effect ticks a task whoever brought it about", async () => {
  const { page, context, complaints } = await openStep("90-tasks", "by-its-effect");
  assert.match(await task(page, "own-namespace").innerText(), /Task · to do/);
  assert.match(await task(page, "own-namespace").innerText(), /ticks itself when the kernel shows it/, "said once,");
  assert.doesNotMatch(await task(page, "own-tmpfs").innerText(), /ticks itself/, "and not again");
  await task(page, "own-namespace").locator(".icon").first().click();
  await type(page, "host", "echo unshare --mount sh; echo mount -t tmpfs tmpfs /mnt");
  await shows(page, "host", "\nmount -t tmpfs tmpfs /mnt");

  // On the host is not what is asked for; the advice speaks of that, and of nothing else.
  const advice = task(page, "own-tmpfs").getByText("The host sees it too.");
  assert.equal(await advice.count(), 0);
  await type(page, "host", "clear; mount -t tmpfs tmpfs /mnt");
  await advice.waitFor();
  assert.equal(await state(page, "own-namespace"), "open");
  assert.equal(await state(page, "own-tmpfs"), "open");
  await look(page, "task-advice-dark");
  await type(page, "host", "umount /mnt");
  await advice.waitFor({ state: "detached" });

  // In a way that no lesson names: a loop, a namespace in the background, and into it from outside.
  const there = '[ "$(readlink /proc/$!/ns/mnt)" != "$(readlink /proc/$$/ns/mnt)" ]';
  const enter = "nsenter -t $! -m mount -t tmpfs tmpfs /mnt";
  await type(page, "host", `for i in 1; do unshare -m sleep 1000 & done; until ${there}; do usleep 9999; done; ${enter}`);
  await done(page, "own-namespace");
  await done(page, "own-tmpfs");
  assert.match(await task(page, "own-tmpfs").innerText(), /Task · done/, "in words as well as in colour");
  // What has been done stays done.
  await type(page, "host", "kill $!");
  await card(page, { ordinal: 1 }).waitFor({ state: "detached" });
  assert.equal(await state(page, "own-tmpfs"), "done");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a task that gets done moves nothing, is said once, and makes the way on stand out", async () => {
  const { page, context, complaints } = await openStep("90-tasks", "by-its-effect", { theme: "light" });
  await page.evaluate(() => {
    globalThis.said = [];
    const news = document.getElementById("news");
    const hear = (changes) => changes.forEach(({ addedNodes }) => addedNodes.forEach((node) => node.textContent && said.push(node.textContent)));
    new MutationObserver(hear).observe(news, { childList: true, characterData: true, subtree: true });
  });
  const way = page.locator(".turn");
  assert.equal(await way.getAttribute("data-tasks"), "open");
  const places = () => page.locator(".prose > *").evaluateAll((all) => all.map((one) => one.getBoundingClientRect().top));
  const before = await places();
  // Each by the click that the lesson offers.
  await page.getByRole("button", { name: "Run in container: unshare --mount sh", exact: true }).click();
  await done(page, "own-namespace");
  assert.equal(await way.getAttribute("data-tasks"), "open");
  await prompt(page, "container");
  await page.getByRole("button", { name: "Run in container: mount -t tmpfs tmpfs /mnt", exact: true }).click();
  await done(page, "own-tmpfs");
  await page.locator('.turn[data-tasks="done"]').waitFor();
  assert.deepEqual(await places(), before, "nothing moves");
  await page.locator("#news", { hasText: "All of this lesson is done." }).waitFor({ state: "attached" });
  assert.match(await page.locator(".place .tally").innerText(), /2 of 2/);
  await page.locator("#news p").first().waitFor({ state: "detached" });
  assert.deepEqual(await page.evaluate(() => said), [
    "Task done: Put a shell into a mount namespace of its own. 1 of 2 in this lesson.",
    "Task done: Mount a tmpfs on /mnt that the host does not see. All of this lesson is done.",
  ]);
  await look(page, "task-done-light");

  // A reload shows the same, and celebrates nothing.
  await page.reload();
  await done(page, "own-tmpfs");
  assert.equal(await page.locator("[data-news]").count(), 0);
  assert.equal(await page.locator("#news p").count(), 0);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("what is done just now is drawn once, and not for who wants no motion", async () => {
  const { page, context } = await openStep("90-tasks", "by-its-effect");
  await type(page, "container", "unshare --mount sh");
  const news = page.locator('[data-task$="/own-namespace"][data-news]');
  const animation = () => news.locator(".tick").evaluate((tick) => {
    const { animationName, animationIterationCount } = getComputedStyle(tick);
    return `${animationName} ${animationIterationCount}`;
  });
  await news.waitFor();
  assert.equal(await animation(), "draw 1");
  await page.emulateMedia({ reducedMotion: "reduce" });
  assert.equal(await animation(), "none 1");
  await news.waitFor({ state: "detached" });
  await context.close();
});

test("a prediction is graded against the machine's own tables, from the keyboard alone", async () => {
  const { page, context, complaints } = await openStep("90-tasks", "predicted");
  const one = task(page, "where");
  const answer = one.getByRole("button");
  await one.getByRole("radio").first().focus();
  await page.keyboard.press("Space");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Tab");
  assert.equal(await answer.evaluate((button) => button === document.activeElement), true);
  await page.keyboard.press("Enter");
  await one.getByText("Now run it").waitFor();
  assert.equal(await state(page, "where"), "predicted");
  assert.match(await one.locator("li").nth(1).innerText(), /your answer/);
  // Until the machine has told, it may be changed; a reload keeps it.
  await page.reload();
  await one.getByText("Now run it").waitFor();
  assert.match(await one.locator("li").nth(1).innerText(), /your answer/);

  const several = task(page, "which");
  assert.equal(await several.getByRole("button", { name: "Predict" }).getAttribute("aria-disabled"), "true");
  for (const place of [0, 2]) await several.getByRole("checkbox").nth(place).check();
  await several.getByRole("button", { name: "Predict" }).click();
  await several.getByText("Now run it").waitFor();
  await several.getByRole("button", { name: "Change it" }).click();
  await several.getByRole("checkbox").nth(2).uncheck();
  await several.getByRole("checkbox").nth(1).check();
  await several.getByRole("button", { name: "Predict" }).click();
  await several.getByText("Now run it").waitFor();
  await look(page, "quiz-predicted-dark");

  await page.getByRole("button", { name: "Run in host: mount -t tmpfs tmpfs /opt", exact: true }).click();
  await row(card(page, { ordinal: 0 }), "/opt").waitFor();
  await one.getByText("The kernel's tables say otherwise.").waitFor();
  const options = async (quiz) => (await quiz.locator("li").allInnerTexts()).map((text) => text.replaceAll(/\s+/g, " ").trim());
  assert.deepEqual(await options(one), ["In the host's true", "In another one's your answer not true"]);
  await several.getByText("You were right").waitFor();
  assert.deepEqual(await options(several), ["/opt your answer true", "/proc your answer true", "/nowhere not true"]);
  await look(page, "quiz-told-dark");
  // From then on it stands.
  assert.equal(await one.getByRole("button").count(), 0);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("progress outlives a reload, a reset, and a machine", async () => {
  const { page, context } = await openStep("90-tasks", "by-its-effect");
  await type(page, "container", "unshare --mount sh");
  await done(page, "own-namespace");
  const holds = async () => {
    await done(page, "own-namespace");
    assert.equal(await state(page, "own-tmpfs"), "open");
  };
  await page.reload();
  await holds();
  await prompt(page, "host");
  await page.getByRole("button", { name: "Reset" }).click();
  await page.getByRole("button", { name: "Start over" }).click();
  await card(page, { ordinal: 1 }).waitFor({ state: "detached" });
  await prompt(page, "container");
  await holds();
  // And when the machine is no more: it is the server's to know, then.
  assert.equal(await page.evaluate(async () => (await fetch("/api/lab", { method: "DELETE" })).status), 204);
  await page.waitForSelector("html[data-connection=ended]");
  await page.getByRole("button", { name: /start a new machine/i }).click();
  await page.waitForSelector("html[data-connection=open]");
  await page.reload();
  await holds();
  await context.close();
});

test("one lesson leads to the next and back, nothing is locked, and an address opens its step", async () => {
  const { page, context, complaints } = await openPage(playground, { at: "" });
  const heading = (name) => page.getByRole("heading", { level: 2, name, exact: true }).waitFor();
  // Who comes without an address begins with the chapter.
  await heading("Two shells, two mount tables");
  await page.locator("#lesson").focus();
  await page.keyboard.press("m");
  const menu = page.getByRole("navigation", { name: "All lessons" });
  await menu.getByText("Two shells, two mount tables").waitFor();
  await look(page, "lessons-dark");
  // Another lesson unfolds, and any of its steps can be read, done or not.
  await menu.getByText("Tasks to be tried").click();
  await menu.getByRole("link", { name: "Predicted" }).click();
  await menu.waitFor({ state: "hidden" });
  await heading("Predicted");
  assert.equal(new URL(page.url()).hash, "#/90-tasks/predicted");
  await page.getByRole("link", { name: "Next lesson After the tasks" }).click();
  await heading("The last step");
  assert.equal(await page.getByRole("link", { name: /^Next/ }).count(), 0, "there is nothing after the last");
  await page.getByRole("link", { name: "Previous lesson", exact: true }).click();
  await heading("Predicted");
  await page.locator("#lesson").focus();
  await page.keyboard.press("p");
  await heading("By its effect");
  await page.keyboard.press("p");
  await page.waitForFunction(() => !location.hash.startsWith("#/90-tasks"));
  await page.keyboard.press("n");
  await heading("By its effect");
  // Who comes back without an address goes on where they were.
  const other = await context.newPage();
  await other.goto(playground.address);
  await other.getByRole("heading", { level: 2, name: "By its effect", exact: true }).waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

test("lessons that come again as they were leave the list of them alone", async () => {
  const { page, context } = await openPage(playground);
  // A fault has the page ask for them again, and they are the last good ones. The answer comes when the list is open.
  const file = join(lessons, "91-after/lesson.md");
  const text = readFileSync(file, "utf8");
  let ask;
  const asked = new Promise((resolve) => (ask = resolve));
  await page.route("**/api/lessons", ask);
  writeFileSync(file, `${text}\n<b>No HTML.</b>\n`);
  const question = await asked;
  await page.locator("#lesson").focus();
  await page.keyboard.press("m");
  const menu = page.getByRole("navigation", { name: "All lessons" });
  await menu.getByText("Tasks to be tried").click();
  const link = await menu.getByRole("link", { name: "Predicted" }).elementHandle();
  const answered = page.waitForResponse("**/api/lessons");
  await question.continue();
  await (await answered).finished();
  await page.waitForTimeout(300);
  assert.ok(await link.evaluate((link) => link.isConnected && link.checkVisibility()), "what was unfolded still is");
  writeFileSync(file, text);
  await page.locator(".fault").waitFor({ state: "detached" });
  await context.close();
});

test("a lesson that its author saves shows at once, and what is wrong with it too", async () => {
  const { page, context } = await openStep("91-after", "the-last-step");
  const file = join(lessons, "91-after/lesson.md");
  const text = readFileSync(file, "utf8");
  writeFileSync(file, `${text}\nAnd this has been added.\n`);
  await page.getByText("And this has been added.").waitFor();
  writeFileSync(file, `${text}\n<b>No HTML.</b>\n`);
  await page.getByRole("alert").getByText("91-after/lesson.md:9").waitFor();
  await page.getByText("And this has been added.").waitFor();
  writeFileSync(file, text);
  await page.getByText("And this has been added.").waitFor({ state: "detached" });
  await page.locator(".fault").waitFor({ state: "detached" });
  await context.close();
});

test("the whole chapter by clicks alone, and every task turns green from the kernel's state", async () => {
  const { page, context, complaints } = await openPage(playground);
  const chapter = (await page.evaluate(async () => (await fetch("/api/lessons")).json())).find(({ slug }) => slug === CHAPTER);
  let tasks = 0;
  for (const [number, { slug, title }] of chapter.steps.entries()) {
    await page.getByRole("heading", { level: 2, name: title, exact: true }).waitFor();
    tasks += await doStep(page);
    const way = await page.locator(".turn").getAttribute("data-tasks");
    assert.equal(way, "done", `${slug}: every task is done`);
    if (number + 1 < chapter.steps.length) await page.getByRole("link", { name: /^Next/ }).click();
  }
  assert.ok(tasks >= 5, `${tasks} tasks`);
  assert.match(await page.locator(".place .tally").innerText(), new RegExp(`${tasks} of ${tasks}`));
  await page.screenshot({ path: join(screenshots, "chapter-done-dark.png") });
  assert.deepEqual(complaints, []);
  await context.close();
});

/** Does the step that is open: every command and every task in order, a solution where one follows a task. */
async function doStep(page) {
  let tasks = 0;
  const blocks = await page.locator(".prose > :is(.command, .task, .quiz)").elementHandles();
  for (const block of blocks) {
    const kind = await block.getAttribute("class");
    if (kind === "command") await runCommand(page, block);
    if (kind === "quiz") {
      await (await block.$("input")).check();
      await (await block.$("button")).click();
    }
    if (kind === "task") {
      const solution = await block.evaluateHandle((task) => {
        for (let next = task.nextElementSibling; next && !next.matches(".command, .task, .quiz"); next = next.nextElementSibling) {
          if (next.matches('[data-fold="solution"]') && next.querySelector(".command")) return next;
        }
        return null;
      });
      if (solution.asElement()) {
        await (await solution.asElement().$("summary")).click();
        for (const command of await solution.asElement().$$(".command")) await runCommand(page, command);
      }
      const name = await block.getAttribute("data-task");
      await page.locator(`[data-task="${name}"][data-state="done"]`).waitFor();
      tasks += 1;
    }
  }
  return tasks;
}

/** Clicks a command, and waits until its terminal has a prompt again, or what runs there says that it will not. */
async function runCommand(page, command) {
  const button = await command.$(".run");
  const terminal = /^Run in (\w+):/.exec(await button.getAttribute("aria-label"))[1];
  const before = await screen(page, terminal).innerText();
  await button.click();
  const question = await Promise.race([
    page.waitForFunction((button) => button.hasAttribute("data-ran"), button).then(() => null),
    command.waitForSelector(".question").catch(() => null),
  ]);
  if (question) {
    await (await command.$(".question .primary")).click();
    await page.waitForFunction((button) => button.hasAttribute("data-ran"), button);
  }
  await page.waitForFunction(
    ([name, before]) => {
      const rows = document.querySelector(`[data-terminal="${name}"] .xterm-rows`);
      const lines = [...rows.children].map((row) => row.textContent.trimEnd()).filter(Boolean);
      return rows.innerText !== before && /[#$]$/.test(lines.at(-1) ?? "");
    },
    [terminal, before],
  );
}
