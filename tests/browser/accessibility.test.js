// What everybody needs to use a page: names, order, contrast, room, a keyboard.

import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { LANGUAGES, calm, hardPages, open, pages, visitorPages } from "./world.js";

const axe = fs.readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const COLOURS = ["color-contrast", "link-in-text-block"];

async function violations(page, rules) {
  const runOnly = rules ? { type: "rule", values: rules } : { type: "tag", values: TAGS };
  const result = await page.evaluate((only) => window.axe.run({ runOnly: only, resultTypes: ["violations"] }), runOnly);
  return result.violations.map((found) => `${found.id}: ${found.nodes.map((node) => node.html.slice(0, 200)).join(" | ")}`);
}

// The colours alone depend on the theme, so in the dark only they are looked at again.
async function look(page, path, language, titles) {
  const wrong = [];
  const say = (what) => wrong.push(`${path} (${language}): ${what}`);
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.emulateMedia({ colorScheme: "light" });
  const answer = await page.goto(path);
  if (answer.status() >= 400 && path !== "/nowhere") say(`status ${answer.status()}`);
  const facts = await page.evaluate(() => {
    const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
    return {
      headings: document.querySelectorAll("h1").length,
      heading: document.querySelector("h1")?.textContent.trim(),
      title: document.title,
      language: document.documentElement.lang,
      twice: ids.filter((id, position) => ids.indexOf(id) !== position),
      inline: document.querySelectorAll("[style], script:not([src]), style, [onclick], [onload], [onsubmit]").length,
    };
  });
  if (facts.headings !== 1 || !facts.heading) say(`${facts.headings} headings of the first level`);
  if (facts.language !== language) say(`its language is ${facts.language}`);
  if (facts.twice.length) say(`ids stand twice: ${facts.twice}`);
  if (facts.inline) say(`${facts.inline} styles or scripts inside the page`);
  const same = titles.get(facts.title);
  if (same && same !== path) say(`has the title of ${same}: ${facts.title}`);
  titles.set(facts.title, path);
  await page.evaluate(axe);
  for (const width of [1440, 390]) {
    await page.setViewportSize({ width, height: 900 });
    for (const found of await violations(page)) say(`${width}: ${found}`);
    await page.emulateMedia({ colorScheme: "dark" });
    for (const found of await violations(page, COLOURS)) say(`${width}, dark: ${found}`);
    await page.emulateMedia({ colorScheme: "light" });
  }
  for (const width of [390, 320]) {
    await page.setViewportSize({ width, height: 900 });
    const [content, room] = await page.evaluate(() => [document.body.scrollWidth, document.documentElement.clientWidth]);
    if (content > room) say(`is ${content} wide on a screen of ${room}`);
  }
  await calm(page);
  return wrong;
}

for (const language of LANGUAGES) {
  test(`every page is accessible, ${language}`, async () => {
    const page = await open("admin", { language });
    const wrong = [];
    const titles = new Map();
    for (const { path, id } of pages) {
      // Who is signed in is sent on from there.
      if (id !== "console_login") wrong.push(...(await look(page, path, language, titles)));
    }
    for (const { path } of language === "en" ? hardPages : []) wrong.push(...(await look(page, path, language, new Map())));
    await page.context().close();
    assert.deepEqual(wrong, []);
  });

  test(`pages of visitors are accessible, ${language}`, async () => {
    const page = await open(undefined, { language });
    const wrong = [];
    for (const path of visitorPages) wrong.push(...(await look(page, path, language, new Map())));
    await page.context().close();
    assert.deepEqual(wrong, []);
  });
}

test("the keyboard reaches everything, and shows where it is", async () => {
  const page = await open("admin");
  const wrong = [];
  for (const { path, id } of pages.filter((page) => page.id !== "console_login")) {
    await page.goto(path);
    const wanted = await page.evaluate(() => {
      const all = document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']");
      const open = [...all].filter((element) => !element.disabled && element.tabIndex >= 0 && element.checkVisibility({ checkVisibilityCSS: true }));
      // Of a group of radio buttons the keyboard reaches one, and the arrows the others.
      const first = new Set();
      return open
        .filter((element) => element.type !== "radio" || (!first.has(element.name) && first.add(element.name)))
        .map((element, position) => (element.dataset.stop = String(position))).length;
    });
    // A field may have the focus already.
    await page.evaluate(() => { document.body.tabIndex = -1; document.body.focus(); });
    const seen = new Set();
    // Parts of a date are stops of their own, and the browser's to show.
    const dates = await page.locator("input[type=date], input[type=datetime-local]").count();
    let last;
    for (let step = 0; step < wanted + 3 + 6 * dates; step += 1) {
      await page.keyboard.press("Tab");
      const stop = await page.evaluate(() => {
        const element = document.activeElement;
        if (!element || element === document.body) return null;
        const style = getComputedStyle(element);
        const box = element.getBoundingClientRect();
        return {
          stop: element.dataset.stop ?? (element.type === "radio" ? "radio" : undefined),
          skip: element.matches("a.skip"),
          outline: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
          shadow: style.boxShadow !== "none",
          inside: box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth,
          html: element.outerHTML.slice(0, 120),
        };
      });
      if (!stop) break;
      if (step === 0 && !stop.skip) wrong.push(`${id}: the first stop is ${stop.html}`);
      const same = stop.stop !== undefined && stop.stop === last;
      last = stop.stop;
      if (stop.outline < 2 && !stop.shadow && !same) wrong.push(`${id}: nothing shows that the keyboard is at ${stop.html}`);
      if (!stop.inside) wrong.push(`${id}: out of sight: ${stop.html}`);
      if (stop.stop) seen.add(stop.stop);
    }
    const missed = await page.$$eval(
      "[data-stop]",
      (all, reached) => all.filter((one) => !reached.includes(one.dataset.stop)).map((one) => one.outerHTML.slice(0, 120)),
      [...seen],
    );
    // A group of radio buttons is entered at the chosen one, which need not be the first.
    if (missed.length > 0 && !seen.has("radio")) wrong.push(`${id}: the keyboard misses ${missed.join(" | ")}`);
  }
  await page.context().close();
  assert.deepEqual(wrong, []);
});
