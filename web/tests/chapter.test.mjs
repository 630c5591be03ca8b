// The chapter in a real browser: what a learner does and sees, from the first prompt to nothing being left.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { card, inCgroup, labOf, openPage, prompt, row, screenshots, shows, start, type } from "./playground.mjs";

let playground;
before(async () => {
  playground = await start({ image: "alpine" });
});
after(async () => {
  assert.equal(await playground?.close(), 0, "the server ends well");
});

test("a mount in a new namespace shows in its card, and the other terminal does not list it", async () => {
  const { page, context, complaints } = await openPage(playground);
  const host = card(page, { ordinal: 0 });
  await row(host, "/").waitFor();
  assert.equal(await card(page, {}).count(), 1);

  // By one click each, as the lesson offers them.
  await page.getByRole("button", { name: "Run in container: unshare --mount sh", exact: true }).first().click();
  const other = card(page, { ordinal: 1 });
  await other.waitFor();
  await prompt(page, "container");
  await page.getByRole("button", { name: "Run in container: mount -t tmpfs tmpfs /mnt", exact: true }).click();
  await row(other, "/mnt").waitFor();
  assert.equal(await row(other, "/mnt").getAttribute("data-fs-type"), "tmpfs");
  assert.match(await row(other, "/mnt").innerText(), /new/, "what appeared says so in words");
  assert.equal(await row(host, "/mnt").count(), 0, "it is in no other card");
  assert.equal(await page.getByRole("tab", { name: /container/ }).getAttribute("data-ordinal"), "1");
  await page.screenshot({ path: join(screenshots, "namespace-dark.png") });

  await type(page, "container", "mount | grep -c ' /mnt '");
  await shows(page, "container", "\n1");
  await type(page, "host", "mount | grep -c ' /mnt '");
  await shows(page, "host", "\n0");

  await type(page, "container", "exit");
  await other.waitFor({ state: "detached" });
  assert.deepEqual(complaints, []);
  await context.close();
});

test("an image is pulled from a real registry, and its container has a card with its own root", async () => {
  const { page, context, complaints } = await openPage(playground, { theme: "light" });
  await type(page, "host", "newroot pull alpine");
  await shows(page, "host", "Pulling done");
  await type(page, "host", "clear; ls -l /fs/alpine/rootfs");
  await shows(page, "host", "usr");
  await type(page, "container", "newroot run alpine /bin/sh");
  const container = card(page, { root: "/fs/alpine/rootfs" });
  await container.waitFor();
  assert.notEqual(await container.getAttribute("data-ordinal"), "0");
  assert.match(await container.innerText(), /chroot/, "an empty table says why it is empty");
  await prompt(page, "container");
  await page.screenshot({ path: join(screenshots, "container-light.png") });
  await type(page, "container", "exit");
  await container.waitFor({ state: "detached" });
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the code that the page shows is the code in the repository", async () => {
  const { page, context } = await openPage(playground);
  const files = await page.evaluate(async () => (await fetch("/api/code")).json());
  assert.ok(files.length >= 5);
  for (const { name, lines } of files) {
    const source = readFileSync(new URL(`../../server/src/runtime/${name}`, import.meta.url), "utf8").split("\n");
    for (const [number, tokens] of lines) {
      assert.equal(tokens.map(([, text]) => text).join(""), source[number - 1], `${name}:${number}`);
    }
  }
  // The second step of the lesson speaks of CLONE_NEWNS; the code pane shows the line.
  await page.getByRole("link", { name: /^Next/ }).click();
  await page.getByRole("region", { name: "Code" }).getByText("CLONE_NEWNS").first().waitFor();
  await context.close();
});

test("a reload shows the same screen", async () => {
  const { page, context } = await openPage(playground);
  await type(page, "host", "echo still $((40 + 2)) here");
  await shows(page, "host", "still 42 here");
  await page.reload();
  await page.waitForSelector("html[data-connection=open]");
  await shows(page, "host", "still 42 here");
  await context.close();
});

test("when a lab has ended the page says so, and nothing of it is left on the machine", async () => {
  const { page, context } = await openPage(playground);
  await type(page, "container", "unshare --mount sh");
  await card(page, { ordinal: 1 }).waitFor();
  await type(page, "container", "mount -t tmpfs tmpfs /mnt; sleep 1000 & sleep 1000");
  await row(card(page, { ordinal: 1 }), "/mnt").waitFor();

  const lab = await labOf(context);
  const labs = join(playground.directory, "run/labs");
  const traces = () => ({
    directories: readdirSync(labs).filter((name) => name === lab).length,
    cgroups: execFileSync("find", ["/sys/fs/cgroup", "-type", "d", "-name", lab], { encoding: "utf8" })
      .split("\n")
      .filter(Boolean).length,
    processes: readdirSync("/proc").filter((pid) => inCgroup(pid, lab)).length,
    mounts: readFileSync("/proc/self/mountinfo", "utf8").split(lab).length - 1,
  });
  const during = traces();
  assert.ok(during.directories === 1 && during.cgroups > 0 && during.processes > 5, JSON.stringify(during));

  const answer = await page.evaluate(async () => (await fetch("/api/lab", { method: "DELETE" })).status);
  assert.equal(answer, 204);
  assert.deepEqual(traces(), { directories: 0, cgroups: 0, processes: 0, mounts: 0 });
  await page.waitForSelector("html[data-connection=ended]");
  await page.screenshot({ path: join(screenshots, "ended-dark.png") });
  await page.getByRole("button", { name: /start a new machine/i }).click();
  await page.waitForSelector("html[data-connection=open]");
  await prompt(page, "host");
  await context.close();
});
