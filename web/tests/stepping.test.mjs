// Step-through, as a learner uses it: in its bar, in the code, in the tables, by keys, with a lost connection.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { look } from "./look.mjs";
import { card, lineNow, openPage, prompt, pull, row, start, type } from "./playground.mjs";

let playground;
before(async () => {
  playground = await start({ image: "alpine" });
});
after(async () => {
  assert.equal(await playground?.close(), 0, "the server ends well");
});

/** Turns step-through on or off, and waits until the lab says so. */
async function stepThrough(page, on) {
  await page.getByRole("switch", { name: "Step-through" }).click();
  await page.locator("#stepping").waitFor({ state: on ? "visible" : "detached" });
}

/** Waits until a call of this name waits, and tells what the bar says of it. */
async function waiting(page, name) {
  const bar = page.locator('#stepping[data-state="waiting"]');
  await bar.locator(".what code", { hasText: new RegExp(`^${name}\\(`) }).waitFor();
  const text = (selector) => bar.locator(selector).innerText();
  return {
    about: await text(".about"),
    call: await text(".what code"),
    who: await text(".what .who"),
    line: (await bar.locator(".what .code-link").count()) ? await text(".what .code-link") : null,
    before: (await text(".before")).replaceAll(/\s+/g, " "),
  };
}

