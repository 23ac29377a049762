// Pictures of the important pages, in both languages and both themes, for people to look at: node screenshots.js DIRECTORY
// The most used ones also as a phone shows them.

import fs from "node:fs";
import { LANGUAGES, close, open, pages } from "./world.js";

const directory = process.argv[2];
fs.mkdirSync(directory, { recursive: true });

// Name of the picture, and the route or the address.
const CHOSEN = [
  ["home", "console_home"],
  ["projects", "console_projects"],
  ["project", "console_project"],
  ["project-new", "console_project_new"],
  ["project-empty", "/projects/nothing-yet/repositories"],
  ["repositories", "console_repositories"],
  ["tags", "console_tags"],
  ["tags-many", "/projects/team-a/repositories/many"],
  ["tags-no-match", "/projects/team-a/repositories/many?q=nothing-like-it"],
  ["tags-delete", "console_tags_delete"],
  ["artifact", "console_tag"],
  ["index", "/projects/team-a/repositories/backend/index/-/tags/2.0"],
  ["history", "console_history"],
  ["members", "console_members"],
  ["robot-new", "console_robot_new"],
  ["policies", "console_policies"],
  ["search", "console_search"],
  ["audit", "console_audit"],
  ["storage", "console_storage"],
  ["health", "console_health"],
];
const PHONE = ["home", "projects", "project", "repositories", "tags", "artifact", "members", "audit"];

const address = (where) => (where.startsWith("/") ? where : pages.find((page) => page.id === where)?.path);

let count = 0;
async function take(page, name, where) {
  const path = address(where);
  if (!path) throw new Error(`there is no page ${where}: correct CHOSEN`);
  await page.goto(path);
  await page.screenshot({ path: `${directory}/${name}.png`, fullPage: true });
  count += 1;
}

for (const language of LANGUAGES) {
  for (const colorScheme of ["light", "dark"]) {
    const page = await open("admin", { language, colorScheme });
    for (const [name, where] of CHOSEN) await take(page, `${name}-${language}-${colorScheme}`, where);
    await page.context().close();
  }
  const phone = await open("admin", { language, width: 390 });
  for (const [name, where] of CHOSEN.filter(([name]) => PHONE.includes(name))) await take(phone, `${name}-${language}-390`, where);
  await phone.context().close();
}
await close();
console.log(`${count} pictures in ${directory}`);
