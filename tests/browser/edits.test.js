// Changing things in a browser: labels, robots, two people at one form, a session that ends meanwhile, and finding things
// with the keyboard alone.

import assert from "node:assert/strict";
import { test } from "node:test";
import { calm, open, signIn, world } from "./world.js";

const api = "/projects/team-a/repositories/backend/api";

test("a label is made, put on an artifact and taken off, without scripts", async () => {
  const page = await open("admin", { javaScriptEnabled: false });
  await page.goto("/projects/team-a/labels/-/new");
  await page.getByLabel("Name", { exact: true }).fill("checked / twice");
  await page.getByLabel("Purple").check();
  await page.getByRole("button", { name: "Create label" }).click();
  assert.equal(await page.getByRole("rowheader", { name: "checked / twice" }).count(), 1);

  await page.goto(`${api}/-/artifacts/${world.digest}`);
  await page.getByLabel("Label", { exact: true }).fill("checked / twice");
  await page.getByRole("button", { name: "Add label" }).click();
  await page.getByRole("button", { name: "Remove the label checked / twice" }).click();
  assert.equal(await page.getByRole("button", { name: "Remove the label checked / twice" }).count(), 0);
  await page.getByRole("button", { name: "Undo" }).click();
  assert.equal(await page.getByRole("button", { name: "Remove the label checked / twice" }).count(), 1);

  await page.goto("/projects/team-a/labels");
  await page.getByRole("link", { name: "Edit checked / twice" }).click();
  await page.getByLabel("Name", { exact: true }).fill("new");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("link", { name: "Delete new" }).click();
  await page.getByText("taken off 1 artifact").waitFor();
  await page.getByRole("button", { name: "Delete" }).click();
  assert.equal(await page.getByRole("rowheader", { name: "new", exact: true }).count(), 0);
  await page.context().close();
});

test("of two people who change the same robot the second sees both", async () => {
  const [first, second] = [await open("admin"), await open("admin")];
  for (const page of [first, second]) await page.goto("/projects/team-a/robots/ci/-/edit");
  await first.getByLabel("Purpose").fill("theirs");
  await first.getByRole("button", { name: "Save" }).click();
  await first.waitForURL("**/robots/ci");
  await second.getByLabel("Purpose").fill("mine");
  const [answer] = await Promise.all([
    second.waitForResponse((answer) => answer.request().method() === "POST"),
    second.getByRole("button", { name: "Save" }).click(),
  ]);
  assert.equal(answer.status(), 409);
  await second.getByRole("cell", { name: "theirs" }).waitFor();
  assert.equal(await second.getByLabel("Purpose").inputValue(), "mine");
  second.faults.splice(0);
  await second.getByRole("button", { name: "Save" }).click();
  await second.waitForURL("**/robots/ci");
  await second.getByText("mine", { exact: true }).waitFor();
  for (const page of [first, second]) {
    await calm(page);
    await page.context().close();
  }
});

test("what was typed is back after signing in again", async () => {
  const page = await open();
  await signIn(page, "admin");
  await page.goto(`${api}/-/about/edit`);
  const text = "typed for\na long time <b>";
  await page.getByLabel("Description").fill(text);

  // The same session ends in another window.
  const other = await open();
  await other.context().addCookies(await page.context().cookies());
  await other.goto("/");
  await other.locator("header summary", { hasText: "admin" }).click();
  await other.getByRole("button", { name: "Sign out" }).click();
  await other.context().close();

  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("what you typed is kept").waitFor();
  assert.ok(!page.url().includes("typed"), page.url());
  await page.fill("main input[name=name]", "admin");
  await page.fill("main input[name=password]", world.people.admin);
  await page.locator("main button.primary").click();
  assert.equal(await page.locator("textarea[name=description]").inputValue(), text);
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.waitForURL("**/-/about");
  await page.getByText("a long time").waitFor();
  page.faults.splice(0);
  await page.context().close();
});

test("the slash key, a name and Enter twice open the first hit", async () => {
  const page = await open("admin");
  for (const [text, path] of [
    ["1.10.0", /\/repositories\/backend\/api\/-\/tags\/1\.10\.0$/],
    [world.digest.slice("sha256:".length, 20), new RegExp(`/-/artifacts/${world.digest}$`)],
    ["team-a", /\/projects\/team-a$/],
  ]) {
    await page.goto("/about");
    await page.keyboard.press("/");
    await page.keyboard.type(text);
    await page.keyboard.press("Enter");
    await page.waitForURL("**/search?q=*");
    await page.locator("main a[autofocus]").waitFor();
    await page.keyboard.press("Enter");
    await page.waitForURL(path);
  }
  await calm(page);
  await page.context().close();
});
