// Every call that makes containers, as a learner sees it: in the list of calls, in the bar of step-through, in the code
// that follows, on the row of the mount table that it made.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { look } from "./look.mjs";
import { card, openPage, prompt, row, shows, start, type } from "./playground.mjs";

let playground;
before(async () => {
  playground = await start({ image: "alpine" });
});
after(async () => {
  assert.equal(await playground?.close(), 0, "the server ends well");
});

/** The calls of a name, in the list. */
function calls(page, name, state) {
  return page.locator(`#calls .call[data-name="${name}"]${state ? `[data-state="${state}"]` : ""}`);
}

function showCalls(page) {
  return page.locator(".below-switch:visible").getByRole("button", { name: /^Calls/ }).click();
}

function showMounts(page) {
  return page.locator(".below-switch:visible").getByRole("button", { name: "Mounts" }).click();
}

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

async function pull(page) {
  await type(page, "host", "newroot pull alpine");
  await shows(page, "host", "Pulling done");
  await prompt(page, "host");
}

/** The text of the line that the code pane brings out, and the outcome beside it. */
async function lineNow(page) {
  const line = page.locator("#code .line.now");
  return { number: await line.getAttribute("data-line"), text: await line.innerText() };
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

for (const theme of ["dark", "light"]) {
  test(`calls are listed with their results, and what failed says why (${theme})`, async () => {
    const { page, context, complaints } = await openPage(playground, { theme });
    await showCalls(page);
    await page.getByRole("button", { name: "Clear" }).click();
    await page.getByText("No call since then").waitFor();
    await look(page, `calls-empty-${theme}`);
    await type(page, "host", "mount -t tmpfs one /mnt; umount /proc/none; chroot /nowhere; hostname other; unshare -m true");
    await prompt(page, "host");
    const mount = calls(page, "mount", "returned").first();
    await mount.waitFor();
    assert.match(await mount.innerText(), /mount\(\d+\)\s*mount\("one", "\/mnt", "tmpfs", .*\)\s*= 0/);
    assert.equal(await mount.getAttribute("data-hue"), "0");
    const failed = calls(page, "chroot", "failed");
    assert.match(await failed.innerText(), /chroot\("\/nowhere"\)\s*ENOENT\s*No such file or directory/);

    // Opened: the sentence, arguments by name, the rows, the manual.
    await mount.locator(".summary").click();
    const details = mount.locator(".call-details");
    assert.match(await details.innerText(), /Mount a file system of type "tmpfs" on "\/mnt"\./);
    assert.match(await details.innerText(), /filesystemtype\s*"tmpfs"/);
    assert.match(await details.innerText(), /The manual: mount\(2\)/);
    assert.match(await details.locator(".changes").innerText(), /host\s*\/mnt\s*new\s*tmpfs, private/);
    await look(page, `calls-${theme}`);

    // Kinds.
    const kinds = page.getByRole("group", { name: "Kinds of calls that are shown" });
    const kindsLeft = () => page.locator("#calls .call").evaluateAll((all) => [...new Set(all.map((call) => call.dataset.name))].sort());
    for (const kind of ["programs", "roots"]) await kinds.getByRole("button", { name: kind }).click();
    await failed.waitFor({ state: "detached" });
    assert.deepEqual((await kindsLeft()).filter((name) => ["execve", "chroot", "pivot_root"].includes(name)), []);
    assert.ok((await kindsLeft()).includes("sethostname"));
    for (const kind of ["programs", "roots"]) await kinds.getByRole("button", { name: kind }).click();
    await failed.waitFor();

    // Paused, the list stays; what comes is counted, and shown when it goes on.
    await page.getByRole("button", { name: "Pause" }).click();
    const before = await page.locator("#calls .call").count();
    await type(page, "host", "umount /mnt");
    const goOn = page.getByRole("button", { name: /^Paused; \d+ more calls? came\. Go on$/ });
    await goOn.waitFor();
    await row(card(page, { ordinal: 0 }), "/mnt").waitFor({ state: "detached" });
    assert.equal(await page.locator("#calls .call").count(), before);
    await look(page, `calls-paused-${theme}`);
    await goOn.click();
    await calls(page, "umount2", "returned").waitFor();

    // Beside the tables, and gone at a word.
    await page.locator(".below-switch:visible").getByRole("button", { name: "Both" }).click();
    await page.locator("#mounts").waitFor();
    assert.ok(await page.locator("#calls").isVisible());
    await look(page, `calls-beside-${theme}`);
    await page.getByRole("button", { name: "Clear" }).click();
    await page.getByText("No call since then").waitFor();
    await showMounts(page);
    assert.deepEqual(complaints, []);
    await context.close();
  });
}

test("a row tells the call that made it, with its line; a leak tells who carried it", async () => {
  const { page, context, complaints } = await openPage(playground);
  await pull(page);
  const host = card(page, { ordinal: 0 });
  const fields = host.locator("tr.fields");
  const madeBy = async () => (await fields.locator(".made-by").innerText()).replaceAll(/\s+/g, " ");
  const open = (mountPoint) => row(host, mountPoint).getByRole("button").click();
  await open("/proc");
  assert.equal(await madeBy(), "Made by It was there before Newroot looked.");
  await open("/proc");

  await type(page, "container", "newroot run --no-mount-ns --mount proc alpine /bin/sh");
  const proc = row(host, "/fs/alpine/rootfs/proc");
  await proc.getByText("see warning").waitFor();
  await open("/fs/alpine/rootfs/proc");
  assert.match(await madeBy(), /^Made by mount\(2\) by newroot\(\d+\) at [\d:.]+ It was mounted here\. mounts\.rs:\d+ Show the call This process has a PID namespace of its own, but the host's mount namespace: the mount is the host's, and stays there/);
  await look(page, "leak-no-mount-ns-dark");

  // Meanwhile the code has followed; the link leads back to the line.
  await page.locator("#code .whereabouts").getByText(/^following newroot\(\d+\)$/).waitFor();
  await fields.locator(".made-by").getByRole("button", { name: /^Show mounts\.rs:\d+ in the code$/ }).click();
  await page.locator("#code .file").getByText("mounts.rs").waitFor();
  assert.match((await lineNow(page)).text, /^\s*mount\(|\.map_err|mount\(/);
  await fields.getByRole("button", { name: "Show the call" }).click();
  const call = page.locator("#calls .call", { has: page.locator('[aria-expanded="true"]') });
  await call.locator(".warning").waitFor();
  assert.equal(await call.getAttribute("data-name"), "mount");
  await look(page, "leak-call-dark");
  await showMounts(page);
  await type(page, "container", "exit");
  await prompt(page, "container");
  await type(page, "host", "umount /fs/alpine/rootfs/proc; mount --make-rshared /; clear");
  await row(host, "/fs/alpine/rootfs/proc").waitFor({ state: "detached" });

  await type(page, "container", "newroot run --propagation unchanged --mount proc alpine /bin/sh");
  await proc.getByText(/by peer group \d+/).waitFor();
  const group = (await proc.innerText()).match(/by peer group (\d+)/)[1];
  await open("/fs/alpine/rootfs/proc");
  assert.match(await madeBy(), new RegExp(`It was mounted in another namespace; peer group ${group} carried it here`));
  await look(page, "leak-peer-group-dark");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the code follows newroot, says so, and leads back; what failed has its errno beside the line", async () => {
  const { page, context, complaints } = await openPage(playground);
  await pull(page);
  const whereabouts = page.locator("#code .whereabouts");
  await type(page, "container", "newroot run alpine /bin/nothing");
  await shows(page, "container", "no such file");
  await whereabouts.getByText(/^following newroot\(\d+\)$/).waitFor();
  const line = page.locator('#code .line.now[data-call="failed"]');
  assert.match(await line.innerText(), /command\.exec\(\).*ENOENT: No such file or directory/s);
  await look(page, "follow-failed-dark");
  // A twin shows its step of the same name.
  await page.getByRole("button", { name: "Go", exact: true }).click();
  await page.locator("#code .lines").getByText("runCommand becomes the command").waitFor();
  await page.getByRole("button", { name: "Rust", exact: true }).click();
  // Who looks something up is not thrown out of it.
  await page.getByRole("combobox", { name: "Part of the code" }).selectOption("propagation");
  await whereabouts.getByText(/^not following newroot\(\d+\)$/).waitFor();
  await type(page, "container", "newroot run alpine /bin/true");
  await prompt(page, "container");
  assert.equal(await page.locator("#code .file").innerText().then((name) => name.trim().endsWith("mounts.rs")), true);
  await whereabouts.getByRole("button", { name: "Follow" }).click();
  await page.locator("#code .file").getByText("child.rs").waitFor();
  await whereabouts.getByRole("button", { name: "Back to the lesson" }).click();
  await whereabouts.waitFor({ state: "detached" });
  await page.locator("#code .file").getByText("parent.rs").waitFor();
  // Turned off, it stays where it is.
  await page.locator("#code").getByRole("button", { name: "Follow" }).click();
  await type(page, "container", "newroot run alpine /bin/true; echo do''ne");
  await shows(page, "container", "done");
  await page.locator("#code .file").getByText("parent.rs").waitFor();
  assert.equal(await whereabouts.count(), 0);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the list follows the newest call, and holds still for whoever reads further up", async () => {
  const { page, context } = await openPage(playground);
  await showCalls(page);
  await type(page, "host", "for i in $(seq 30); do /bin/true; done");
  const list = page.getByRole("list", { name: "Calls, newest last" });
  await page.waitForFunction(() => document.querySelectorAll("#calls .call").length > 30);
  const atEnd = () => list.evaluate((list) => list.scrollTop + list.clientHeight >= list.scrollHeight - 2);
  await page.waitForFunction(() => {
    const list = document.querySelector(".calls-list");
    return list.scrollTop > 0 && list.scrollTop + list.clientHeight >= list.scrollHeight - 2;
  });
  assert.ok(await atEnd());
  await list.evaluate((list) => list.scrollTo(0, 0));
  await type(page, "host", "hostname reader");
  const news = page.getByRole("button", { name: /^\d+ new calls?$/ });
  await news.waitFor();
  assert.equal(await calls(page, "sethostname").count(), 0);
  await news.click();
  await calls(page, "sethostname", "returned").waitFor();
  await page.waitForFunction(() => {
    const list = document.querySelector(".calls-list");
    return list.scrollTop + list.clientHeight >= list.scrollHeight - 2;
  });
  await news.waitFor({ state: "detached" });
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
  await press("Control+Shift+F6", "O");
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

test("a storm of calls leaves the page smooth, and the document small", async () => {
  const { page, context, complaints } = await openPage(playground);
  await showCalls(page);
  const client = await context.newCDPSession(page);
  await client.send("Performance.enable");
  const spent = async () => {
    const { metrics } = await client.send("Performance.getMetrics");
    return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
  };
  await page.evaluate(() => {
    window.frames_ = [];
    let last = performance.now();
    const frame = (now) => {
      window.frames_.push(now - last);
      last = now;
      window.frame_ = requestAnimationFrame(frame);
    };
    window.frame_ = requestAnimationFrame(frame);
  });
  const before = await spent();
  const began = Date.now();
  await type(page, "host", "i=0; while [ $i -lt 1000 ]; do umount /x 2>&-; i=$((i+1)); done; echo ov''er");
  await shows(page, "host", "over");
  const seconds = (Date.now() - began) / 1000;
  const after = await spent();
  const frames = await page.evaluate(() => {
    cancelAnimationFrame(window.frame_);
    const sorted = window.frames_.slice(1).sort((a, b) => a - b);
    return [sorted.length, sorted[sorted.length >> 1], sorted.at(-1)].map((number) => number.toFixed(1));
  });
  const ms = (name) => `${((after[name] - before[name]) * 1000).toFixed(0)} ms`;
  console.log(`1000 calls in ${seconds.toFixed(1)} s: script ${ms("ScriptDuration")}, layout ${ms("LayoutDuration")}, style ${ms("RecalcStyleDuration")}; frames, median, longest in ms: ${frames}`);
  const entries = await page.locator("#calls .call").count();
  assert.ok(entries <= 250, `${entries} calls in the document`);
  assert.deepEqual(complaints, []);
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