test("newroot run --root pivot is stepped through call by call, each with its sentence, its line and its tables", async () => {
  const { page, context, complaints } = await openPage(playground);
  await pull(page);
  await stepThrough(page, true);
  await type(page, "container", "newroot run --root pivot alpine /bin/sh");
  const next = page.locator("#stepping").getByRole("button", { name: /^Next call/ });
  const host = card(page, { ordinal: 0 });
  const made = card(page, { ordinal: 1 });
  const rows = (card) => card.locator("tbody tr[data-id]:not([data-state=gone])").count();
  const file = page.locator("#code .file");

  const first = await waiting(page, "execve");
  assert.match(first.about, /^Replace the program of this process by "\/usr\/local\/bin\/newroot"/);
  assert.match(first.who, /^sh\(\d+\)$/);
  await next.click();

  const clone = await waiting(page, "clone");
  assert.match(clone.about, /^Start a child process with its own list of mounts/);
  assert.match(clone.call, /CLONE_NEWNS/);
  assert.match(clone.line, /^parent\.rs:\d+$/);
  assert.equal(await made.count(), 0, "no second table before the call");
  assert.match((await lineNow(page)).text, /process::clone\(namespaces/);
  await next.click();

  const again = await waiting(page, "execve");
  await made.waitFor();
  assert.equal(await rows(made), await rows(host), "a new mount namespace begins with a copy");
  assert.match(again.before, /^Before: clone = \d+/);
  await next.click();

  const private_ = await waiting(page, "mount");
  assert.match(private_.about, /^Make the mount at "\/" and all mounts below it private/);
  assert.equal(private_.call, 'mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)');
  assert.match(private_.line, /^mounts\.rs:\d+$/);
  await file.getByText("mounts.rs").waitFor();
  assert.match((await lineNow(page)).text, /mount\(NONE, "\/", NONE, MsFlags::MS_REC \| flag, NONE\).*mount waits/s);
  await next.click();

  await page.locator("#stepping .what code", { hasText: "MS_BIND" }).waitFor();
  const bind = await waiting(page, "mount");
  assert.match(bind.about, /^Show what is at "\/fs\/alpine\/rootfs".*\(a bind mount\)/);
  assert.match((await lineNow(page)).text, /mount\(Some\(rootfs\), rootfs/);
  assert.equal(await row(made, "/fs/alpine/rootfs").count(), 0, "before the call the tables are as they are");
  await look(page, "step-through-bind-dark");
  await next.click();

  const pivot = await waiting(page, "pivot_root");
  assert.match(pivot.before, /mount = 0 .*1 row came in newroot 1/);
  assert.match(pivot.about, /^Make "\." the root of this mount namespace/);
  assert.match((await lineNow(page)).text, /pivot_root\("\.", "\."\)/);
  await row(made, "/fs/alpine/rootfs").and(page.locator("[data-state=new]")).waitFor();
  assert.equal(await row(host, "/fs/alpine/rootfs").count(), 0, "it is in the container's table alone");
  await next.click();

  const unmount = await waiting(page, "umount2");
  assert.match(unmount.about, /^Take the mount at "\." out of the tree/);
  assert.match((await lineNow(page)).text, /umount2\("\.", MntFlags::MNT_DETACH\)/);
  assert.ok((await rows(made)) > 1, "the old root is still there");
  await next.click();

  await page.locator("#stepping .what code", { hasText: '"/bin/sh"' }).waitFor();
  const last = await waiting(page, "execve");
  assert.match(last.about, /^Replace the program of this process by "\/bin\/sh"/);
  assert.match(last.before, /umount2 = 0 .*went in/);
  assert.equal(await rows(made), 1, "the image is all that is left");
  assert.ok((await made.locator("tr[data-state=gone]").count()) > 0, "what went is still there to be seen, struck");
  await look(page, "step-through-pivoted-dark");
  await next.click();
  await page.locator('#stepping[data-state="idle"]').waitFor();
  await prompt(page, "container");
  await stepThrough(page, false);
  await type(page, "container", "exit");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("any program is stepped through: unshare --mount sh, from within the terminal, and run on", async () => {
  const { page, context, complaints } = await openPage(playground, { theme: "light" });
  await stepThrough(page, true);
  await page.locator("#stepping").getByText("The next call of any program waits here.").waitFor();
  await type(page, "container", "unshare --mount sh");
  assert.match((await waiting(page, "execve")).call, /"unshare", "--mount", "sh"/);
  // The terminal has the keyboard all the time, and its program waits.
  await page.keyboard.press("F10");
  const unshare = await waiting(page, "unshare");
  assert.equal(unshare.about, "Give this process its own list of mounts.");
  assert.equal(unshare.call, "unshare(CLONE_NEWNS)");
  assert.match(unshare.who, /^unshare\(\d+\)$/);
  assert.equal(unshare.line, null, "it is no line of ours");
  await page.keyboard.press("F10");
  const private_ = await waiting(page, "mount");
  assert.match(private_.about, /private/);
  const made = card(page, { ordinal: 1 });
  await made.waitFor();
  assert.match(private_.before, /^Before: unshare = 0/);
  await look(page, "step-through-unshare-light");
  await page.keyboard.press("F8");
  await page.locator('#stepping[data-state="idle"]').waitFor();
  await made.getByRole("heading", { name: "sh", exact: true }).waitFor();
  await prompt(page, "container");
  // The shell runs on, and so do its children.
  await type(page, "container", "mount -t tmpfs one /mnt");
  await row(made, "/mnt").waitFor();

  // In the shell before it, which does not, calls wait as those of the other terminal do; turning it off lets all go.
  await type(page, "container", "exit");
  await made.waitFor({ state: "detached" });
  await prompt(page, "container");
  await type(page, "host", "mount -t tmpfs two /opt");
  await waiting(page, "execve");
  await type(page, "container", "hostname other");
  const others = page.getByRole("group", { name: "Calls that wait" });
  await others.getByText("2 wait:").waitFor();
  assert.equal(await others.getByRole("button").count(), 2);
  await look(page, "step-through-several-light");
  await others.getByRole("button").last().click();
  assert.equal(await others.getByRole("button").last().getAttribute("aria-pressed"), "true");
  await stepThrough(page, false);
  await row(card(page, { ordinal: 0 }), "/opt").waitFor();
  await prompt(page, "host");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("calls and step-through, from the keyboard alone", async () => {
  const { page, context } = await openPage(playground);
  const press = (...keys) => keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());
  await page.locator("#lesson").focus();
  await press("S");
  await page.locator("#stepping").waitFor();
  await page.keyboard.press("3");
  await page.waitForFunction(() => document.activeElement?.closest("#terminals"));
  // While nothing waits, these keys are the terminal's.
  await page.keyboard.type("hostname keys");
  await press("Enter");
  const call = await waiting(page, "sethostname");
  assert.equal(call.about, 'Call the machine "keys", within this UTS namespace.');
  await press("Control+Shift+F6");
  await page.waitForFunction(() => !document.activeElement?.closest("#terminals"));
  await press("N");
  await page.locator('#stepping[data-state="idle"]').waitFor();
  await press("3");
  await page.waitForFunction(() => document.activeElement?.closest("#terminals"));
  await page.keyboard.type("hostname again");
  await press("Enter");
  await waiting(page, "sethostname");
  await press("Control+Shift+F6");
  await page.waitForFunction(() => !document.activeElement?.closest("#terminals"));
  await press("O");
  await page.locator('#stepping[data-state="idle"]').waitFor();
  await press("5");
  await page.waitForFunction(() => document.activeElement?.id === "calls");
  await page.getByRole("list", { name: "Calls, newest last" }).focus();
  await press("End", "Enter");
  await page.locator("#calls .call-details").waitFor();
  const opened = page.locator('#calls .summary[aria-expanded="true"]');
  assert.match(await opened.innerText(), /sethostname/);
  await press("Enter");
  await page.locator("#calls .call-details").waitFor({ state: "detached" });
  await press("ArrowUp");
  assert.match(await page.evaluate(() => document.activeElement.textContent), /sethostname\("keys"/);
  await press("4");
  await page.waitForFunction(() => document.activeElement?.id === "mounts");
  await press("S");
  await page.locator("#stepping").waitFor({ state: "detached" });
  await context.close();
});

test("a lost connection says what becomes of the call that waits", async () => {
  const context = await playground.browser.newContext({ viewport: { width: 1280, height: 720 }, colorScheme: "light" });
  context.setDefaultTimeout(90_000);
  const page = await context.newPage();
  const sockets = [];
  await page.routeWebSocket(/\/api\/lab/, (socket) => {
    sockets.push(socket);
    // The second one hangs, until the picture is taken.
    if (sockets.length !== 2) socket.connectToServer();
  });
  await page.goto(playground.address);
  await prompt(page, "host");
  await stepThrough(page, true);
  await type(page, "host", "hostname lost");
  await waiting(page, "sethostname");
  await sockets[0].close({ code: 1011 });
  await page.locator("#stepping .about").getByText(/^No connection/).waitFor();
  assert.equal(await page.getByRole("button", { name: /^Next call/ }).getAttribute("aria-disabled"), "true");
  await look(page, "step-through-lost-light");
  await context.close();
});

test("on a tablet the calls are a pane of their own; on a large screen they stand beside the tables", async () => {
  const context = await playground.browser.newContext({ viewport: { width: 820, height: 1180 }, colorScheme: "light" });
  context.setDefaultTimeout(90_000);
  const page = await context.newPage();
  await page.goto(playground.address);
  await prompt(page, "host");
  await page.getByRole("navigation", { name: "Panes" }).getByRole("button", { name: "Calls" }).click();
  await page.locator("#calls").waitFor();
  assert.ok(!(await page.locator("#mounts").isVisible()));
  await page.getByRole("switch", { name: "Step-through" }).click();
  await page.locator("#stepping").waitFor();
  await page.getByRole("navigation", { name: "Panes" }).getByRole("button", { name: "Terminals" }).click();
  await type(page, "host", "hostname tablet");
  await waiting(page, "sethostname");
  await page.getByRole("navigation", { name: "Panes" }).getByRole("button", { name: "Calls" }).click();
  await look(page, "step-through-tablet-light");
  await page.setViewportSize({ width: 1920, height: 1080 });
  await page.getByRole("button", { name: "Both" }).first().click();
  await page.locator("#mounts").waitFor();
  assert.ok(await page.locator("#calls").isVisible());
  await look(page, "step-through-large-light");
  await context.close();
});
