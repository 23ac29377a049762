// The console without scripts, and the few things that scripts add.

import assert from "node:assert/strict";
import { test } from "node:test";
import { calm, open, pages, signIn, world } from "./world.js";

const rows = (page) => page.locator("tbody th[scope=row]").allTextContents();
const trimmed = (texts) => texts.map((text) => text.trim());

test("without scripts: sign in, search, filter, sort, turn pages", async () => {
  const page = await open(undefined, { javaScriptEnabled: false });
  await signIn(page, "dana");
  await page.fill("header input[name=q]", "hello");
  await page.press("header input[name=q]", "Enter");
  assert.match(page.url(), /\/search\?q=hello$/);
  assert.equal(await page.locator("main a[href='/projects/open/repositories/hello']").count(), 1);

  await page.goto("/projects/team-a/repositories");
  await page.fill("main input[name=q]", "charts");
  await page.click("main form[role=search] button");
  assert.match(page.url(), /q=charts/);
  assert.equal((await rows(page)).length, 1);
  await page.click("main a[href='/projects/team-a/repositories']");
  const total = await page.locator(".pager").textContent();
  assert.match(total, /59|60/);

  await page.goto("/projects/team-a/repositories/backend/api");
  const tags = async () => (await rows(page)).map((text) => text.match(/\d+\.\d+\.\d+|latest/)?.[0]).filter((text) => text?.includes("."));
  await page.goto("/projects/team-a/repositories/backend/api?sort=natural");
  assert.deepEqual(await tags(), ["1.2.0", "1.9.2", "1.10.0"]);
  const header = page.locator("th[aria-sort]").first();
  assert.equal(await header.getAttribute("aria-sort"), "ascending");
  await header.locator("a").first().click();
  assert.deepEqual(await tags(), ["1.10.0", "1.9.2", "1.2.0"]);

  await page.goto("/projects/team-a/repositories/many?sort=natural");
  const first = trimmed(await rows(page));
  assert.match(first[0], /build-00000/);
  await page.click("a[rel=next]");
  const second = trimmed(await rows(page));
  assert.equal(second.length, first.length);
  assert.equal(second.filter((row) => first.includes(row)).length, 0);
  await page.click("a[rel=prev]");
  assert.deepEqual(trimmed(await rows(page)), first);
  await page.context().close();
});

test("without scripts: a refused form keeps what was typed, a right one makes the project", async () => {
  const page = await open("dana", { javaScriptEnabled: false });
  await page.goto("/projects/new");
  await page.fill("input[name=name]", "Not A Name");
  await page.check("input[name=public]");
  const [answer] = await Promise.all([
    page.waitForResponse((response) => response.request().method() === "POST"),
    page.click("main form[method=post] button.primary"),
  ]);
  assert.equal(answer.status(), 422);
  assert.equal(await page.inputValue("input[name=name]"), "Not A Name");
  assert.equal(await page.isChecked("input[name=public]"), true);
  assert.equal(await page.getAttribute("input[name=name]", "aria-invalid"), "true");
  const link = page.locator(".note a[href^='#'], .errors a[href^='#'], [role=alert] a[href^='#']").first();
  const field = await link.getAttribute("href");
  assert.equal(await page.locator(field).getAttribute("name"), "name");

  await page.fill("input[name=name]", "made-without-scripts");
  await page.uncheck("input[name=public]");
  await page.click("main form[method=post] button.primary");
  assert.match(page.url(), /\/projects\/made-without-scripts$/);
  assert.match(await page.locator("main [role=status]").textContent(), /made-without-scripts/);
  // A message is told once.
  await page.reload();
  assert.equal(await page.locator("main [role=status]").count(), 0);
  await page.context().close();
});

test("every page shows the same text without scripts", async () => {
  const page = await open("admin", { javaScriptEnabled: false });
  const wrong = [];
  for (const { path, id } of pages.filter((page) => page.id !== "console_login")) {
    const answer = await page.goto(path);
    if (answer.status() !== 200 || !(await page.locator("h1").first().textContent()).trim()) wrong.push(id);
  }
  await page.context().close();
  assert.deepEqual(wrong, []);
});

test("pages work when the scripts do not arrive", async () => {
  const page = await open("admin");
  await page.route("**/*.js", (route) => route.abort());
  await page.goto("/projects");
  await page.fill("main input[name=q]", "team");
  await page.click("main form[role=search] button");
  await page.click("main a[href='/projects/team-a']");
  assert.match(page.url(), /\/projects\/team-a$/);
  await page.context().close();
});

test("copy buttons copy what pulls the image, and say so", async () => {
  const page = await open("dana");
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"], { origin: world.url });
  await page.goto("/projects/team-a/repositories/backend/api?sort=natural");
  const row = page.locator("tbody tr", { hasText: "1.9.2" });
  await row.locator("[data-copy]").first().click();
  await page.waitForFunction(() => document.getElementById("live").textContent !== "");
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(copied, `docker pull ${world.host}/team-a/backend/api:1.9.2`);

  const command = page.locator(".cmd").first();
  const shown = (await command.locator("code").textContent()).trim();
  await command.locator("[data-copy]").click();
  assert.equal((await page.evaluate(() => navigator.clipboard.readText())).trim(), shown);
  assert.ok(shown.includes(`${world.host}/team-a/backend/api`), shown);
  await calm(page);
  await page.context().close();
});

test("the slash key goes to the search, Escape closes a menu", async () => {
  const page = await open("dana");
  await page.goto("/projects");
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.name), "q");
  const menu = page.locator("details.menu").first();
  await menu.locator("summary").click();
  assert.equal(await menu.getAttribute("open"), "");
  await page.keyboard.press("Escape");
  assert.equal(await menu.getAttribute("open"), null);
  await page.context().close();
});
