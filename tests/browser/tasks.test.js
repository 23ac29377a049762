// What people come for. The number in a title is that of the check it proves.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { api, calm, open, plainSession, send, world } from "./world.js";

const get = async (path, who = "admin") => {
  const headers = who ? { cookie: (await plainSession(who)).cookie } : {};
  return fetch(world.url + path, { headers, redirect: "manual" });
};
const rows = async (page) => (await page.locator("tbody th[scope=row]").allTextContents()).map((text) => text.trim());

test("30: versions are in the order of numbers, over all pages", async () => {
  const page = await open("dana");
  await page.goto("/projects/team-a/repositories/backend/api?sort=natural");
  const versions = (await rows(page)).map((text) => text.match(/^\d+\.\d+\.\d+/)?.[0]).filter(Boolean);
  assert.deepEqual(versions, ["1.2.0", "1.9.2", "1.10.0"]);
  await page.goto("/projects/team-a/repositories/many?sort=-natural&size=25");
  assert.match((await rows(page))[0], new RegExp(`^build-0*${world.tags - 1}`));
  await page.context().close();
});

test("34: the name of an image is its address, and a wrong one has a suggestion", async () => {
  for (const [path, to] of [
    ["/team-a/backend/api:1.10.0", "/projects/team-a/repositories/backend/api/-/tags/1.10.0"],
    [`/team-a/backend/api@${world.digest}`, `/projects/team-a/repositories/backend/api/-/artifacts/${world.digest}`],
  ]) {
    const answer = await get(path);
    assert.ok([302, 303, 307].includes(answer.status), `${path}: ${answer.status}`);
    assert.equal(decodeURIComponent(answer.headers.get("location")).replace(world.url, ""), to);
  }
  const page = await open("dana");
  const answer = await page.goto("/team-a/backend/api:1.10.1");
  assert.equal(answer.status(), 404);
  assert.ok((await page.locator("main a").allTextContents()).some((text) => text.includes("1.10.0")), "a near tag is offered");
  await page.context().close();
});

test("35: an index shows its platforms with variant and size, and leads to each", async () => {
  const page = await open("dana");
  await page.goto("/projects/team-a/repositories/backend/index/-/tags/2.0");
  const platforms = await rows(page);
  assert.equal(platforms.length, 3);
  for (const platform of ["amd64", "arm64/v8", "arm/v7"]) {
    assert.ok(platforms.some((text) => text.startsWith(platform)), `${platform} in ${platforms}`);
  }
  const row = page.locator("tbody tr", { hasText: "arm/v7" });
  assert.match(await row.textContent(), /\d+(\.\d+)? (B|KiB)/);
  await row.getByRole("link").click();
  assert.match(page.url(), /\/-\/artifacts\/sha256:/);
  assert.match(await page.locator("main").textContent(), /Part of/);
  await calm(page);
  await page.context().close();
});

test("36: what is attached is shown, and its manifest comes byte by byte", async () => {
  const page = await open("dana");
  await page.goto("/projects/team-a/repositories/backend/signed/-/tags/1.0");
  const tree = page.locator("ul.tree");
  assert.match(await tree.textContent(), /Signature/);
  assert.match(await tree.textContent(), /SBOM/);
  await tree.getByRole("link").first().click();
  const digest = page.url().split("/").at(-1);
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download the manifest" }).click()]);
  const parts = [];
  for await (const part of await download.createReadStream()) parts.push(part);
  assert.equal(`sha256:${createHash("sha256").update(Buffer.concat(parts)).digest("hex")}`, digest);
  await page.context().close();
});

test("37: layers have their number, command and size, and add up", async () => {
  const page = await open("dana");
  await page.goto("/projects/team-a/repositories/backend/api/-/tags/1.10.0");
  const table = page.getByRole("table", { name: "Layers" });
  assert.match(await table.textContent(), /COPY/);
  const sizes = await table.locator("tbody [title$=' B']").evaluateAll((all) => all.map((one) => Number(one.title.replace(/\D/g, ""))));
  const manifest = await (await get(`/projects/team-a/repositories/backend/api/-/artifacts/${world.digest}/manifest`)).json();
  assert.equal(sizes.reduce((sum, size) => sum + size, 0), manifest.layers.reduce((sum, layer) => sum + layer.size, 0));
  await page.context().close();
});

test("38: secrets of the environment are folded away until somebody opens them", async () => {
  const page = await open("dana");
  await page.goto("/projects/team-a/repositories/backend/api/-/tags/1.10.0");
  const secret = page.getByText("do-not-show");
  assert.equal(await secret.isVisible(), false);
  await page.getByText("API_TOKEN").click();
  assert.equal(await secret.isVisible(), true);
  await page.context().close();
});

test("39, 40: of two tags of a digest one goes and the other stays; the history brings it back", async () => {
  const page = await open("admin");
  const base = "/projects/tasks/repositories/app";
  const digest = async (tag) => (await api(`/projects/tasks/repositories/app/artifacts/${tag}`)).digest;
  const [before, kept] = [await digest("1.0"), await digest("stable")];
  assert.equal(before, kept);
  await page.goto(`${base}/-/delete-tags?tag=1.0`);
  assert.match(await page.locator("main").textContent(), /The artifact stays as stable/);
  await page.getByRole("button", { name: "Delete 1 tag" }).click();
  assert.equal(await digest("stable"), before);
  await page.goto(`${base}/-/delete-tags?tag=stable`);
  const said = await page.locator("main").textContent();
  assert.match(said, /no tag any more/);
  assert.match(said, /1 artifact of \d/);
  await page.goto(`${base}/-/history?tag=1.0`);
  await page.getByRole("button", { name: /^Restore 1\.0 to/ }).first().click();
  assert.match(await page.locator("main [role=status]").textContent(), /1\.0 was restored/);
  assert.equal(await digest("1.0"), before);
  await calm(page);
  await page.context().close();
});

