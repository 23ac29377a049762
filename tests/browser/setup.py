#!/usr/bin/python3
"""Installs the pinned packages of package-lock.json, and Node where the machine has none that is new enough. Silent when
all is there."""

import shutil
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from node import CACHE, find, pinned  # noqa: E402


def main():
    if not find():
        wanted = pinned()["pypi"]
        print(f"Installing Node ({wanted})", flush=True)
        shutil.rmtree(CACHE, ignore_errors=True)
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", CACHE], check=True)
        subprocess.run([CACHE / "bin" / "pip", "install", "--quiet", wanted], check=True)
    node, npm = find()
    lock = (HERE / "package-lock.json").read_text()
    stamp = HERE / "node_modules" / ".installed"
    if stamp.exists() and stamp.read_text() == lock:
        return
    print("Installing the packages of tests/browser", flush=True)
    # Their scripts would fetch browsers; Debian's Chromium is used.
    command = [node, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(command, cwd=HERE, check=True)
    stamp.write_text(lock)


main()
