// What assistive programs are told about every page, compared with the files below `aria`. After a wanted change
// `tests/browser/run.py --approve --only 11:` writes them anew; look at the difference before it is committed.

import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { open, pages, world } from "./world.js";

const directory = new URL("aria/", import.meta.url);
const approve = process.env.HYTHE_APPROVE === "1";
// Of a table the first rows are enough; what happens by itself is in none.
const ROWS = 2;
const LIVELY = ["console_audit", "console_activity", "console_jobs", "console_health", "console_admin_job", "console_me_sessions", "console_user", "console_home", "console_storage"];

// Without what is another at each run: addresses, digests, moments, sizes of the machine.
function settled(text) {
  return text
    .replaceAll(world.host, "HOST")
    .replace(/127\.0\.0\.1(:\d+)?/g, "ADDRESS")
    .replace(/sha256:[0-9a-f]{12,64}/g, "DIGEST")
    .replace(/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g, "ID")
    .replace(/\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?( (UTC|GMT[+-]?\d*))?)?/g, "TIME")
    .replace(/just now|\d+ (second|minute|hour|day)s? ago/g, "AGO")
    .replace(/\d[\d,.]* (B|KiB|MiB|GiB|TiB)\b/g, "SIZE")
    .replace(/pulled [\d,]+ times?/g, "PULLED")
    .replace(/\b(?:Mozilla|python|Python)[^\n"]*/g, "CLIENT")
    .replace(/(\/url: \S*\/)\d+\b/g, "$1N")
    .replace(/(\b\w+\.\w+) \d+"/g, '$1 N"');
}

test("11: what every page says to those who do not see it is what was approved", async () => {
  const page = await open("admin", { timezoneId: "UTC" });
  const wrong = [];
  const names = new Set();
  fs.mkdirSync(directory, { recursive: true });
  for (const { id, path } of pages.filter((page) => page.id !== "console_login")) {
    await page.goto(path);
    const rows = LIVELY.includes(id) ? 0 : ROWS;
    await page.evaluate((most) => {
      for (const body of document.querySelectorAll("tbody")) [...body.rows].slice(most).forEach((row) => row.remove());
      if (most === 0) document.querySelectorAll("main li, main dd, main .figure, main pre").forEach((element) => element.remove());
    }, rows);
    // The frame is the same everywhere.
    const whole = id === "console_about" ? "body" : "main";
    const text = `${settled(await page.locator(whole).ariaSnapshot())}\n`;
    const name = `${id.replace(/^console_/, "")}.yml`;
    names.add(name);
    const file = new URL(name, directory);
    if (approve) fs.writeFileSync(file, text);
    else if (!fs.existsSync(file)) wrong.push(`${name} is missing`);
    else if (fs.readFileSync(file, "utf8") !== text) wrong.push(difference(name, fs.readFileSync(file, "utf8"), text));
  }
  for (const name of fs.readdirSync(directory).filter((name) => !names.has(name))) {
    if (approve) fs.rmSync(new URL(name, directory));
    else wrong.push(`${name} is of no page`);
  }
  await page.context().close();
  assert.deepEqual(wrong, [], "approve what was wanted: tests/browser/run.py --approve --only 11:");
});

// The first lines that differ.
function difference(name, before, after) {
  const [was, is] = [before.split("\n"), after.split("\n")];
  const at = was.findIndex((line, position) => line !== is[position]);
  return `${name}, line ${at + 1}: was ${was[at]?.trim()}, is ${is[at]?.trim()}`;
}