test("43: how full a project is stands there in words, and in colours", async () => {
  const project = await api("/projects/tasks");
  const quota = (await api("/quotas?page_size=100")).find((row) => row.ref.id === project.project_id);
  const page = await open("admin");
  for (const [percent, badge] of [[79, null], [80, "warn"], [95, "bad"], [100, "bad"]]) {
    const limit = percent === 79 ? Math.ceil(quota.used.storage / 0.79) : Math.floor(quota.used.storage / (percent / 100));
    await send("PUT", `/quotas/${quota.id}`, { hard: { storage: limit } });
    await page.goto("/projects/tasks");
    const card = page.locator(".card", { has: page.locator("progress") }).first();
    const badges = card.locator(".badge");
    assert.equal(await badges.count(), badge ? 1 : 0, `${percent} %`);
    if (badge) assert.ok((await badges.getAttribute("class")).includes(badge), `${percent} % is ${badge}`);
    assert.match(await card.textContent(), / of /, "used and limit stand there");
  }
  await send("PUT", `/quotas/${quota.id}`, { hard: { storage: -1 } });
  await page.context().close();
});

test("44: a change of members counts with their next click, and the last administrator stays", async () => {
  const [page, other] = [await open("admin"), await open("sam")];
  assert.equal((await other.goto("/projects/tasks")).status(), 404);
  await page.goto("/projects/tasks/members");
  await page.getByRole("textbox", { name: "Name", exact: true }).fill("sam");
  await page.getByRole("combobox", { name: "Role", exact: true }).selectOption({ label: "Guest" });
  await page.getByRole("button", { name: "Add member" }).click();
  assert.equal((await other.goto("/projects/tasks")).status(), 200);
  assert.equal(await other.getByText("Push an image").count(), 0);
  const row = page.locator("tbody tr", { hasText: "sam" });
  await row.getByRole("combobox").selectOption({ label: "Developer" });
  await row.getByRole("button", { name: "Change" }).click();
  await other.goto("/projects/tasks");
  assert.equal(await other.getByText("Push an image").count(), 1);
  const last = page.getByRole("row", { name: /^admin / });
  assert.match(await last.textContent(), /The only administrator/);
  assert.equal(await last.getByRole("combobox").count(), 0);
  await row.getByRole("link", { name: "Remove sam" }).click();
  await page.getByRole("button", { name: /Remove/ }).click();
  assert.equal((await other.goto("/projects/tasks")).status(), 404);
  await page.context().close();
  await other.context().close();
});

test("52: what happens is in the audit log with who, what, where from and how it ended", async () => {
  await fetch(`${world.url}/api/v2.0/users/current`, { headers: { authorization: `Basic ${Buffer.from("gus:wrong-password").toString("base64")}` } });
  await send("PUT", "/configurations", { robot_token_duration: 31 });
  const page = await open("admin");
  const find = async (query) => {
    await page.goto(`/admin/audit?${query}`);
    return (await page.locator("tbody tr").allTextContents()).map((text) => text.replace(/\s+/g, " "));
  };
  const deadline = Date.now() + 2000;
  let settings = [];
  while (settings.length === 0 && Date.now() < deadline) settings = await find("kind=configuration&actor=admin");
  assert.match(settings[0] ?? "", /admin .*127\.0\.0\.1/);
  const pushes = await find("project=tasks&operation=create&kind=artifact");
  assert.match(pushes[0] ?? "", /tasks\/.*sha256:[0-9a-f]{12}.*done/);
  const narrow = await find("project=tasks&actor=nobody-at-all");
  assert.ok(!narrow.some((row) => row.includes("sha256")), "filters hold together");
  await page.context().close();
});

test("54: a setting that comes from the environment says so and cannot be typed over", async () => {
  const page = await open("admin");
  await page.goto("/admin/settings/general");
  const fixed = page.locator("#token_expiration");
  assert.equal(await fixed.getAttribute("readonly"), "");
  assert.match(await page.locator("#token_expiration-hint").textContent(), /\S/);
  await page.context().close();
});

test("56: search finds projects, repositories and descriptions, and opens what it finds", async () => {
  const page = await open("dana");
  await page.goto("/");
  await page.keyboard.press("/");
  await page.keyboard.type("backend/api");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/search\?q=/);
  assert.ok(await page.locator("main a[href='/projects/team-a/repositories/backend/api']").count());
  await page.goto("/search?q=team-a/backend/api:1.10.0");
  assert.ok(await page.locator("main a[href*='1.10.0']").count() || /1\.10\.0/.test(page.url()));
  await page.context().close();
});

test("66: moments are in the viewer's zone with scripts, and in UTC without", async () => {
  for (const [javaScriptEnabled, wanted] of [[true, /GMT\+8|UTC\+8|CST/], [false, /UTC$/]]) {
    const page = await open("dana", { javaScriptEnabled, timezoneId: "Asia/Shanghai" });
    await page.goto("/projects/team-a/repositories/backend/api");
    const time = page.locator("tbody time").first();
    if (javaScriptEnabled) await time.hover();
    assert.match(await time.getAttribute("title"), wanted);
    assert.match(await time.getAttribute("datetime"), /Z$/);
    await page.context().close();
  }
});
