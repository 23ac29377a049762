// Pictures of the important pages, in both languages and both themes, for people to look at: node screenshots.js DIRECTORY

import fs from "node:fs";
import { LANGUAGES, close, hardPages, open, pages } from "./world.js";

const PAGES_MAX = 20;
const directory = process.argv[2];
fs.mkdirSync(directory, { recursive: true });

// Lists with contents first, then whatever else there is.
const first = ["console_home", "console_projects", "console_project", "console_repositories", "console_tags", "console_tag"];
const rank = (page) => (first.includes(page.id) ? first.indexOf(page.id) : first.length);
const chosen = [...pages.filter((page) => page.id !== "console_login").sort((a, b) => rank(a) - rank(b)), ...hardPages].slice(0, PAGES_MAX);

let count = 0;
for (const language of LANGUAGES) {
  for (const colorScheme of ["light", "dark"]) {
    const page = await open("admin", { language, colorScheme });
    for (const { id, path } of chosen) {
      await page.goto(path);
      const name = id.replace(/^console_/, "").replace(/[^\w.-]+/g, "-").replace(/^-/, "").slice(0, 60);
      await page.screenshot({ path: `${directory}/${name}-${language}-${colorScheme}.png`, fullPage: true });
      count += 1;
    }
    await page.context().close();
  }
}
await close();
console.log(`${count} pictures in ${directory}`);
