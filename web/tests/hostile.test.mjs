// What a learner's programs may write: bytes that would have a terminal busy for minutes, and names that would turn, hide or
// cover the page's own words. The page goes on.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { openPage, prompt, row, shows, start, type } from "./playground.mjs";

let playground;
before(async () => {
  playground = await start();
});
after(async () => {
  assert.equal(await playground?.close(), 0, "the server ended well");
});

/** Sequences that take as long as their number says, and some that are slow by the thousand. */
const many = "2147483647";
const floods = {
  "repeated characters": `x\\033[${many}b`,
  "tabs": `\\033[${many}I`,
  "tabs backwards": `\\033[${many}Z`,
  "lines scrolled up": `\\033[${many}S`,
  "lines scrolled down": `\\033[${many}T`,
  "lines inserted": `\\033[H\\033[${many}L`,
  "lines deleted": `\\033[H\\033[${many}M`,
};

test("no number in a sequence keeps the page from its learner", async () => {
  const { page, context, complaints } = await openPage(playground);
  for (const [what, flood] of Object.entries(floods)) {
    await type(page, "host", `clear; printf '${flood}\\033[H\\033[2J'; echo =${what.replaceAll(" ", '""-')}=`);
    await shows(page, "host", `=${what.replaceAll(" ", "-")}=`);
    await prompt(page, "host");
  }
  // What they do is still done, as often as can be seen.
  await type(page, "host", "clear; printf 'ab\\033[9b|\\n'");
  await shows(page, "host", "abbbbbbbbbb|");
  await type(page, "host", "clear; printf 'first\\nsecond\\n\\033[2A\\033[1M\\033[1B'");
  await shows(page, "host", "second");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("no list, mark or link of a program's keeps the page from its learner", async () => {
  const { page, context, complaints } = await openPage(playground);
  // Fifty thousand colours asked for in one sequence; thirty thousand marks on one letter; links without end.
  const repeat = (text, times) => `yes '${text}' | head -n ${times} | tr -d '\\n'`;
  const floods = {
    colours: `printf '\\033]4;'; ${repeat("1;?;", 50_000)}; printf '1;?\\007'`,
    marks: `printf e; ${repeat("\u0301", 30_000)}; echo`,
    links: `yes | head -n 30000 | awk '{printf "\\033]8;;http://x/%d\\007l\\033]8;;\\007", NR}'; echo`,
  };
  for (const [what, flood] of Object.entries(floods)) {
    await type(page, "host", `${flood}; clear; echo =${what[0]}""${what.slice(1)}=`);
    await shows(page, "host", `=${what}=`);
    await prompt(page, "host");
  }
  const marked = page.locator('[data-terminal="host"] .xterm-rows > div');
  await type(page, "host", `clear; printf e; ${repeat("\u0301", 100)}; echo =th""ere=`);
  await shows(page, "host", "=there=");
  const text = (await marked.allTextContents()).join("\n");
  assert.match(text, /e\u0301{16,18}=there=/, "so many marks are kept");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a machine's words stand in the page as they are, and move nothing", async () => {
  const { page, context, complaints } = await openPage(playground);
  // RIGHT-TO-LEFT OVERRIDE, and a Hebrew letter.
  await type(page, "host", "mkdir $(printf '/a\\342\\200\\256b') /$(printf '\\327\\220')");
  await prompt(page, "host");
  await type(page, "host", "mount -t tmpfs $(printf 's\\342\\200\\256t') /a*b; mount -t tmpfs hebrew /$(printf '\\327\\220')");
  const table = page.locator('article[data-ordinal="0"]');
  const odd = row(table, "/a\u202eb");
  await odd.waitFor();
  assert.match(await odd.innerText(), /\/a\\u\{202e\}b/);
  const hebrew = row(table, "/\u05d0");
  await hebrew.waitFor();
  assert.match(await hebrew.innerText(), /\u2068[^\u2069]*\u05d0\u2069/, "it is apart from what is around it");
  const name = "/tmp/$(printf 'n\\342\\200\\256x')";
  await type(page, "host", `cp /bin/busybox ${name}; (exec -a sleep ${name} 1000)`);
  await page.locator("[data-program*=\u{fffd}]").waitFor();
  const words = await page.evaluate(() => {
    const said = [document.querySelector("main") ?? document.body].map((element) => {
      const attributes = [...element.querySelectorAll("*")].flatMap((one) =>
        ["title", "aria-label", "aria-description", "data-program"].map((name) => one.getAttribute(name) ?? ""),
      );
      const texts = [];
      const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        if (!node.parentElement.closest(".xterm")) texts.push(node.data);
      }
      return [...attributes, ...texts].join("\n");
    });
    return said.join("\n");
  });
  assert.doesNotMatch(words, /[\u202a-\u202e\u200b-\u200f]/);
  assert.deepEqual(complaints, []);
  await context.close();
});
