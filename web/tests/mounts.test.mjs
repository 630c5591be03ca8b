// The mounts pane in a real browser: what is said of a mount, in words and shapes, and how it bears ten thousand.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { cost } from "./cost.mjs";
import { card, openPage, prompt, row, screenshots, start, type } from "./playground.mjs";

let playground;
before(async () => {
  playground = await start({ image: "alpine" });
});
after(async () => {
  assert.equal(await playground?.close(), 0, "the server ends well");
});

/** The sign that the style sheet puts before a mount point. */
function sign(row) {
  return row.locator("th > button").evaluate((button) => getComputedStyle(button, "::before").content);
}

/** Waits until a row says a word. */
async function says(row, word) {
  await row.filter({ hasText: word }).waitFor();
}

for (const theme of ["dark", "light"]) {
  test(`rows that come, go, are hidden or in one card only say so in words and shape (${theme})`, async () => {
    const { page, context, complaints } = await openPage(playground, { theme });
    await type(page, "container", "unshare --mount sh");
    const host = card(page, { ordinal: 0 });
    const other = card(page, { ordinal: 1 });
    // unshare(1) first, and then the shell that it becomes.
    await other.getByRole("heading", { name: "sh", exact: true }).waitFor();
    await prompt(page, "container");
    await type(page, "container", "mount -t tmpfs first /mnt; mount -t tmpfs second /mnt; mount -t tmpfs third /opt");
    await row(other, "/opt").waitFor();
    assert.equal(await row(other, "/mnt").count(), 2);
    const lower = row(other, "/mnt").and(page.locator("[data-hidden]"));
    await says(lower, "hidden");
    assert.match(await lower.innerText(), /first/);
    const upper = row(other, "/mnt").and(page.locator(":not([data-hidden])"));
    await says(upper, "new");
    assert.equal(await sign(upper), '"+"');
    assert.equal(await row(host, "/mnt").count(), 0);

    // Opened by the keyboard alone: into the table, to the last row, Enter.
    await other.locator(".table").focus();
    await page.keyboard.press("End");
    await page.keyboard.press("Enter");
    const fields = other.locator("tr.fields");
    await fields.waitFor();
    const names = ["Made by", "Mount point", "Propagation", "Type", "Root", "Options", "Superblock", "Device", "Mounted on", "Mount id"];
    assert.deepEqual(await fields.locator("dt").allInnerTexts(), names);
    await page.screenshot({ path: join(screenshots, `mounts-${theme}.png`) });
    await page.keyboard.press("Enter");
    await fields.waitFor({ state: "detached" });

    // The chapter's two `mount` commands at one glance.
    await page.getByRole("button", { name: "Compare" }).click();
    const compared = page.locator(".compare tr[data-compared]");
    await compared.first().waitFor();
    const only = page.locator('.compare tr[data-compared="right"] th');
    assert.deepEqual(await only.allInnerTexts(), ["/mnt", "/mnt", "/opt"]);
    assert.equal(await compared.count(), 3, "what is the same is not in the way");
    const summary = await page.locator(".compare .summary").innerText();
    assert.match(summary, /^0 only in host, 3 only in sh 1, 0 differ, \d+ the same$/);
    await page.screenshot({ path: join(screenshots, `mounts-compared-${theme}.png`) });
    await page.getByRole("button", { name: "Compare" }).click();

    await type(page, "container", "umount /opt");
    const gone = other.locator('tr[data-mount-point="/opt"][data-state="gone"]');
    await says(gone, "gone");
    await gone.waitFor({ state: "detached" });
    await says(upper, "only here");
    assert.equal(await sign(upper), '"◆"');
    assert.equal(await sign(lower), '"⊘"');
    assert.deepEqual(complaints, []);
    await context.close();
  });
}

