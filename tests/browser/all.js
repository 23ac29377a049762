// All tests, one after the other in one Chromium: node --test all.js, with the world that run.py made.

import { test } from "node:test";
import { close } from "./world.js";

// First, while everything is as the seed left it.
await import("./snapshots.test.js");
await import("./accessibility.test.js");
await import("./scripts.test.js");
await import("./edits.test.js");
await import("./keyboard.test.js");
await import("./tasks.test.js");
await import("./security.test.js");
await import("./lists.test.js");
await import("./look.test.js");
await import("./appearance.test.js");

// A test and not `after`, which node leaves out when it is told to run only some.
test("the browser closes", close);
