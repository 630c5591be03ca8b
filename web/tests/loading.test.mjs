// A page of which a part does not arrive: it is loaded again, and says so where that does not help.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { look } from "./look.mjs";
import { prompt, start } from "./playground.mjs";

let playground;
before(async () => {
  playground = await start();
});
after(async () => {
  assert.equal(await playground?.close(), 0, "the server ended well");
});

/** A page that is not opened yet, and how often it was loaded; its parts of this name meet `fate`. */
async function pageWithFate(part, fate, theme = "dark") {
  const context = await playground.browser.newContext({ viewport: { width: 1280, height: 720 }, colorScheme: theme });
  context.setDefaultTimeout(90_000);
  const page = await context.newPage();
  const seen = { loads: 0 };
  page.on("request", (request) => {
    if (request.isNavigationRequest()) seen.loads += 1;
  });
  await page.route(new RegExp(`/assets/(${part})-[^/]*$`), fate);
  return { page, context, seen };
}

// Each kind of part; the last is what a changed network makes of a load.
for (const part of ["theme", "page", "start", "web", "addon-fit", "web_bg", ".*"]) {
  test(`a page whose part ${part} did not arrive comes back by itself`, async () => {
    const { page, context, seen } = await pageWithFate(part, (route) => {
      return seen.loads === 1 ? route.abort("internetdisconnected") : route.continue();
    });
    await page.goto(playground.address);
    await prompt(page, "host");
    await prompt(page, "container");
    assert.equal(seen.loads, 2);
    assert.equal(await page.evaluate(() => sessionStorage.getItem("newroot-loads")), "0", "the next one begins anew");
    await context.close();
  });
}

test("a page whose part is gone from the server comes back by itself", async () => {
  const { page, context, seen } = await pageWithFate("web", (route) => {
    return seen.loads === 1 ? route.fulfill({ status: 404, body: "no such file\n" }) : route.continue();
  });
  await page.goto(playground.address);
  await prompt(page, "host");
  assert.equal(seen.loads, 2);
  await context.close();
});

test("what is merely preloaded, and can be done without, loads nothing again", async () => {
  const { page, context, seen } = await pageWithFate("sans", (route) => route.abort("internetdisconnected"));
  await page.goto(playground.address);
  await prompt(page, "host");
  assert.equal(seen.loads, 1);
  await context.close();
});

test("a page that could start without its missing part is not loaded again for ever either", async () => {
  const { page, context, seen } = await pageWithFate("calls", (route) => route.abort("internetdisconnected"));
  await page.goto(playground.address);
  await page.getByText(/calls-.* did not arrive. Reload the page to try again/).waitFor();
  assert.equal(seen.loads, 6);
  await context.close();
});

for (const theme of ["dark", "light"]) {
  test(`in the ${theme} theme a page whose program never arrives says so, and is there once it does`, async () => {
    const { page, context, seen } = await pageWithFate("web_bg", (route) => route.abort("internetdisconnected"), theme);
    await page.goto(playground.address);
    await page.getByText("The page is loaded again.").waitFor();
    await page.getByText("Reload the page to try again.").waitFor();
    assert.equal(seen.loads, 6);
    await look(page, `not-loaded-${theme}`);
    await page.unrouteAll();
    await page.reload();
    await prompt(page, "host");
    assert.equal(seen.loads, 7);
    await context.close();
  });
}
