// Lists that change while one types, jobs that are looked at, and what is done with many rows at once.

import assert from "node:assert/strict";
import net from "node:net";
import { test } from "node:test";
import { calm, open, world } from "./world.js";

const rows = async (page) => (await page.locator("tbody th[scope=row]").allTextContents()).map((text) => text.trim());
const said = (page) => page.locator("#live").textContent();

// Counts the pages that a window loads, which typing should not.
function countLoads(page) {
  const loads = { count: 0 };
  page.on("request", (request) => (loads.count += request.isNavigationRequest() ? 1 : 0));
  return loads;
}

test("typing narrows the list where it stands, says how many there are, and has an address", async () => {
  const page = await open("dana");
  await page.goto("/projects/team-a/repositories?sort=-size&size=50");
  const all = await rows(page);
  const loads = countLoads(page);
  await page.locator("#filter-q").pressSequentially("charts", { delay: 20 });
  await page.waitForURL(/\?q=charts&sort=%2Dsize&size=50$/);
  assert.equal((await rows(page)).length, 1);
  assert.match(await said(page), /^1 /);
  assert.equal(await page.evaluate(() => document.activeElement.id), "filter-q");
  assert.equal(loads.count, 0);
  // Typing on is no step of its own to go back.
  await page.locator("#filter-q").pressSequentially("-none", { delay: 20 });
  await page.waitForURL(/q=charts%2Dnone/);
  assert.equal((await rows(page)).length, 0);
  await page.goBack();
  await page.waitForFunction((count) => document.querySelectorAll("tbody th[scope=row]").length === count, all.length);
  assert.deepEqual(await rows(page), all);
  assert.equal(await page.inputValue("#filter-q"), "");
  await calm(page);
  // What was found stands in another window as well.
  await page.goto("/projects/team-a/repositories?q=charts&sort=%2Dsize&size=50");
  assert.equal((await rows(page)).length, 1);
  await page.click(".chips a >> nth=0");
  assert.deepEqual(await rows(page), all);
  await page.context().close();
});

test("what is typed last is what is shown, and old rows are pale until then", async () => {
  const page = await open("dana");
  await page.goto("/projects/team-a/repositories/many");
  let release;
  const held = new Promise((resolve) => (release = resolve));
  await page.route(/q=build-0000(&|$)/, async (route) => {
    await held;
    await route.continue().catch(() => {});
  });
  await page.fill("#filter-q", "build-0000");
  await page.waitForSelector("#list.htmx-request");
  assert.ok(Number(await page.locator("#list").evaluate((list) => { list.style.transition = "none"; return getComputedStyle(list).opacity; })) < 1);
  assert.ok((await rows(page)).length > 10, "the rows stay");
  await page.fill("#filter-q", "build-00007");
  await page.waitForURL(/q=build%2D00007/);
  release();
  await page.waitForTimeout(300);
  assert.equal((await rows(page)).length, 1);
  assert.ok(!(await page.locator("#list").getAttribute("class")).includes("htmx-request"));
  await page.context().close();
});

