// The chapter as one journey through the lesson: every command of it by the click it offers, one step after the other,
// and at each point what the kernel then shows. A learner's page, not a script: nothing is done that a person could not.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { card, openPage, prompt, row, screen, screenshots, shows, start, type } from "./playground.mjs";

let playground;
before(async () => {
  playground = await start({ image: "alpine" });
});
after(async () => {
  assert.equal(await playground?.close(), 0, "the server ends well");
});

/** Clicks the next command of the step with this text that has not run yet. */
async function run(page, terminal, command) {
  const name = `Run in ${terminal}: ${command}`.replaceAll("\n", " ");
  await page.getByRole("button", { name, exact: true }).and(page.locator(":not([data-ran])")).first().click();
}

/** Goes on by the link, and waits for the step of this title. */
async function next(page, title) {
  await page.getByRole("link", { name: /^Next/ }).click();
  await page.getByRole("heading", { level: 2, name: title, exact: true }).waitFor();
}

/** The line that the code pane brings out. */
function lineOfCode(page) {
  return page.locator(".line.now");
}

test("the chapter's seven points, by clicks and typing", async () => {
  const { page, context, complaints } = await openPage(playground);
  const host = card(page, { ordinal: 0 });

  // Which image it is depends on what the playground has; the page says it.
  const lessons = await page.evaluate(async () => (await fetch("/api/lessons")).text());
  const [, image] = /newroot pull (\w+)/.exec(lessons);

  // 1. Two shells, two mount tables; each mounts what the other does not see; a third begins with the second's table.
  await run(page, "container", "unshare --mount sh");
  const second = card(page, { ordinal: 1 });
  await second.waitFor();
  await prompt(page, "container");
  await run(page, "container", "mount -t tmpfs tmpfs /mnt");
  await row(second, "/mnt").waitFor();
  await run(page, "container", "mount");
  await shows(page, "container", "tmpfs on /mnt");
  await run(page, "host", "mount");
  await shows(page, "host", "/usr/local/bin/newroot");
  assert.doesNotMatch(await screen(page, "host").innerText(), /on \/mnt/);
  await run(page, "host", "mount -t tmpfs tmpfs /opt");
  await row(host, "/opt").waitFor();
  assert.equal(await row(second, "/opt").count(), 0);
  assert.equal(await row(host, "/mnt").count(), 0);
  await run(page, "container", 'unshare --mount sh -c "mount | tail -n 3; sleep 10"');
  const third = card(page, { ordinal: 2 });
  await row(third, "/mnt").waitFor();
  assert.equal(await row(third, "/opt").count(), 0);
  await page.screenshot({ path: join(screenshots, "three-namespaces-dark.png") });

  // 2. What asks for a namespace. The third still sleeps: the click asks, and has it interrupted first.
  await next(page, "What the parent asks for");
  assert.match(await lineOfCode(page).innerText(), /CloneFlags::CLONE_NEWNS/);
  await run(page, "host", "unshare --mount sleep 1000 &");
  await card(page, { ordinal: 3 }).waitFor();
  await run(page, "host", "kill %1");
  await card(page, { ordinal: 3 }).waitFor({ state: "detached" });
  await run(page, "container", "exit");
  const question = page.getByRole("group", { name: "Something runs there already" });
  assert.match(await question.innerText(), /sleep is running in the terminal container/);
  await question.getByRole("button", { name: "Interrupt first" }).click();
  await third.waitFor({ state: "detached" });
  await second.waitFor({ state: "detached" });
  await run(page, "host", "umount /opt");
  await row(host, "/opt").waitFor({ state: "detached" });
  await page.getByText("Solution", { exact: true }).click();
  await page.getByText("Cloneflags: syscall.CLONE_NEWNS").first().waitFor();

  // 3. The image, by the chapter's own command; a second pull has nothing to do.
  await next(page, "Pull an image");
  await run(page, "host", `sudo ./bin/devoxx-docker pull ${image}`);
  await shows(page, "host", `Pulling ${image}`);
  await shows(page, "host", "Pulling done");
  await run(page, "host", `newroot pull ${image}`);
  await prompt(page, "host");
  await run(page, "host", `ls -l /fs/${image}/rootfs`);
  await shows(page, "host", "usr");
  await run(page, "host", "mount -t tmpfs tmpfs /mnt\nmkdir /mnt/lower /mnt/upper /mnt/work /mnt/merged\necho one > /mnt/lower/file");
  await run(
    page,
    "host",
    "mount -t overlay -o userxattr,lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/merged",
  );
  await row(host, "/mnt/merged").waitFor();
  await prompt(page, "host");
  await run(page, "host", "rm /mnt/merged/file");
  await prompt(page, "host");
  await run(page, "host", "ls -l /mnt/lower /mnt/upper /mnt/merged");
  await shows(page, "host", "c---------");
  await run(page, "host", "umount /mnt/merged /mnt");
  await row(host, "/mnt").waitFor({ state: "detached" });

  // 4. Another root directory, with the working directory told before and after.
  await next(page, "Change the root");
  assert.match(await lineOfCode(page).innerText(), /chroot\(rootfs\)/);
  await run(page, "container", `chroot /fs/${image}/rootfs /bin/sh`);
  const elsewhere = card(page, { ordinal: 0, root: `/fs/${image}/rootfs` });
  await elsewhere.waitFor();
  await prompt(page, "container");
  await run(page, "container", "exit");
  await elsewhere.waitFor({ state: "detached" });
  await run(page, "container", `newroot run ${image} /bin/ls /`);
  await shows(page, "container", "Working directory: /\n");
  // An address is enough to come back to a step.
  const { hash } = new URL(page.url());
  await page.reload();
  await page.getByRole("heading", { level: 2, name: "Change the root", exact: true }).waitFor();
  assert.equal(new URL(page.url()).hash, hash);
  await page.waitForSelector("html[data-connection=open]");
  await shows(page, "container", "Working directory: /\n");

  // 5. A command, with a card of its own, which is empty and says why.
  await next(page, "Run a command");
  await run(page, "container", `newroot run ${image} /bin/sh`);
  const container = card(page, { root: `/fs/${image}/rootfs` });
  await container.waitFor();
  assert.match(await container.innerText(), /chroot/);
  await prompt(page, "container");
  await run(page, "container", "echo $$; pwd; ls /");
  await shows(page, "container", "\n1");

  // 6. Why ps says nothing, and what mends it: /proc, then Docker's whole list.
  await next(page, "Why ps says nothing");
  await run(page, "container", "ps");
  await prompt(page, "container");
  await run(page, "container", "mount -t proc proc /proc");
  await row(container, "/proc").waitFor();
  await run(page, "container", "ps; mount");
  await shows(page, "container", "proc on /proc");
  await prompt(page, "container");
  await run(page, "container", "mount -t tmpfs tmpfs /dev; df");
  await shows(page, "container", "% /dev");
  await prompt(page, "container");
  await run(page, "container", "mkdir /dev/pts; mount -t devpts devpts /dev/pts; ls /dev/pts; tty");
  await shows(page, "container", "not a tty");
  await prompt(page, "container");
  await run(page, "container", "exit");
  await container.waitFor({ state: "detached" });
  await run(page, "container", `newroot run --mount proc ${image} /bin/sh`);
  await row(container, "/proc").waitFor();
  await prompt(page, "container");
  await run(page, "container", "ps");
  await shows(page, "container", "1 root");
  await run(page, "container", "exit");
  await container.waitFor({ state: "detached" });
  await run(page, "container", `newroot run --mount default ${image} /bin/sh`);
  for (const place of ["/proc", "/dev", "/dev/pts", "/dev/shm", "/sys"]) await row(container, place).waitFor();
  await prompt(page, "container");
  await run(page, "container", "tty; df; ls -l /dev");
  await shows(page, "container", "urandom");
  await run(page, "container", "exit");
  await container.waitFor({ state: "detached" });

  // 7. The folded exercises around it: a leak, and pivot_root.
  await next(page, "When mounts leak");
  await run(page, "host", "mount --make-rshared /");
  await prompt(page, "host");
  await run(page, "container", `newroot run --propagation unchanged --mount proc ${image} /bin/sh`);
  await row(host, `/fs/${image}/rootfs/proc`).waitFor();
  await host.getByText("shared:").first().waitFor();
  await prompt(page, "container");
  await run(page, "container", "exit");
  await container.waitFor({ state: "detached" });
  await row(host, `/fs/${image}/rootfs/proc`).waitFor();
  await run(page, "host", `umount /fs/${image}/rootfs/proc\nmount --make-rprivate /`);
  await row(host, `/fs/${image}/rootfs/proc`).waitFor({ state: "detached" });
  await prompt(page, "host");

  // A slave receives and does not send; peers do both.
  await next(page, "One way, both ways, no way");
  await run(page, "host", "mount --make-rshared /");
  await host.getByText("shared:").first().waitFor();
  await run(page, "container", "unshare --mount --propagation slave sh");
  const copy = page.locator('article[data-view]:not([data-ordinal="0"]):not([data-state="gone"])');
  await copy.getByText("master:").first().waitFor();
  await prompt(page, "container");
  await run(page, "host", "mount -t tmpfs tmpfs /srv");
  await row(copy, "/srv").waitFor();
  await run(page, "container", "mount -t tmpfs tmpfs /opt");
  await row(copy, "/opt").waitFor();
  assert.equal(await row(host, "/opt").count(), 0);
  await run(page, "container", "exit");
  await copy.waitFor({ state: "detached" });
  await run(page, "container", "unshare --mount --propagation shared sh");
  await copy.waitFor();
  await prompt(page, "container");
  await run(page, "container", "mount -t tmpfs tmpfs /opt");
  await row(host, "/opt").waitFor();
  await run(page, "container", "exit");
  await copy.waitFor({ state: "detached" });
  await run(page, "host", "umount /opt /srv\nmount --make-rprivate /");
  await row(host, "/srv").waitFor({ state: "detached" });
  await prompt(page, "host");

  // Out of a chroot: another root, with the working directory left outside of it.
  await next(page, "Out of a chroot");
  await run(page, "container", `newroot run ${image} /bin/sh`);
  await container.waitFor();
  await prompt(page, "container");
  await run(page, "container", "mkdir -p /jail/bin; cp /bin/busybox /jail/bin; ln -s busybox /jail/bin/sh; cp -a /lib /jail");
  await prompt(page, "container");
  await run(page, "container", "nsenter --root=/jail /bin/sh");
  await card(page, { root: `/fs/${image}/rootfs/jail` }).waitFor();
  await prompt(page, "container");
  await run(page, "container", "cd -P ../../..; busybox ls");
  await prompt(page, "container");
  await run(page, "container", "busybox chroot . /bin/sh");
  const escaped = page.locator('article[data-view][data-root="/"]:not([data-ordinal="0"]):not([data-state="gone"])');
  await row(escaped, "/usr/local/bin/newroot").waitFor();
  await prompt(page, "container");
  await run(page, "container", "ls /fs");
  await shows(page, "container", `\n${image}`);
  for (const left of [escaped, card(page, { root: `/fs/${image}/rootfs/jail` }), container]) {
    await run(page, "container", "exit");
    await left.waitFor({ state: "detached" });
    await prompt(page, "container");
  }

  await next(page, "A root of its own: pivot_root");
  await run(page, "container", `newroot run --root pivot ${image} /bin/sh`);
  const pivoted = page.locator('article[data-view][data-root="/"]:not([data-ordinal="0"]):not([data-state="gone"])');
  await row(pivoted, "/").waitFor();
  // It begins as a copy; one row is left of that.
  await pivoted.locator("tbody tr").nth(1).waitFor({ state: "detached" });
  await prompt(page, "container");
  await run(page, "container", "nsenter --root=/jail /bin/sh");
  await card(page, { root: "/jail" }).waitFor();
  await prompt(page, "container");
  await run(page, "container", "cd -P ../../..; busybox ls");
  await shows(page, "container", "jail");
  await run(page, "container", "exit");
  await card(page, { root: "/jail" }).waitFor({ state: "detached" });
  await prompt(page, "container");
  await run(page, "host", `newroot run ${image} /bin/sh`);
  await container.waitFor();
  await page.screenshot({ path: join(screenshots, "chroot-and-pivot-dark.png") });
  await prompt(page, "host");
  await prompt(page, "container");
  await run(page, "host", "exit");
  await run(page, "container", "exit");
  await pivoted.waitFor({ state: "detached" });

  // The resources, and back by a link.
  await next(page, "What you have built");
  for (const page_of_the_manual of ["mount_namespaces(7)", "chroot(2)", "Filesystem Hierarchy Standard"]) {
    const link = page.getByRole("link", { name: page_of_the_manual });
    assert.match(await link.getAttribute("href"), /^https:/);
  }
  await page.getByRole("link", { name: /^Previous/ }).click();
  await page.getByRole("heading", { level: 2, name: "A root of its own: pivot_root" }).waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the shell twin of the runtime makes a container in a lab", async () => {
  const { page, context } = await openPage(playground);
  const lessons = await page.evaluate(async () => (await fetch("/api/lessons")).json());
  const chapter = lessons.find(({ slug }) => slug.startsWith("04-"));
  const { lines, steps, name } = chapter.twins.find(({ language }) => language === "shell");
  assert.deepEqual(
    steps.map((step) => step.name).sort(),
    chapter.twins.find(({ language }) => language === "go").steps.map((step) => step.name).sort(),
    "the twins have the same steps",
  );
  await type(page, "host", `cat > ${name}`);
  for (const [, tokens] of lines) {
    await page.keyboard.insertText(tokens.map(([, text]) => text).join(""));
    await page.keyboard.press("Enter");
  }
  await page.keyboard.press("Control+d");
  await prompt(page, "host");
  await type(page, "host", `clear; sh ${name} pull busybox`);
  await shows(page, "host", "Pulling done");
  await type(page, "host", `sh ${name} run busybox /bin/sh`);
  const changed = card(page, { root: "/fs/busybox/rootfs" });
  await changed.waitFor();
  await prompt(page, "host");
  await type(page, "host", "echo pid $$; exit");
  await shows(page, "host", "pid 1");
  await changed.waitFor({ state: "detached" });
  await type(page, "host", `MOUNT=proc ROOT=pivot sh ${name} run busybox /bin/sh`);
  const pivoted = page.locator('article[data-view][data-root="/"]:not([data-ordinal="0"]):not([data-state="gone"])');
  await row(pivoted, "/proc").waitFor();
  await row(pivoted, "/").waitFor();
  await row(pivoted, "/usr/local/bin/newroot").waitFor({ state: "detached" });
  await context.close();
});
