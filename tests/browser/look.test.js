// Languages, weight, and ways that lead somewhere.

import assert from "node:assert/strict";
import fs from "node:fs";
import { gzipSync } from "node:zlib";
import { test } from "node:test";
import { hardPages, open, pages, plainSession, visitorPages, world } from "./world.js";

// Words that are the same in Chinese, and names that people gave to things.
const SHARED = ["Hythe", "Docker", "Podman", "English", "OK", "ID", "CLI", "API", "SBOM", "OCI", "Helm", "Digest", "Webhook", "Tag", "Manifest"];

// Words of the protocol and of the trail: scopes, actions and kinds as the API says them.
const WORDS = ["pull", "push", "create", "delete", "update", "robot", "user", "project", "api"];

// Texts of a language without placeholders, by key.
function texts(language) {
  const directory = new URL(`../../web/locales/${language}/`, import.meta.url);
  const found = new Map();
  for (const file of fs.readdirSync(directory).filter((name) => name.endsWith(".ftl"))) {
    for (const line of fs.readFileSync(new URL(file, directory), "utf8").split("\n")) {
      const [, key, text] = line.match(/^([a-z][\w-]*) = ([^{]+)$/) ?? [];
      if (key) found.set(key, text.trim());
    }
  }
  return found;
}

test("pages in Chinese have no English left", async () => {
  const english = texts("en");
  const chinese = texts("zh-CN");
  const untranslated = new Set([...english].filter(([key, text]) => chinese.get(key) !== text).map(([, text]) => text));
  const same = [...english].filter(([key, text]) => chinese.get(key) === text && /[a-z]{3}/.test(text));
  assert.deepEqual(same.filter(([, text]) => !SHARED.some((word) => text.includes(word))), []);
  // A text in both is somebody's name for a thing as well.
  for (const text of chinese.values()) untranslated.delete(text);
  for (const word of WORDS) untranslated.delete(word);
  const page = await open("admin", { language: "zh-CN" });
  const wrong = [];
  for (const { path } of [...pages.filter((page) => page.id !== "console_login"), ...hardPages, { path: "/nowhere" }]) {
    await page.goto(path);
    const shown = await page.evaluate(() => {
      const found = [];
      const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      while (walk.nextNode()) {
        const inside = walk.currentNode.parentElement.closest("code, pre, script, [lang=en], .markdown, [data-user-text]");
        if (!inside) found.push(walk.currentNode.textContent.trim().replace(/\s+/g, " "));
      }
      for (const name of ["aria-label", "title", "placeholder", "alt"]) {
        for (const element of document.querySelectorAll(`[${name}]`)) found.push(element.getAttribute(name).trim());
      }
      return found;
    });
    for (const text of new Set(shown)) if (untranslated.has(text)) wrong.push(`${path}: ${text}`);
  }
  await page.context().close();
  assert.deepEqual(wrong, []);
});

test("language and colours are kept, without a session as well", async () => {
  const page = await open(undefined);
  await page.goto("/projects");
  await page.locator("details.menu summary").first().click();
  await page.click("button[name=language][value='zh-CN']");
  assert.equal(await page.getAttribute("html", "lang"), "zh-CN");
  assert.match(page.url(), /\/projects$/);
  await page.locator("details.menu summary").nth(1).click();
  await page.click("button[name=theme][value=dark]");
  await page.goto("/about");
  assert.equal(await page.getAttribute("html", "lang"), "zh-CN");
  assert.equal(await page.getAttribute("html", "data-theme"), "dark");
  await page.context().close();
});

test("pages are light", async () => {
  const { cookie } = await plainSession("admin");
  const wrong = [];
  for (const { path } of [...pages, ...hardPages]) {
    const answer = await fetch(world.url + path, { headers: { cookie } });
    const size = (await answer.arrayBuffer()).byteLength;
    if (size > 80_000) wrong.push(`${path}: ${size} bytes`);
  }
  const html = await (await fetch(`${world.url}/about`, { headers: { cookie } })).text();
  const assets = [...new Set([...html.matchAll(/(?:href|src)="(\/assets\/[^"#]+)/g)].map((found) => found[1]))];
  if (assets.length + 1 > 6) wrong.push(`${assets.length + 1} requests`);
  let [css, js] = [0, 0];
  for (const asset of assets) {
    const answer = await fetch(world.url + asset);
    const bytes = gzipSync(Buffer.from(await answer.arrayBuffer()), { level: 9 }).length;
    if (!answer.headers.get("cache-control")?.includes("immutable")) wrong.push(`${asset} is not kept`);
    if (asset.endsWith(".css")) css += bytes;
    if (asset.endsWith(".js")) js += bytes;
  }
  if (css > 8 * 1024 || css === 0) wrong.push(`${css} bytes of style`);
  if (js > 20 * 1024 || js === 0) wrong.push(`${js} bytes of scripts`);
  assert.deepEqual(wrong, []);
});

test("nothing jumps while a page loads", async () => {
  const page = await open("admin");
  await page.addInitScript(() => {
    window.shifted = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => (window.shifted += entry.value))).observe({ type: "layout-shift", buffered: true });
  });
  for (const path of ["/", "/projects", "/projects/team-a", "/projects/team-a/repositories/many"]) {
    await page.goto(path);
    await page.waitForLoadState("networkidle");
    const shifted = await page.evaluate(() => window.shifted);
    assert.ok(shifted < 0.05, `${path}: ${shifted}`);
  }
  await page.context().close();
});

// From a person's home over every link, and over the forms that are offered as far as reading shows where they lead.
const START = { admin: "/", dana: "/", gus: "/", visitor: "/" };
const PAGES_MAX = 250;

for (const [who, start] of Object.entries(START)) {
  test(`no way leads nowhere: ${who}`, async () => {
    const headers = who === "visitor" ? {} : { cookie: (await plainSession(who)).cookie };
    const seen = new Set([start]);
    const queue = [[start, "the start"]];
    const wrong = [];
    const offered = new Set();
    // Lists have many rows that are alike: a few of each are enough.
    const kinds = new Map();
    while (queue.length > 0 && seen.size <= PAGES_MAX) {
      const [path, from] = queue.shift();
      const answer = await fetch(world.url + path, { headers, redirect: "manual" });
      if (answer.status >= 400) wrong.push(`${path} from ${from}: ${answer.status}`);
      if (!(answer.headers.get("content-type") ?? "").startsWith("text/html")) {
        await answer.arrayBuffer();
        continue;
      }
      const html = await answer.text();
      for (const [, action] of html.matchAll(/<form[^>]*method="post"[^>]*action="([^"]+)"/g)) offered.add(action);
      for (const [, href] of html.matchAll(/<a [^>]*href="([^"#]+)/g)) {
        const link = href.replaceAll("&amp;", "&").replaceAll("&#38;", "&");
        if (!link.startsWith("/") || link.startsWith("//") || seen.has(link)) continue;
        const kind = link.replace(/service-\d+|build-\d+|sha256:[0-9a-f]+|after=[^&]*|before=[^&]*|\d+/g, "*");
        kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
        if (kinds.get(kind) > 2) continue;
        seen.add(link);
        queue.push([link, path]);
      }
    }
    assert.deepEqual(wrong, []);
    assert.ok(seen.size > 3, `${seen.size} pages`);
    // A form that is offered refuses for its fields, and not for who sends it.
    const harmless = [...offered].filter((action) => !/logout|login|appearance|client|undo|restore|delete|remove|refresh|disable|enable|end|revoke|sessions|settings|rights|password|quota/.test(action));
    const page = await fetch(`${world.url}/about`, { headers });
    const first = page.headers.getSetCookie().map((line) => line.split(";")[0]).join("; ");
    const csrf = (await page.text()).match(/name="csrf" value="([^"]+)"/)[1];
    const refused = [];
    for (const action of harmless) {
      const answer = await fetch(world.url + action.replaceAll("&amp;", "&"), {
        method: "POST",
        redirect: "manual",
        headers: headers.cookie ? headers : { cookie: first },
        body: new URLSearchParams({ csrf, "no-such-field": "1" }),
      });
      if ([401, 403, 404, 405].includes(answer.status) || answer.status >= 500) refused.push(`${action}: ${answer.status}`);
    }
    assert.deepEqual(refused, []);
  });
}

test("visitors' pages exist", async () => {
  for (const path of visitorPages) {
    const answer = await fetch(world.url + path, { redirect: "manual" });
    assert.ok(answer.status < 400 || path === "/nowhere", `${path}: ${answer.status}`);
  }
});
