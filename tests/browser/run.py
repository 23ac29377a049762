#!/usr/bin/python3
"""The web console in Chromium, against a fresh `hythe serve` with the contents of seed.py.

The pages come from the program's own table of routes (`hythe config pages`), so a page nobody thought of is tested or
fails. With `--screenshots DIRECTORY` it takes pictures of the important ones and tests nothing.

Everything runs on 127.0.0.1 in a temporary directory and is stopped by its own process id.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from node import find  # noqa: E402
from seed import Seed  # noqa: E402
from support.server import Hythe, binary, remove, work_directory  # noqa: E402

CHROMIUM = "/usr/bin/chromium"


def pages():
    lines = subprocess.run([binary(), "config", "pages"], check=True, text=True, stdout=subprocess.PIPE).stdout
    return [dict(zip(("method", "path", "id"), line.split(" "))) for line in lines.splitlines()]


def node(arguments, world, approve=False):
    """Runs node and passes on what it prints; returns its exit code and the counts of its closing lines."""
    command = [find()[0], *arguments]
    environment = {**os.environ, "HYTHE_WORLD": str(world), "CHROMIUM": CHROMIUM, "HYTHE_APPROVE": "1" if approve else ""}
    counts = {}
    with subprocess.Popen(command, cwd=HERE, env=environment, text=True, stdout=subprocess.PIPE) as child:
        for line in child.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            found = re.match(r"(?:#|ℹ) (pass|fail|cancelled|skipped) (\d+)$", line.strip())
            if found:
                counts[found.group(1)] = int(found.group(2))
        return child.wait(), counts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="only the tests whose name matches this regular expression")
    parser.add_argument("--screenshots", type=Path, help="take pictures instead, into this directory")
    parser.add_argument("--approve", action="store_true", help="keep what pages say now as what they should say")
    parser.add_argument("--keep", action="store_true", help="keep the temporary directory")
    arguments = parser.parse_args()
    missing = [] if find() else ["node"]
    missing += [name for name in (CHROMIUM, HERE / "node_modules") if not Path(name).exists()]
    if missing:
        sys.exit(f"error: missing: {' '.join(map(str, missing))}; run: scripts/setup.sh test")

    directory = work_directory("browser")
    server = Hythe(directory)
    failed = 1
    try:
        world = directory / "world.json"
        world.write_text(json.dumps({**Seed(server).run(), "routes": pages(), "log": str(server.log)}))
        if arguments.screenshots:
            code, _ = node(["screenshots.js", arguments.screenshots.resolve()], world)
            failed = code
        else:
            # The last test closes the browser, without which the run does not end.
            only = ["--test-name-pattern", f"({arguments.only})|^the browser closes$"] if arguments.only else []
            code, counts = node(["--test", "--test-reporter=spec", *only, "all.js"], world, arguments.approve)
            failed = counts.get("fail", 0) + counts.get("cancelled", 0) or code
            print(f"browser: {counts.get('pass', 0)} passed, {failed} failed")
        if failed:
            print(server.complaints())
        server.stop()
    finally:
        server.kill()
    if not failed and not arguments.keep:
        remove(directory)
    sys.exit(1 if failed else 0)


main()
