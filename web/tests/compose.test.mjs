// `docker compose up` as the README has it: a real Docker engine, the last stage of the real Dockerfile, the real page
// through the published port. The image is made around the binary that the other tests use.

import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { card, ended, launchBrowser, lineOf, openPage, prompt, row, screenshots, shows, type } from "./playground.mjs";

const deploy = new URL("../../deploy/", import.meta.url).pathname;
const project = "newroot-test";

let directory, engine, browser, env;

/** Runs a program to its end, with the test's engine, and returns what it prints. */
const run = (program, ...words) => execFileSync(program, words, { env, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
const compose = (...words) => run("docker-compose", "--project-name", project, "--file", join(deploy, "compose.yaml"), ...words);
/** The lines that `docker … --quiet` prints, of which there is one for each thing that exists. */
const listed = (...words) => run("docker", ...words, "--quiet").split("\n").filter(Boolean);

before(async () => {
  assert.ok(process.env.NEWROOT_BIN, "NEWROOT_BIN names the binary: run the tests by `cargo xtask test`");
  directory = mkdtempSync(join(tmpdir(), "newroot-compose-"));
  mkdirSync(screenshots, { recursive: true });
  const socket = `unix://${directory}/docker.sock`;
  // The old builder: the newer one is not in every engine.
  env = { ...process.env, DOCKER_HOST: socket, DOCKER_BUILDKIT: "0", NEWROOT_PUBLISH: `127.0.0.1:${await freePort()}` };
  const places = ["--data-root", `${directory}/data`, "--exec-root", `${directory}/exec`, "--pidfile", `${directory}/pid`];
  engine = spawn("dockerd", [...places, "--host", socket], { stdio: ["ignore", "ignore", "pipe"] });
  await lineOf(engine.stderr, /API listen on/);
  buildImage();
});

after(async () => {
  await browser?.close();
  // Nothing is left to be said or ended where the test has come to its end.
  process.stderr.write(compose("logs", "--no-color"));
  compose("down", "--volumes");
  if (engine) await ended(engine, "SIGTERM");
  rmSync(directory, { recursive: true, force: true });
});

/** The Dockerfile's last stage, with an image named as its first stage that holds the binary built outside. */
function buildImage() {
  const context = join(directory, "context");
  const dockerfile = readFileSync(join(deploy, "Dockerfile"), "utf8");
  const last = dockerfile.slice(dockerfile.lastIndexOf("\nFROM ") + 1);
  const [, stage, path] = /^COPY --from=(\S+) (\S+)/m.exec(last);
  mkdirSync(context);
  copyFileSync(process.env.NEWROOT_BIN, join(context, "newroot"));
  writeFileSync(join(context, "Dockerfile"), `FROM scratch\nCOPY newroot ${path}\n`);
  run("docker", "build", "--quiet", "--tag", stage, context);
  writeFileSync(join(context, "Dockerfile"), last);
  run("docker", "build", "--quiet", "--tag", "newroot", context);
}

/** A port that was free a moment ago: the compose file has to name one. */
async function freePort() {
  const server = createServer();
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

/** Waits until the page answers through the published port. */
async function answers(address) {
  // curl waits between its attempts, and gives up by itself.
  const patience = ["--retry", "50", "--retry-delay", "1", "--retry-max-time", "60", "--retry-all-errors"];
  await promisify(execFile)("curl", ["--silent", "--fail", "--output", "/dev/null", ...patience, address]);
}

/**
 * Waits until the engine's new interfaces have their addresses: a browser drops whatever it loads when one changes. The
 * page loads itself again then, which `loading.test.mjs` is about; here it is to load once.
 */
async function settled() {
  const addresses = () => (existsSync("/proc/net/if_inet6") ? readFileSync("/proc/net/if_inet6", "utf8") : "");
  // IFA_F_TENTATIVE of <linux/if_addr.h>, in the fifth field.
  const tentative = (line) => (parseInt(line.split(/ +/)[4], 16) & 0x40) !== 0;
  for (let before; before !== addresses() || before.trim().split("\n").some(tentative); ) {
    before = addresses();
    await pause(1000);
  }
}

test("docker compose up gives machines, and down leaves nothing", async () => {
  compose("up", "--detach", "--no-build");
  const address = `http://${env.NEWROOT_PUBLISH}`;
  await answers(address);
  await settled();
  browser = await launchBrowser();
  const [container] = listed("ps", "--no-trunc");
  const { page, context, complaints } = await openPage({ address, browser });

  await type(page, "host", "newroot pull busybox");
  await shows(page, "host", "Pulling done");
  await type(page, "container", "newroot run --root pivot --mount proc busybox sh");
  const other = card(page, { ordinal: 1 });
  await other.waitFor();
  await prompt(page, "container");
  await type(page, "container", "mkdir -p /data && mount -t tmpfs tmpfs /data");
  await row(other, "/data").waitFor();
  assert.equal(await row(card(page, { ordinal: 0 }), "/data").count(), 0, "it is in no other card");
  await page.screenshot({ path: join(screenshots, "compose-dark.png") });
  assert.deepEqual(complaints, []);
  await context.close();

  const cgroups = () => execFileSync("find", ["/sys/fs/cgroup", "-type", "d", "-path", `*${container}*`], { encoding: "utf8" });
  assert.match(cgroups(), /newroot/, "a lab's cgroup is below the container's");
  compose("down", "--volumes");
  assert.deepEqual(listed("ps", "--all"), []);
  assert.deepEqual(listed("volume", "ls"), []);
  assert.equal(cgroups(), "");
  assert.doesNotMatch(readFileSync("/proc/self/mountinfo", "utf8"), new RegExp(container));
});