test("a peer group names its members in every card, and device nodes share a line", async () => {
  const { page, context, complaints } = await openPage(playground);
  const host = card(page, { ordinal: 0 });
  await type(page, "host", "mkdir -p /srv/a /srv/b; mount -t tmpfs t /srv/a; mount --make-shared /srv/a");
  await type(page, "host", "mount --bind /srv/a /srv/b");
  await row(host, "/srv/b").waitFor();
  await says(row(host, "/srv/a"), "shared:");
  await type(page, "container", "unshare --mount --propagation slave sh");
  const other = card(page, { ordinal: 1 });
  await row(other, "/srv/a").waitFor();
  await says(row(other, "/srv/a"), "master:");
  await other.getByRole("heading", { name: "sh", exact: true }).waitFor();
  await row(host, "/srv/a").getByRole("button").click();
  const fields = host.locator("tr.fields");
  await fields.waitFor();
  const group = (await row(host, "/srv/a").innerText()).match(/shared:(\d+)/)[1];
  const text = (await fields.innerText()).replace(/\s+/g, " ");
  assert.match(text, new RegExp(`peer group ${group}: .*Also in it: /srv/b\\. Receiving only: sh 1 /srv/a, sh 1 /srv/b`));
  await row(host, "/srv/a").getByRole("button").click();

  const nodes = host.locator("tr.nodes");
  assert.match(await nodes.innerText(), /device nodes/);
  assert.equal(await row(host, "/dev/null").count(), 0);
  await nodes.getByRole("button").click();
  await row(host, "/dev/null").waitFor();
  await nodes.getByRole("button").click();
  await row(host, "/dev/null").waitFor({ state: "detached" });

  const filter = page.getByRole("searchbox");
  await filter.fill("devpts");
  await row(host, "/srv/a").waitFor({ state: "detached" });
  assert.equal(await host.locator("tbody tr").count(), 1);
  await filter.fill("nothing like this");
  await host.getByText("No row has").waitFor();
  await filter.press("Escape");
  await page.getByRole("button", { name: "Table", exact: true }).click();
  await page.getByRole("columnheader", { name: "Superblock options" }).first().waitFor();
  await page.screenshot({ path: join(screenshots, "mounts-table.png") });
  await page.getByRole("button", { name: "Table", exact: true }).click();
  assert.deepEqual(complaints, []);
  await context.close();
});

test("ten thousand mounts leave the page smooth", async () => {
  const { page, context, complaints } = await openPage(playground);
  const host = card(page, { ordinal: 0 });
  // Each step doubles the mounts below /srv.
  const double = "mkdir /srv/$i; mount --rbind /srv /srv/$i";
  await type(page, "host", `mkdir -p /srv /mnt; mount -t tmpfs t /srv; for i in $(seq 14); do ${double}; done; clear`);
  await host.getByText(/and 1\d,?\d{3} more rows/).waitFor();
  await prompt(page, "host");
  const rows = await host.locator("tbody tr").count();
  assert.ok(rows < 400, `${rows} rows in the document`);
  await page.screenshot({ path: join(screenshots, "mounts-ten-thousand.png") });

  await cost(page, "one mount among ten thousand", async () => {
    await type(page, "host", "mount -t tmpfs one /mnt");
    await row(host, "/mnt").waitFor();
  });
  await cost(page, "a filter over ten thousand", async () => {
    await page.getByRole("searchbox").fill("/srv/14/13/12/11/10/9/8/7/6/5");
    await host.getByText(/more rows/).waitFor({ state: "detached" });
  });
  await page.getByRole("searchbox").fill("");
  await cost(page, "a storm of 40 mounts and unmounts", async () => {
    await type(page, "container", "mkdir -p /opt; for i in $(seq 40); do mount -t tmpfs s /opt; umount /opt; done; echo over");
    await page.locator('[data-terminal="container"] .xterm-rows').getByText(/^over/).waitFor();
  });
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a card without rows teaches why", async () => {
  const { page, context, complaints } = await openPage(playground, { theme: "light" });
  await type(page, "host", "mkdir /srv/root; cp /bin/busybox /srv/root/sh; chroot /srv/root /sh");
  const rooted = card(page, { root: "/srv/root" });
  await rooted.getByText("chroot moved the root directory, not a mount").waitFor();
  await type(page, "container", "rm -r /srv/root");
  await rooted.getByText("has been deleted").first().waitFor();
  await page.screenshot({ path: join(screenshots, "mounts-deleted-root.png") });
  assert.deepEqual(complaints, []);
  await context.close();
});
