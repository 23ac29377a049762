// What pages give away, what forms accept, and what cookies are good for.

import assert from "node:assert/strict";
import { test } from "node:test";
import { UNOPENED, address, api, calm, cookies, forms, hardPages, open, pages, plainSession, state, token, world } from "./world.js";

const get = (path, headers = {}) => fetch(world.url + path, { headers, redirect: "manual" });
const post = (path, fields, headers = {}) =>
  fetch(world.url + path, { method: "POST", body: new URLSearchParams(fields), headers, redirect: "manual" });

test("every page and every form is tested or has a reason not to be", () => {
  const untested = world.routes
    .filter((route) => route.method === "GET" && !address(route) && !(route.id in UNOPENED))
    .map((route) => `${route.id} ${route.path}: give its placeholders a value in VALUES of world.js, or it a reason in UNOPENED`);
  assert.deepEqual(untested, []);
  assert.ok(pages.length > 5 && forms.length > 3, `${pages.length} pages, ${forms.length} forms`);
});

test("every page has the content policy, and is kept by nobody", async () => {
  const { cookie } = await plainSession("admin");
  for (const { path } of [...pages, { path: "/nowhere" }]) {
    const answer = await get(path, { cookie });
    const policy = answer.headers.get("content-security-policy") ?? "";
    for (const part of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"]) {
      assert.ok(policy.includes(part), `${path}: ${policy}`);
    }
    assert.ok(!policy.includes("unsafe"), path);
    assert.equal(answer.headers.get("cache-control"), "no-store", path);
    assert.equal(answer.headers.get("x-content-type-options"), "nosniff", path);
    assert.equal(answer.headers.get("x-frame-options"), "DENY", path);
  }
});

test("texts of users stay texts", async () => {
  const page = await open("admin");
  const found = new Set();
  for (const { path } of [...pages.filter((page) => page.id !== "console_login"), ...hardPages]) {
    await page.goto(path);
    // Also after whatever would run late.
    await page.waitForTimeout(30);
    await calm(page);
    const text = await page.evaluate(() => document.body.innerText);
    world.hostile.filter((hostile) => text.includes(hostile)).forEach((hostile) => found.add(hostile));
    const links = await page.$$eval("a[href]", (all) => all.map((link) => link.getAttribute("href")));
    assert.deepEqual(links.filter((link) => /^\s*(javascript|data|vbscript):/i.test(link)), [], path);
  }
  await page.context().close();
  assert.ok(found.size > 0, "no page shows any of the hostile texts, so nothing was tried");
});

test("a form without its token, or with another one's, changes nothing", async () => {
  const { cookie } = await plainSession("admin");
  const other = await plainSession("dana");
  const before = await state();
  const wrong = [];
  for (const { id, path } of forms) {
    for (const [what, fields, headers] of [
      ["no token", {}, {}],
      ["a wrong token", { csrf: "x".repeat(43) }, {}],
      ["the token of another session", { csrf: other.token }, {}],
      ["a request from another site", { csrf: (await plainToken(cookie)) }, { "sec-fetch-site": "cross-site" }],
      ["a foreign origin", { csrf: (await plainToken(cookie)) }, { origin: "http://evil.example" }],
    ]) {
      const answer = await post(path, { name: "x", confirm: "team-a", ...fields }, { cookie, ...headers });
      if (answer.status !== 403) wrong.push(`${id} with ${what}: ${answer.status}`);
    }
    const text = await fetch(world.url + path, {
      method: "POST",
      body: `csrf=${await plainToken(cookie)}`,
      headers: { cookie, "content-type": "text/plain" },
      redirect: "manual",
    });
    if (text.status !== 403) wrong.push(`${id} as text/plain: ${text.status}`);
  }
  assert.deepEqual(wrong, []);
  assert.deepEqual(await state(), before);
});

let known;
async function plainToken(cookie) {
  if (known?.cookie !== cookie) known = { cookie, token: token(await (await get("/about", { cookie })).text()) };
  return known.token;
}