test("filter, open, back: the same rows at the same place", async () => {
  const page = await open("dana");
  await page.goto("/projects/team-a/repositories/many?size=100&sort=natural");
  await page.fill("#filter-q", "build-001");
  await page.waitForURL(/q=build%2D001/);
  const before = await rows(page);
  const row = page.locator("tbody th[scope=row] a").nth(60);
  await row.scrollIntoViewIfNeeded();
  const scroll = await page.evaluate(() => scrollY);
  assert.ok(scroll > 500, `${scroll}`);
  await row.click();
  await page.waitForURL(/\/-\/tags\//);
  await page.goBack();
  await page.waitForURL(/q=build%2D001/);
  await page.waitForFunction((count) => document.querySelectorAll("tbody th[scope=row]").length === count, before.length);
  assert.deepEqual(await rows(page), before);
  assert.equal(await page.inputValue("#filter-q"), "build-001");
  await page.waitForFunction((expected) => Math.abs(scrollY - expected) < 5, scroll, { timeout: 5000 });
  await page.context().close();
});

test("more filters, their chips, and the size of pages", async () => {
  const page = await open("dana");
  await page.goto("/projects/team-a/repositories/backend/index?sort=natural");
  await page.click("details.menu summary:has-text('More filters')");
  await page.selectOption("select[name=platform]", "linux/arm/v7");
  await page.waitForURL(/platform=linux%2Farm%2Fv7/);
  const found = await rows(page);
  assert.ok(found.some((row) => row.startsWith("2.0")) && !found.some((row) => row.startsWith("amd64")), `${found}`);
  assert.ok(page.url().includes("sort=natural"), page.url());
  await page.keyboard.press("Escape");
  await page.click(".chips a >> nth=0");
  assert.ok((await rows(page)).length > found.length);
  await page.goto("/projects/team-a/repositories/many?sort=natural");
  await page.click(".sizes button[value='50']");
  assert.equal((await rows(page)).length, 50);
  assert.ok(page.url().endsWith("?sort=natural"), page.url());
  await page.click(".sizes button[value='25']");
  assert.equal((await rows(page)).length, 25);
  await calm(page);
  await page.context().close();
});

test("many at once: a range, and everything that matches", async () => {
  const page = await open("admin");
  await page.goto("/projects/open/repositories/bulk?sort=natural");
  const boxes = page.locator("td.pick input");
  await boxes.nth(0).click();
  await boxes.nth(19).click({ modifiers: ["Shift"] });
  assert.equal(await page.locator("td.pick input:checked").count(), 20);
  await boxes.nth(3).click();
  await boxes.nth(7).click();
  await page.click(".bulk button.danger");
  assert.equal(await page.locator("tbody tr").count(), 18);
  await page.click("main form button.danger");
  assert.match(await page.locator("main [role=status]").textContent(), /18/);
  assert.match(await page.locator(".pager").textContent(), /of 42/);
  assert.equal(await page.evaluate(() => document.activeElement.id), "rows");

  await page.fill("#filter-q", "bulk-");
  await page.waitForURL(/q=bulk/);
  await page.click(".bulk a");
  assert.match(await page.locator("h1").textContent(), /42/);
  await page.click("main form button.danger");
  assert.match(await page.locator("main [role=status]").textContent(), /42/);
  assert.equal((await rows(page)).length, 0);
  await calm(page);
  await page.context().close();
});

test("a list and a job survive a server that goes away for a while", async () => {
  // The server behind a door that can be shut: what stood in the door is thrown out as well.
  const target = new URL(world.url);
  const through = new Set();
  const door = net.createServer((client) => {
    const server = net.connect(target.port, target.hostname);
    through.add(client);
    client.pipe(server).pipe(client);
    const end = () => { client.destroy(); server.destroy(); through.delete(client); };
    for (const socket of [client, server]) socket.on("error", end).on("close", end);
  });
  const listen = (port) => new Promise((resolve) => door.listen(port, "127.0.0.1", resolve));
  await listen(0);
  const { port } = door.address();
  const shut = () => { door.close(); through.forEach((socket) => socket.destroy()); };
  const front = `http://${target.hostname}:${port}`;
  const page = await open("admin", { baseURL: front });

  // The job has ended; the first look shows it as if it had not.
  const path = `/jobs/${world.job}`;
  await page.route((url) => url.pathname === path, async (route) => {
    if (route.request().isNavigationRequest()) {
      const answer = await route.fetch();
      const working = `id="job" data-hx-get="${path}" data-hx-trigger="every 1s" data-hx-swap="outerMorph"`;
      await route.fulfill({ response: answer, body: (await answer.text()).replace('id="job"', working) });
    } else {
      await route.continue();
    }
  });
  await page.goto(path);
  assert.equal(await page.isVisible("#lost"), false);
  shut();
  await page.waitForSelector("#lost:visible");
  await listen(port);
  await page.waitForSelector("#lost", { state: "hidden" });
  assert.equal(await page.locator("#job").getAttribute("data-hx-trigger"), null);
  assert.match(await said(page), /Done/);
  let asked = 0;
  page.on("request", () => asked++);
  await page.waitForTimeout(2500);
  assert.equal(asked, 0, "a job that ended is not looked at");

  await page.goto("/projects/team-a/repositories");
  shut();
  await page.fill("#filter-q", "charts");
  await page.waitForSelector("#lost:visible");
  await listen(port);
  await page.waitForSelector("#lost", { state: "hidden" });
  assert.equal((await rows(page)).length, 1);
  await page.context().close();
  shut();
});
