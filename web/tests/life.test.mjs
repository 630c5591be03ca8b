// What a learner is told of the life of their machine: reset, ended, refused.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { card, inCgroup, labOf, openPage, prompt, row, screenshots, shows, start, type } from "./playground.mjs";

let playground;
before(async () => {
  playground = await start({ flags: ["--labs", "2"] });
});
after(async () => {
  assert.equal(await playground?.close(), 0, "the server ends well");
});

/** Ends a browser's lab, so that its place is free, and closes the browser. */
async function leave(page, context) {
  await page.evaluate(async () => (await fetch("/api/lab", { method: "DELETE" })).status);
  await context.close();
}

test("a reset keeps the page, and the machine in it is new", async () => {
  const { page, context, complaints } = await openPage(playground);
  await type(page, "host", "mount -t tmpfs tmpfs /mnt; touch /root/mine");
  await row(card(page, { ordinal: 0 }), "/mnt").waitFor();
  await page.evaluate(() => {
    window.states = [];
    const note = () => window.states.push(document.documentElement.dataset.connection);
    new MutationObserver(note).observe(document.documentElement, { attributeFilter: ["data-connection"] });
  });
  await page.getByRole("button", { name: "Reset" }).click();
  await page.getByRole("button", { name: "Start over" }).click();
  for (const terminal of ["host", "container"]) {
    await shows(page, terminal, "this machine was reset");
    await prompt(page, terminal);
  }
  await row(card(page, { ordinal: 0 }), "/mnt").waitFor({ state: "detached" });
  await row(card(page, { ordinal: 0 }), "/").waitFor();
  await type(page, "host", "ls /root | grep -c mine");
  await shows(page, "host", "\n0");
  assert.deepEqual(await page.evaluate(() => window.states), [], "the connection was there all the time");
  assert.match(await page.locator(".topbar .limits").innerText(), /memory \d+ of 512 MiB/);
  assert.deepEqual(complaints, []);
  await leave(page, context);
});

test("when the lab process is killed the page says so and offers a new machine", async () => {
  const { page, context } = await openPage(playground);
  const lab = await labOf(context);
  const command = (pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8");
  const ours = readdirSync("/proc").filter((pid) => inCgroup(pid, lab) && command(pid).startsWith("newroot\0lab"));
  assert.equal(ours.length, 2, "the lab process and its zygote");
  for (const pid of ours) process.kill(Number(pid), "SIGKILL");
  await page.waitForSelector("html[data-connection=ended]");
  await page.getByText("while nobody was looking").waitFor();
  await page.screenshot({ path: join(screenshots, "killed-dark.png") });
  await page.getByRole("button", { name: "Start a new machine" }).click();
  await page.waitForSelector("html[data-connection=open]");
  await prompt(page, "host");
  await leave(page, context);
});

test("a machine whose time comes says so before and at its end", async () => {
  const short = await start({ flags: ["--life", "10s"] });
  try {
    const { page } = await openPage(short);
    await page.getByText(/This machine ends in \d+ seconds/).waitFor();
    await page.screenshot({ path: join(screenshots, "warning-dark.png") });
    await page.waitForSelector("html[data-connection=ended]");
    await page.getByText("its time was over", { exact: true }).waitFor();
  } finally {
    assert.equal(await short.close(), 0, "the server ends well");
  }
});

test("a room that is full says so, and lets one in when another has left", async () => {
  const [one, two] = [await openPage(playground), await openPage(playground)];
  const context = await playground.browser.newContext({ viewport: { width: 1280, height: 720 } });
  const page = await context.newPage();
  await page.goto(playground.address);
  await page.waitForSelector("html[data-connection=full]");
  await page.getByText("2 machines are running").waitFor();
  await page.screenshot({ path: join(screenshots, "full-dark.png") });
  await leave(one.page, one.context);
  await page.getByRole("button", { name: "Try again" }).click();
  await page.waitForSelector("html[data-connection=open]");
  await prompt(page, "host");
  await leave(two.page, two.context);
  await leave(page, context);
});