test("reading the address of a form changes nothing", async () => {
  const { cookie } = await plainSession("admin");
  const before = await state();
  for (const { id, path } of forms) {
    const answer = await get(path, { cookie });
    assert.ok(answer.status < 500, `${id}: ${answer.status}`);
  }
  assert.deepEqual(await state(), before);
  assert.equal((await get("/projects/new", { cookie })).status, 200);
});

test("cookies are for the server alone, and signing in makes a new one", async () => {
  const page = await get("/login");
  const form = cookies(page)[0];
  assert.match(form, /HttpOnly/);
  assert.match(form, /SameSite=(Lax|Strict)/);
  const planted = "hythe=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
  const first = form.split(";")[0];
  const login = await get("/login", { cookie: `${first}; ${planted}` });
  const fields = { csrf: token(await login.text()), name: "sam", password: world.people.sam };
  const answer = await post("/login", fields, { cookie: `${first}; ${planted}` });
  assert.equal(answer.status, 303);
  const made = cookies(answer).find((line) => line.startsWith("hythe="));
  assert.match(made, /HttpOnly/);
  assert.match(made, /SameSite=(Lax|Strict)/);
  assert.match(made, /Path=\//);
  const value = made.split(";")[0].split("=")[1];
  assert.ok(value.length >= 43 && !planted.includes(value), "the session is new, of 256 bits");
});

test("signing out ends the session in every window", async () => {
  const one = await open("gus");
  const other = await one.context().browser().newContext({ baseURL: world.url, storageState: await one.context().storageState() });
  const second = await other.newPage();
  await one.goto("/projects/team-a");
  await second.goto("/projects/team-a");
  assert.equal(await second.locator("h1").textContent(), "team-a");
  const session = (await one.context().cookies()).find((cookie) => cookie.name === "hythe");
  await one.locator("form[action='/logout']").evaluate((form) => form.submit());
  await one.waitForURL(/\/login/);
  const answer = await second.goto("/projects/team-a");
  assert.equal(answer.status(), 404);
  assert.equal((await get("/projects/new", { cookie: `hythe=${session.value}` })).status, 303);
  await other.close();
  await one.context().close();
});

test("a private project is as missing as one that is not there", async () => {
  const plain = (html, id, path) =>
    html.replaceAll(id, "ID").replaceAll(encodeURIComponent(path), "PATH").replaceAll(path, "PATH").replace(/name="csrf" value="[^"]*"/g, "").replace(/\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d/g, "TIME");
  for (const who of [undefined, "sam"]) {
    const headers = who ? { cookie: (await plainSession(who)).cookie } : {};
    for (const route of world.routes.filter((route) => route.method === "GET" && route.path.startsWith("/projects/{project}"))) {
      const path = address(route);
      const missing = path.replace("/team-a", "/not-there");
      const [one, other] = [await get(path, headers), await get(missing, headers)];
      assert.ok([404, 303].includes(one.status) && !(who && one.status === 303), `${path} as ${who}: ${one.status}`);
      assert.equal(one.status, other.status, path);
      const [first, second] = [await one.text(), await other.text()];
      const id = (answer) => answer.headers.get("x-request-id");
      assert.equal(plain(first, id(one), path), plain(second, id(other), missing), path);
    }
    const list = await (await get("/projects", headers)).text();
    assert.ok(!list.includes("team-a"));
    const search = await (await get("/search?q=backend", headers)).text();
    assert.ok(!search.includes("team-a"));
  }
});

test("an unknown address answers in the language of its place", async () => {
  for (const [path, kind] of [["/api/v2.0/nothing", "application/json"], ["/v2/nothing", "application/json"], ["/nothing", "text/html"]]) {
    const answer = await get(path);
    assert.ok([401, 404].includes(answer.status), `${path}: ${answer.status}`);
    assert.ok((answer.headers.get("content-type") ?? "").startsWith(kind), `${path}: ${answer.headers.get("content-type")}`);
  }
  await api("/statistics");
});
