// The keyboard alone: single keys, the list of them, and the things people do most.

import assert from "node:assert/strict";
import { test } from "node:test";
import { calm, open, send, world } from "./world.js";

const dialog = (page) => page.getByRole("dialog", { name: "Keyboard shortcuts" });
const copied = (page) => page.evaluate(() => navigator.clipboard.readText());

// Goes on with the Tab key until the element has the focus, as somebody without a mouse would.
async function tabTo(page, locator, most = 120) {
  for (let step = 0; step < most; step += 1) {
    if (await locator.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`the Tab key does not get to ${locator}`);
}

async function write(page, locator, text) {
  await tabTo(page, locator);
  await page.keyboard.press("Control+A");
  await page.keyboard.type(text);
}

async function press(page, locator, key = "Enter") {
  await tabTo(page, locator);
  await Promise.all([page.waitForNavigation(), page.keyboard.press(key)]);
}

/** Presses the button that saves, and waits for the page after that. */
async function saved(page) {
  const answered = page.waitForResponse((response) => response.request().method() === "POST");
  await page.click("main button.primary");
  await answered;
  await page.waitForLoadState();
}

test("7: the list of keys is a dialog: the focus goes in, Escape closes it, the focus comes back", async () => {
  const page = await open("admin");
  await page.goto("/projects");
  await page.locator("main a").first().focus();
  const before = await page.evaluate(() => document.activeElement.outerHTML);
  await page.keyboard.press("?");
  await dialog(page).waitFor();
  assert.ok(await page.evaluate(() => document.activeElement.closest("dialog") !== null), "the focus is in the dialog");
  // What is behind cannot be reached.
  for (let step = 0; step < 5; step += 1) {
    await page.keyboard.press("Tab");
    assert.ok(await page.evaluate(() => document.activeElement === document.body || document.activeElement.closest("dialog") !== null));
  }
  // Keys do nothing behind it.
  await page.keyboard.press("g");
  await page.keyboard.press("h");
  assert.match(page.url(), /\/projects$/);
  await page.keyboard.press("Escape");
  assert.equal(await dialog(page).count(), 0);
  assert.equal(await page.evaluate(() => document.activeElement.outerHTML), before);
  await page.locator("details.menu summary").last().click();
  await page.getByRole("button", { name: "Keyboard shortcuts" }).click();
  await dialog(page).waitFor();
  await calm(page);
  await page.context().close();
});

test("single keys go where the list of them says", async () => {
  const page = await open("admin");
  await page.goto("/about");
  for (const [keys, path] of [["gp", "/projects"], ["gh", "/"], ["ga", "/admin/audit"], ["gj", "/admin/jobs"]]) {
    await Promise.all([page.waitForURL(world.url + path), page.keyboard.type(keys)]);
  }
  await page.keyboard.press("?");
  const listed = await dialog(page).locator("dt").allTextContents();
  for (const element of await page.locator("[aria-keyshortcuts]").all()) {
    const keys = await element.getAttribute("aria-keyshortcuts");
    assert.ok(listed.includes(keys), `${keys} is not in the list`);
  }
  assert.ok(listed.length >= 10, `${listed}`);
  await calm(page);
  await page.context().close();
});

test("single keys walk through rows, select them, open them and copy", async () => {
  const page = await open("admin");
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"], { origin: world.url });
  await page.goto("/projects/team-a/repositories/backend/api?sort=natural");
  const names = (await page.locator("tbody tr th[scope=row] a").allTextContents()).map((text) => text.trim());
  const now = () => page.evaluate(() => document.activeElement.textContent.trim());
  await page.keyboard.press("j");
  assert.equal(await now(), names[0]);
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  assert.equal(await now(), names[2]);
  await page.keyboard.press("k");
  assert.equal(await now(), names[1]);
  const second = page.locator("tbody tr").nth(1);
  await page.keyboard.press("x");
  assert.equal(await second.locator("input[type=checkbox]").isChecked(), true);
  await page.keyboard.press("c");
  await page.waitForFunction(() => document.getElementById("live").textContent !== "");
  assert.equal(await copied(page), `docker pull ${world.host}/team-a/backend/api:${names[1]}`);
  await page.keyboard.press("Enter");
  await page.waitForURL(`**/-/tags/${names[1]}`);
  await page.keyboard.press("c");
  await page.waitForFunction(() => document.getElementById("live").textContent !== "");
  assert.match(await copied(page), /^docker pull /);
  await calm(page);
  await page.context().close();
});

test("single keys are off while somebody types, with other keys held, and for who wants none", async () => {
  const page = await open("admin");
  await page.goto("/projects");
  const filter = page.locator("main input[type=search]");
  await filter.focus();
  await page.keyboard.type("gh?jx/c");
  assert.equal(await filter.inputValue(), "gh?jx/c");
  await filter.evaluate((element) => element.blur());
  await page.keyboard.press("Alt+j");
  assert.equal(await page.evaluate(() => document.activeElement === document.body), true);
  await page.goto("/me/preferences");
  await page.uncheck("#shortcuts");
  await saved(page);
  await page.goto("/projects");
  await page.keyboard.type("gh?j/");
  assert.match(page.url(), /\/projects$/);
  assert.equal(await page.evaluate(() => document.activeElement === document.body), true);
  assert.equal(await page.locator("dialog").count(), 0);
  await page.goto("/me/preferences");
  await page.check("#shortcuts");
  await saved(page);
  await calm(page);
  await page.context().close();
});

test("6: create a project, add a member, make a robot, delete a tag by keyboard alone", async () => {
  const page = await open("admin");
  await page.goto("/projects");
  await press(page, page.getByRole("link", { name: "New project", exact: true }).last());
  await write(page, page.getByLabel("Name", { exact: true }), "by-keyboard");
  await press(page, page.getByRole("button", { name: "Create project" }));
  assert.match(page.url(), /\/projects\/by-keyboard$/);

  await press(page, page.getByRole("navigation", { name: "Sections" }).getByRole("link", { name: "Members" }));
  await write(page, page.getByRole("textbox", { name: "Name", exact: true }), "gus");
  await press(page, page.getByRole("button", { name: "Add member" }));
  assert.match(await page.locator("main [role=status]").textContent(), /gus/);

  await press(page, page.getByRole("navigation", { name: "Sections" }).getByRole("link", { name: "Robots" }));
  await press(page, page.getByRole("link", { name: "New robot" }).first());
  await write(page, page.getByRole("textbox", { name: "Name", exact: true }), "keys");
  await press(page, page.getByRole("button", { name: "Create robot" }));
  assert.ok(await page.getByText("It is shown this once").count(), "the secret is shown");

  await page.goto("/projects/tasks/repositories/keys");
  const box = page.getByRole("checkbox", { name: "Select 1.0" });
  await tabTo(page, box);
  await page.keyboard.press("Space");
  await press(page, page.getByRole("button", { name: "Delete selected tags…" }));
  await press(page, page.getByRole("button", { name: "Delete 1 tag" }));
  assert.match(await page.locator("main [role=status]").textContent(), /1\.0 was deleted/);
  await calm(page);
  await page.context().close();
  await send("DELETE", "/projects/by-keyboard");
});
