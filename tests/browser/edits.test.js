// Changing things in a browser: labels, robots, two people at one form, a session that ends meanwhile, and finding things
// with the keyboard alone.

import assert from "node:assert/strict";
import fs from "node:fs";
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

// AU-13: texts that people store are texts wherever they are shown.
test("nothing of the corpus becomes part of a page", async () => {
  const corpus = JSON.parse(fs.readFileSync(new URL("corpus.json", import.meta.url), "utf8"));
  assert.ok(corpus.length >= 60);
  const page = await open("admin");
  const shown = new Set();
  const base = "/projects/open/repositories/hostile";
  const paths = [
    base,
    `${base}/-/tags/1`,
    `${base}/-/about`,
    `${base}/-/about/edit`,
    `${base}/-/history`,
    "/projects/open/labels?size=100",
    "/projects/open/members?size=100",
    "/projects/open/robots",
    "/projects/open/robots/hostile0",
    "/projects/open/robots/hostile0/-/edit",
    "/projects/open/activity?size=100",
    "/admin/groups?size=100",
    "/admin/audit?size=100",
    "/projects/open",
    ...corpus.slice(0, 40).filter((_, at) => at % 5 === 0).flatMap((text) => [
      `/projects/open/labels/-/edit?name=${encodeURIComponent(text)}`,
      `/projects/open/labels/-/delete?name=${encodeURIComponent(text)}`,
      `/search?q=${encodeURIComponent(text)}`,
      `/projects/open/members?q=${encodeURIComponent(text)}`,
    ]),
  ];
  for (const path of paths) {
    const answer = await page.goto(path);
    assert.equal(answer.status(), 200, path);
    const found = await page.evaluate(() => {
      const foreign = [];
      for (const element of document.querySelectorAll("*")) {
        const name = element.localName;
        const ours = element.closest("svg.swatch, svg.chart, svg.spark, svg.i, figure svg");
        if (["iframe", "object", "embed", "base", "math", "style", "video", "audio", "frame", "body body"].includes(name)) foreign.push(name);
        if (element.namespaceURI === "http://www.w3.org/2000/svg" && !ours) foreign.push(name);
        if (name === "script" && !new URL(element.src || "about:blank").pathname.startsWith("/assets/")) foreign.push("script");
        if (name === "img" && !new URL(element.src).pathname.startsWith("/assets/")) foreign.push(element.outerHTML);
        if (name === "meta" && element.httpEquiv.toLowerCase() === "refresh" && !element.closest("noscript")) foreign.push("meta");
        for (const attribute of element.attributes) {
          const value = attribute.value.replace(/[\s\u0000-\u001f]/g, "").toLowerCase();
          if (/^on/.test(attribute.name) || attribute.name === "style" || attribute.name === "srcdoc") foreign.push(attribute.name);
          const leads = ["href", "src", "action", "formaction", "xlink:href"].includes(attribute.name);
          if (leads && /^(javascript|data|vbscript):/.test(value)) foreign.push(`${attribute.name}=${value}`);
        }
      }
      const fields = [...document.querySelectorAll("input, textarea")].map((field) => field.value);
      return { foreign, text: [document.body.textContent, ...fields].join("\n") };
    });
    assert.deepEqual(found.foreign, [], path);
    await calm(page);
    corpus.filter((text) => found.text.includes(text)).forEach((text) => shown.add(text));
  }
  const missing = corpus.filter((text) => !shown.has(text));
  assert.deepEqual(missing, [], "every text is seen as it was typed somewhere");
  await page.context().close();
});
