// What the tests share: the server's contents (written by run.py), one Chromium, and what every page has to keep to.

import assert from "node:assert/strict";
import fs from "node:fs";
import { chromium } from "playwright-core";

export const world = JSON.parse(fs.readFileSync(process.env.HYTHE_WORLD, "utf8"));
export const LANGUAGES = ["en", "zh-CN"];

// Placeholders of routes, and the things of seed.py that they stand for.
const VALUES = {
  project: "team-a",
  repository: "backend/api",
  tag: "1.10.0",
  digest: world.digest,
  robot: "ci",
  request: String(world.request),
  job: String(world.job),
  token: "laptop",
  rule: String(world.rule),
  user: "dana",
  operation: "listProjects",
  document: "cli",
};

// Pages that need more than their path.
const QUERIES = {
  console_search: "?q=team",
  console_tags_delete: "?tag=1.9.2",
  console_member_delete: "?user=dana",
  console_group: "?http=builders",
  console_group_delete: "?http=builders",
  console_label: "?name=tested",
  console_label_delete: "?name=tested",
  console_system_label: "?name=keep%2Fforever",
  console_system_label_delete: "?name=keep%2Fforever",
};

// Pages that no test opens, each with its reason. A page that is neither here nor has its values above fails.
export const UNOPENED = {
  console_request_new: "it is there only for people who may not create projects themselves",
  console_client_logout: "it ends the session, and shows no page",
};

// Forms that no test sends without a token, each with its reason.
export const UNSENT = {};

// Where a page shows somebody's files and not a page.
const FILES = /\/(manifest|files|raw|download|export)$|\.csv$/;

// Routes whose placeholders mean something else than elsewhere.
const OTHER_VALUES = [{ prefix: "/admin/robots", name: "robot", value: "builder" }];

// The address of a route, or nothing when a placeholder has no value.
export function address(route) {
  let missing = false;
  const path = route.path.replace(/\{(\w+)\}/g, (_, name) => {
    const other = OTHER_VALUES.find((entry) => entry.name === name && route.path.startsWith(entry.prefix));
    const value = other?.value ?? VALUES[name];
    if (!value || value === "undefined") missing = true;
    return encodeURI(value ?? "");
  });
  return missing ? undefined : path + (QUERIES[route.id] ?? "");
}

// The pages a test can open, as { id, path }.
export const pages = world.routes
  .filter((route) => route.method === "GET" && !(route.id in UNOPENED) && !FILES.test(route.path))
  .map((route) => ({ id: route.id, path: address(route) }))
  .filter((page) => page.path);

export const forms = world.routes
  .filter((route) => route.method === "POST" && !(route.id in UNSENT))
  .map((route) => ({ id: route.id, path: address(route) ?? route.path.replace(/\{\w+\}/g, "1") }));

// More of the same pages, with contents that are hard to show.
export const hardPages = [
  "/projects/team-a/repositories/many",
  "/projects/team-a/repositories/backend/index",
  "/projects/team-a/repositories/charts/web",
  "/projects/team-a/repositories/backend/signed",
  "/projects/open/repositories/hello",
  `/projects/${world.longest.replace("/", "/repositories/")}`,
  "/projects/nothing-yet",
  "/projects/nothing-yet/repositories",
  "/projects?q=nothing-matches-this",
  "/projects/team-a/repositories?q=long-component",
].map((path) => ({ id: path, path }));

// Pages of nobody: opened without a session.
export const visitorPages = ["/", "/login", "/about", "/search?q=hello", "/projects", "/projects/open", "/nowhere"];

let browser;
const sessions = new Map();

export async function chrome() {
  browser ??= await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic"],
  });
  return browser;
}

export async function close() {
  await browser?.close();
  browser = undefined;
  sessions.clear();
}

// A browser window of its own. `who` is a name of the seed, or nothing for nobody.
export async function open(who, options = {}) {
  const { language = "en", width = 1440, ...rest } = options;
  const context = await (await chrome()).newContext({
    baseURL: world.url,
    viewport: { width, height: 900 },
    locale: language,
    storageState: who ? await session(who) : undefined,
    ...rest,
  });
  return watch(await context.newPage());
}

