// Every call that makes containers, as a learner sees it: in the list of calls, in the code that follows, on the row of the
// mount table that it made.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { cost } from "./cost.mjs";
import { look } from "./look.mjs";
import { card, lineNow, openPage, prompt, pull, row, shows, start, type } from "./playground.mjs";

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

test("a storm of calls leaves the page smooth, and the document small", async () => {
  const { page, context, complaints } = await openPage(playground);
  await showCalls(page);
  await cost(page, "1000 calls", async () => {
    await type(page, "host", "i=0; while [ $i -lt 1000 ]; do umount /x 2>&-; i=$((i+1)); done; echo ov''er");
    await shows(page, "host", "over");
  });
  const entries = await page.locator("#calls .call").count();
  assert.ok(entries <= 250, `${entries} calls in the document`);
  assert.deepEqual(complaints, []);
  await context.close();
});
