// The files of the built page, without a browser: whether they hold to the Content-Security-Policy and are complete.
// `cargo xtask test` builds them before; what the page does is tested in the other files.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

const page = new URL("../../target/dist/page/", import.meta.url);
const html = readFileSync(new URL("index.html", page), "utf8");
const assets = readdirSync(new URL("assets/", page));

/** What a page refers to by attribute: every value of src and href. */
function references(html) {
  return [...html.matchAll(/\s(?:src|href)\s*=\s*["']([^"']*)["']/gi)].map((match) => match[1]);
}

/** Whatever the policy would refuse in a page's HTML, each as it stands there. */
function inline(html) {
  const scripts = [...html.matchAll(/<script\b([^>]*)>([\s\S]*?)<\/script>/gi)];
  const withText = scripts.filter(([, attributes, text]) => text.trim() !== "" || !/\ssrc\s*=/i.test(attributes));
  const refused = html.match(/<style\b[^>]*>|\s(?:style|on[a-z]+)\s*=\s*["'][^"']*["']|javascript:[^"']*/gi) ?? [];
  return [...withText.map(([whole]) => whole), ...refused.map((text) => text.trim())];
}

test("index.html refers to files of the page only, and all of them are there", () => {
  const found = references(html);
  assert.ok(found.some((name) => name.endsWith(".js")), "a page without a script does nothing");
  assert.ok(found.some((name) => name.endsWith(".css")), "a page without a style sheet is not ours");
  for (const reference of found.filter((reference) => !reference.startsWith("data:image/"))) {
    const [, name] = reference.match(/^\/assets\/([^/?#]+)$/) ?? assert.fail(`${reference} is outside /assets/`);
    assert.ok(assets.includes(name), `${reference} is not among the page's files`);
  }
});

test("index.html has one script in it, the first, and no style or event handler", () => {
  const [loading, ...others] = inline(html);
  assert.match(loading, /^<script>\s*\/\/ Whether the page's parts arrive/);
  assert.deepEqual(others, []);
  assert.equal(html.indexOf("<script"), html.indexOf(loading), "no other script may fail before it listens");
});

test("the search for inline parts finds each kind", () => {
  assert.deepEqual(inline('<script src="/assets/a.js"></script><p class="style">text</p>'), []);
  for (const refused of [
    "<script>go()</script>",
    '<script src="/assets/a.js">go()</script>',
    "<style>p { color: red }</style>",
    '<p style="color: red">',
    '<body onload="go()">',
    '<a href="javascript:go()">',
  ]) {
    assert.equal(inline(refused).length, 1, refused);
  }
});

test("scripts and style sheets import files of the page only", () => {
  for (const name of assets.filter((name) => /\.(?:m?js|css)$/.test(name))) {
    const text = readFileSync(new URL(`assets/${name}`, page), "utf8");
    const statements = /(?:\bfrom\s*|\bimport\s*\(?\s*|@import\s*(?:url\()?\s*|\burl\(\s*)["']([^"'\s]+)["']/g;
    for (const [, address] of text.matchAll(statements)) {
      assert.ok(!/^(?:[a-z]+:)?\/\//i.test(address), `${name} takes ${address} from elsewhere`);
      const file = address.replace(/^(?:\.\/|\/assets\/)/, "");
      if (!address.startsWith("data:")) assert.ok(assets.includes(file), `${name} takes ${address}, which is not there`);
    }
  }
});

test("the wasm is among the files", () => {
  const modules = assets.filter((name) => name.endsWith(".wasm"));
  assert.equal(modules.length, 1);
  assert.ok(WebAssembly.validate(readFileSync(new URL(`assets/${modules[0]}`, page))));
});