async function session(who) {
  if (!sessions.has(who)) {
    const context = await (await chrome()).newContext({ baseURL: world.url });
    await signIn(await context.newPage(), who);
    sessions.set(who, await context.storageState());
    await context.close();
  }
  return sessions.get(who);
}

export async function signIn(page, who) {
  await page.goto("/login");
  await page.fill("main input[name=name]", who);
  await page.fill("main input[name=password]", world.people[who]);
  await page.click("main form[action='/login'] button, main form button.primary");
  assert.ok(!page.url().includes("/login"), `${who} could not sign in`);
}

// Writes down what goes wrong on a page without anybody looking.
function watch(page) {
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(`${page.url()}: ${error}`));
  page.on("console", (message) => {
    // The browser reports the status of an error page in the same way.
    const status = /status of (401|403|404|422)/.test(message.text()) && message.location().url === page.url();
    if (["error", "warning"].includes(message.type()) && !status) page.faults.push(`${page.url()}: ${message.text()}`);
  });
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(`${world.url}/`) && !url.startsWith("data:")) page.faults.push(`${page.url()} asks for ${url}`);
  });
  page.on("dialog", (dialog) => {
    page.faults.push(`${page.url()} opens a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  return page;
}

// Nothing was wrong since the last time.
export async function calm(page) {
  const hacked = await page.evaluate(() => window.hacked);
  assert.equal(hacked, undefined, `${page.url()} runs what it should show`);
  assert.deepEqual(page.faults.splice(0), []);
}

// The REST API as the administrator.
export async function api(path) {
  const answer = await fetch(`${world.url}/api/v2.0${path}`, {
    headers: { authorization: `Basic ${Buffer.from(`admin:${world.people.admin}`).toString("base64")}` },
  });
  assert.ok(answer.ok, `${path}: ${answer.status}`);
  return answer.json();
}

// A change over the REST API, as the administrator.
export async function send(method, path, body) {
  const answer = await fetch(`${world.url}/api/v2.0${path}`, {
    method,
    body: body && JSON.stringify(body),
    headers: {
      "content-type": "application/json",
      authorization: `Basic ${Buffer.from(`admin:${world.people.admin}`).toString("base64")}`,
    },
  });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${await answer.text()}`);
}

// Everything that a form could have changed.
export async function state() {
  const found = {};
  for (const path of [
    "/projects?page_size=100",
    "/users?page_size=100",
    "/usergroups?page_size=100",
    "/robots?q=Level=project,ProjectID=2&page_size=100",
    "/robots?page_size=100",
    "/configurations",
    "/quotas?page_size=100",
    "/projects/team-a/members",
    "/labels?scope=g&page_size=100",
    "/labels?scope=p&project_id=2&page_size=100",
    "/projects/team-a/metadatas",
    "/projects/team-a/immutabletagrules",
    "/projects/team-a/repositories?page_size=100",
    "/projects/team-a/repositories/backend%252Fapi/artifacts?with_tag=true&page_size=100",
    "/users/current/tokens",
  ]) {
    found[path] = await api(path);
  }
  // Looking at things counts as nothing.
  return JSON.parse(JSON.stringify(found, (key, value) => (/pull|last_/.test(key) ? undefined : value)));
}

// Cookies of a response, as lines.
export const cookies = (answer) => answer.headers.getSetCookie();

// A session without a browser: its cookie and the token of its forms.
export async function plainSession(who) {
  const page = await fetch(`${world.url}/login`);
  const form = cookies(page).find((line) => line.startsWith("hythe-form=")).split(";")[0];
  const body = new URLSearchParams({ csrf: token(await page.text()), name: who, password: world.people[who], return: "/" });
  const answer = await fetch(`${world.url}/login`, { method: "POST", body, redirect: "manual", headers: { cookie: form } });
  assert.equal(answer.status, 303);
  const cookie = cookies(answer).find((line) => line.startsWith("hythe=")).split(";")[0];
  const home = await fetch(`${world.url}/about`, { headers: { cookie } });
  return { cookie, token: token(await home.text()) };
}

export const token = (html) => html.match(/name="csrf" value="([^"]+)"/)[1];
