// How pages look where it can be measured: colours, room, long texts, paper. The number in a title is that of the check.

import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { calm, hardPages, open, pages, world } from "./world.js";

const css = fs.readFileSync(new URL("../../web/static/app.css", import.meta.url), "utf8");
const shown = pages.filter((page) => page.id !== "console_login");

// The custom properties of the first block after `start`, by name.
function tokens(start) {
  const at = css.indexOf(start);
  assert.ok(at >= 0, `${start} is in the style sheet`);
  const block = css.slice(css.indexOf("{", at + start.length - 1) + 1, css.indexOf("}", at + start.length));
  return new Map([...block.matchAll(/--([\w-]+):([^;]+);/g)].map(([, name, value]) => [name, value.trim()]));
}

const DARK = ":root[data-theme=dark]{";
const light = tokens(":root{");
const dark = tokens(DARK);

function luminance(colour) {
  const parts = colour.match(/^#(..)(..)(..)$/).slice(1).map((part) => parseInt(part, 16) / 255);
  const [red, green, blue] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

test("2: text and controls stand out in both themes", () => {
  const grounds = ["bg", "surface", "surface-2"];
  const pairs = [
    ...["text", "text-2", "text-3", "accent"].flatMap((name) => grounds.map((ground) => [name, ground, 4.5])),
    ...["ok", "warn", "bad", "sev-c", "sev-l", "accent"].map((name) => [name, `${name}-soft`, 4.5]),
    ...["ok", "warn", "bad"].map((name) => [name, "surface", 4.5]),
    ["sev-h", "bad-soft", 4.5],
    ["sev-m", "warn-soft", 4.5],
    ["on-accent", "accent", 4.5],
    ["on-accent", "accent-hover", 4.5],
    ...grounds.flatMap((ground) => [["border-strong", ground, 3], ["accent", ground, 3]]),
    ...[1, 2, 3, 4].map((number) => [`chart-${number}`, "surface", 3]),
  ];
  const wrong = [];
  for (const [theme, values] of [["light", light], ["dark", dark]]) {
    for (const [front, ground, wanted] of pairs) {
      const ratio = contrast(values.get(front), values.get(ground));
      if (ratio < wanted) wrong.push(`${theme}: ${front} on ${ground} is ${ratio.toFixed(2)}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test("2: the dark colours are the same in both places, and there is one for each light one", () => {
  const preferred = tokens(":root:not([data-theme=light]){");
  assert.deepEqual([...preferred], [...dark]);
  const colours = [...light].filter(([, value]) => value.startsWith("#")).map(([name]) => name);
  assert.deepEqual(colours.filter((name) => !dark.has(name)), []);
});

test("5: what is pressed has 24 by 24 pixels, or room around it", async () => {
  const page = await open("admin");
  const wrong = [];
  for (const width of [1440, 390]) {
    await page.setViewportSize({ width, height: 900 });
    for (const { id, path } of [...shown, ...hardPages]) {
      await page.goto(path);
      const small = await page.evaluate(() => {
        // Links inside a sentence are excepted, and so is what belongs to a label that is large enough.
        const inText = (element) => element.matches("a") && getComputedStyle(element).display === "inline";
        const all = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")];
        // Heads of stacked tables are there for assistive programs alone.
        const stacked = (element) => element.closest("thead") && getComputedStyle(element.closest("thead")).position === "absolute";
        const boxes = all.filter((element) => element.checkVisibility({ checkVisibilityCSS: true }) && !element.matches(".skip") && !stacked(element))
          .map((element) => ({ element, box: element.getBoundingClientRect() }));
        return boxes
          .filter(({ element, box }) => (box.width < 24 || box.height < 24) && !inText(element))
          .filter(({ element, box }) => {
            // A circle of 24 pixels around its centre touches nothing else that is pressed.
            const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
            return boxes.some(({ element: other, box: near }) => {
              if (other === element || other.contains(element) || element.contains(other)) return false;
              const [dx, dy] = [Math.max(near.left - x, 0, x - near.right), Math.max(near.top - y, 0, y - near.bottom)];
              return Math.hypot(dx, dy) < 12;
            });
          })
          .map(({ element, box }) => `${Math.round(box.width)}×${Math.round(box.height)} ${element.outerHTML.slice(0, 100)}`);
      });
      small.forEach((what) => wrong.push(`${id.slice(0, 80)} at ${width}: ${what}`));
    }
  }
  await page.context().close();
  assert.deepEqual(wrong, []);
});

test("10: nothing moves for who wants no motion, and borders stay where colours are forced", async () => {
  const still = await open("admin", { reducedMotion: "reduce" });
  for (const path of ["/", "/projects/team-a/repositories/backend/api", "/admin/jobs"]) {
    await still.goto(path);
    const moving = await still.evaluate(() => document.getAnimations().filter((one) => one.playState === "running").length);
    assert.equal(moving, 0, path);
  }
  await still.context().close();
  const forced = await open("admin", { forcedColors: "active" });
  await forced.goto("/projects/team-a/repositories/backend/api");
  const bare = await forced.evaluate(() =>
    [...document.querySelectorAll(".btn, button, .badge, .card, .cmd, input:not([type=hidden])")]
      .filter((element) => element.checkVisibility() && parseFloat(getComputedStyle(element).borderTopWidth) === 0 && !element.closest(".cmd"))
      .map((element) => element.outerHTML.slice(0, 100)),
  );
  assert.deepEqual(bare, []);
  await forced.context().close();
});

// Every text of the page half as long again, with marks on its letters: what a longer language would do to it.
function stretch() {
  const marks = { a: "á", e: "é", i: "í", o: "ó", u: "ú", A: "Á", E: "É", I: "Í", O: "Ó", U: "Ú", c: "ç", n: "ñ" };
  const longer = (text) => {
    const plain = text.trim();
    if (!/[a-z]{2}/i.test(plain)) return text;
    const words = " lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod";
    const more = words.repeat(Math.ceil(plain.length / words.length)).slice(0, Math.ceil(plain.length * 0.4) + 1);
    return text.replace(plain, `[${plain.replace(/[aeioucnAEIOU]/g, (letter) => marks[letter])}${more}]`);
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode;
    if (!node.parentElement.closest("code, pre, script, kbd, .markdown, .prose")) node.textContent = longer(node.textContent);
  }
  for (const name of ["data-l", "placeholder"]) {
    document.querySelectorAll(`[${name}]`).forEach((element) => element.setAttribute(name, longer(element.getAttribute(name))));
  }
}

test("61: longer words and the longest names fit", async () => {
  const page = await open("admin");
  const wrong = [];
  for (const { id, path } of [...shown, ...hardPages]) {
    await page.setViewportSize({ width: 1440, height: 900 });
    await page.goto(path);
    await page.evaluate(stretch);
    for (const width of [1440, 1024, 390, 320]) {
      await page.setViewportSize({ width, height: 900 });
      const found = await page.evaluate(() => {
        const room = document.documentElement.clientWidth;
        const wide = document.documentElement.scrollWidth > room || document.body.scrollWidth > room;
        const cut = [...document.querySelectorAll("main *, .bar *, .side *")]
          .filter((element) => {
            const style = getComputedStyle(element);
            const clips = ["hidden", "clip"].includes(style.overflowX) && !element.closest(".vh, .word, [title], input, select");
            return clips && element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 1;
          })
          .map((element) => {
            const right = element.getBoundingClientRect().right;
            const inner = [...element.querySelectorAll("*")].filter((one) => one.getBoundingClientRect().right > right + 1).at(-1);
            return (inner ?? element).outerHTML.slice(0, 140);
          });
        return [...(wide ? [`${document.body.scrollWidth} of ${room}`] : []), ...cut];
      });
      found.forEach((what) => wrong.push(`${id.slice(0, 80)} at ${width}: ${what}`));
    }
  }
  await page.context().close();
  assert.deepEqual(wrong.slice(0, 40), []);
});

test("9: at 200 % and 400 % nothing is lost and only tables and commands scroll sideways", async () => {
  const page = await open("admin");
  const wrong = [];
  for (const width of [720, 320]) {
    await page.setViewportSize({ width, height: 450 });
    for (const { id, path } of [...shown, ...hardPages]) {
      await page.goto(path);
      const found = await page.evaluate(() => {
        const lost = [...document.querySelectorAll("main h1, main a[href], main button, main input:not([type=hidden]), main select")]
          .filter((element) => element.checkVisibility() && !element.closest(".tbl, .cmd, .tabs, .vh, details:not([open]), pre"))
          .filter((element) => {
            const box = element.getBoundingClientRect();
            return box.width > 0 && (box.left < -1 || box.right > innerWidth + 1);
          })
          .map((element) => `out of sight: ${element.outerHTML.slice(0, 120)}`);
        const sideways = [...document.querySelectorAll("body *")]
          .filter((element) => element.scrollWidth > element.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(element).overflowX))
          .filter((element) => element.clientWidth > 1 && !element.matches(".tbl, .cmd code, pre, .tabs, textarea, .side"))
          .map((element) => `scrolls: ${element.outerHTML.slice(0, 120)}`);
        return [...lost, ...sideways];
      });
      found.forEach((what) => wrong.push(`${id.slice(0, 80)} at ${width}: ${what}`));
    }
  }
  await page.context().close();
  assert.deepEqual(wrong, []);
});

test("the first rows are where they are seen: fourteen of them at 1440 × 900", async () => {
  const page = await open("admin");
  const wrong = [];
  for (const path of ["/projects/team-a/repositories/many", "/projects/team-a/repositories?sort=-name"]) {
    await page.goto(path);
    const facts = await page.evaluate(() => {
      const rows = [...document.querySelectorAll("main tbody tr")].map((row) => row.getBoundingClientRect());
      return { head: document.querySelector("main thead").getBoundingClientRect().bottom, height: rows[0].height, inside: rows.filter((row) => row.bottom <= innerHeight).length };
    });
    if (facts.inside < 14 || facts.height > 44) wrong.push(`${path}: ${JSON.stringify(facts)}`);
  }
  await page.context().close();
  assert.deepEqual(wrong, []);
});

test("63: the theme of the system is followed, a choice stays, and the first paint is right", async () => {
  const ground = () => getComputedStyle(document.body.parentElement).backgroundColor;
  const colour = (name, values) => {
    const [, red, green, blue] = values.get(name).match(/^#(..)(..)(..)$/);
    return `rgb(${[red, green, blue].map((part) => parseInt(part, 16)).join(", ")})`;
  };
  for (const [colorScheme, values] of [["light", light], ["dark", dark]]) {
    const page = await open(undefined, { colorScheme });
    await page.goto("/about", { waitUntil: "domcontentloaded" });
    assert.equal(await page.evaluate(ground), colour("bg", values), colorScheme);
    await page.context().close();
  }
  const page = await open(undefined, { colorScheme: "light" });
  await page.goto("/about");
  await page.locator("details.menu summary").nth(1).click();
  await page.click("button[name=theme][value=dark]");
  await page.goto("/projects", { waitUntil: "domcontentloaded" });
  assert.equal(await page.evaluate(ground), colour("bg", dark));
  await page.context().close();
});

test("64: a page is few requests, and the second look at it one", async () => {
  const page = await open("admin");
  const wrong = [];
  for (const path of ["/", "/projects/team-a/repositories/backend/api", "/admin/audit"]) {
    const asked = [];
    const listen = (request) => asked.push(request);
    const fresh = await page.context().browser().newContext({ baseURL: world.url, storageState: await page.context().storageState() });
    const window = await fresh.newPage();
    window.on("request", listen);
    await window.goto(path, { waitUntil: "networkidle" });
    // The picture in the tab is one of those in the page.
    const first = new Set(asked.map((request) => request.url()));
    if (first.size > 6) wrong.push(`${path}: ${[...first]}`);
    // What the browser kept does not go over the wire; the server's answers are counted.
    asked.length = 0;
    const sent = [];
    const session = await fresh.newCDPSession(window);
    await session.send("Network.enable");
    session.on("Network.responseReceived", ({ requestId, response }) => {
      if (!response.fromDiskCache && !response.url.startsWith("data:")) sent.push({ requestId, url: response.url });
    });
    const served = [];
    session.on("Network.requestServedFromCache", ({ requestId }) => served.push(requestId));
    await window.goto(path, { waitUntil: "networkidle" });
    const wire = sent.filter((response) => !served.includes(response.requestId));
    if (wire.length !== 1) wrong.push(`${path} again: ${wire.map((response) => response.url)}`);
    await fresh.close();
  }
  await page.context().close();
  assert.deepEqual(wrong, []);
});

test("67: on paper there are all rows and nothing to press", async () => {
  const page = await open("admin", { colorScheme: "dark" });
  for (const path of ["/admin/audit", "/projects/team-a/repositories/backend/api"]) {
    await page.goto(path);
    await page.emulateMedia({ media: "print", colorScheme: "dark" });
    const facts = await page.evaluate(() => ({
      chrome: [...document.querySelectorAll(".bar, .side, .skip, .tabs, .pager, button, .btn, input, select")]
        .filter((element) => element.checkVisibility())
        .map((element) => element.outerHTML.slice(0, 100)),
      rows: document.querySelectorAll("tbody tr").length,
      seen: [...document.querySelectorAll("tbody tr")].filter((row) => row.checkVisibility() && row.getBoundingClientRect().height > 0).length,
      ink: getComputedStyle(document.querySelector("tbody td, tbody th")).color,
    }));
    assert.deepEqual(facts.chrome, [], path);
    assert.ok(facts.rows > 0 && facts.seen === facts.rows, `${path}: ${facts.seen} of ${facts.rows} rows`);
    const dim = facts.ink.match(/\d+/g).map(Number);
    assert.ok(Math.max(...dim) < 120, `${path}: the ink is ${facts.ink}`);
    await page.emulateMedia({ media: "screen" });
  }
  await calm(page);
  await page.context().close();
});
