#!/usr/bin/python3
"""Blobs on three disks: a disk is added, fills up, goes away while Hythe runs and before it starts, and comes back.

The disks are small ext4 file systems in files. Needs root, to mount them. Everything runs on 127.0.0.1 in a temporary
directory; what was mounted here is unmounted in the end.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.docker import environment, tar  # noqa: E402
from support.http import Client  # noqa: E402
from support.server import MAINTAINER, Hythe, remove, work_directory  # noqa: E402
from support.suite import CommandFailed, Suite, check, equal, run  # noqa: E402

USER = ("ci", "Harbour-Wall-7391-ci")
LAYER_BYTES = 4_000_000
SIZES = {"one": "64M", "two": "24M", "three": "64M"}
# A disk that is back is looked for every two seconds.
BACK_SECONDS = 3

suite = Suite("disks")


class World:
    def __init__(self, directory):
        self.directory = directory
        self.disks = {name: directory / name for name in SIZES}
        self.mounted = set()
        self.pushed = []
        self.server = None
        self.environment = environment(directory)

    def begin(self):
        for name, size in SIZES.items():
            self.disks[name].mkdir()
            image = self.directory / f"{name}.img"
            run("truncate", "--size", size, image)
            run("mkfs.ext4", "-q", "-F", "-m", "0", image)
            self.mount(name)
        self.server = Hythe(self.directory, self.roots("one", "two"))
        self.server.user_create(*USER)
        self.server.project_create("p")
        self.server.member_add("p", USER[0], MAINTAINER)
        self.login()

    def roots(self, *names):
        return {"HYTHE_STORAGE__FILESYSTEM__ROOTS": ",".join(str(self.disks[name]) for name in names)}

    def mount(self, name):
        run("mount", "-o", "loop", self.directory / f"{name}.img", self.disks[name])
        self.mounted.add(name)

    def unmount(self, name):
        # Hythe has no file open between two requests, or else this one waits for it.
        run("umount", "--lazy", self.disks[name])
        self.mounted.discard(name)

    def login(self):
        who = ["--username", USER[0], "--password-stdin", self.server.host]
        run("crane", "auth", "login", *who, stdin=USER[1], env=self.environment)

    def restart(self, *names):
        self.server.stop()
        self.server.settings = self.roots(*names)
        self.server.start()
        self.login()

    def image(self, tag):
        return f"{self.server.host}/p/app:{tag}"

    def push(self):
        tag = f"t{len(self.pushed)}"
        layer = self.directory / "layer.tar"
        layer.write_bytes(tar({"file": os.urandom(LAYER_BYTES)}))
        run("crane", "append", "--new_layer", layer, "--new_tag", self.image(tag), env=self.environment)
        self.pushed.append(tag)

    def pulled(self):
        """How many of the pushed images can be pulled."""
        count = 0
        for tag in self.pushed:
            try:
                run("crane", "pull", self.image(tag), self.directory / "out.tar", env=self.environment)
            except CommandFailed as error:
                check("UNAVAILABLE" in str(error), f"not a passing fault, but: {error}")
            else:
                count += 1
        return count

    def blobs(self, name):
        return sum(1 for path in (self.disks[name] / "b").rglob("*") if path.is_file())

    def ready(self):
        """The status of /readyz and its word about the storage."""
        port = re.findall(r"operations on http://127\.0\.0\.1:(\d+)", self.server.process.text())[-1]
        answer = Client(f"127.0.0.1:{port}").send("GET", "/readyz")
        words = {one["name"]: one["status"] for one in answer.json()["checks"]}
        return answer.status, words["storage"]


@suite.case("what was pushed is pulled after a restart with the disks in another order")
def _(world):
    for _ in range(6):
        world.push()
    world.restart("two", "one")
    equal(world.pulled(), len(world.pushed), "images")


@suite.case("a disk is added by naming it, and gets what is pushed next")
def _(world):
    world.restart("three", "two", "one")
    before = {name: world.blobs(name) for name in world.disks}
    for _ in range(4):
        world.push()
    check(world.blobs("three") > before["three"], "nothing went to the new disk")
    equal(world.pulled(), len(world.pushed), "images")


@suite.case("when all disks are full a push is 503 and pulls go on")
def _(world):
    refusal = None
    while not refusal:
        check(len(world.pushed) < 60, "the disks never fill up")
        try:
            world.push()
        except CommandFailed as error:
            refusal = str(error)
    check("UNAVAILABLE: the store is full" in refusal, refusal)
    check(all(world.blobs(name) for name in world.disks), "a disk was left out")
    equal(world.pulled(), len(world.pushed), "images")
    equal(world.ready(), (200, "ok"), "readiness")


@suite.case("a disk goes away while Hythe runs: the others are served, and it comes back without a restart")
def _(world):
    world.unmount("two")
    served = world.pulled()
    check(0 < served < len(world.pushed), f"{served} of {len(world.pushed)} images")
    equal(world.ready(), (200, "degraded"), "readiness")
    check(f"{world.disks['two']}: the file hythe-root is gone" in world.server.process.text(), "the log names no disk")
    world.mount("two")
    equal(world.pulled(), len(world.pushed), "images")
    equal(world.ready(), (200, "ok"), "readiness")


@suite.case("a disk is away when Hythe starts: the same, and nothing is written where it belongs")
def _(world):
    world.server.stop()
    world.unmount("two")
    world.server.start()
    world.login()
    check(0 < world.pulled() < len(world.pushed), "all or nothing was served")
    equal(world.ready(), (200, "degraded"), "readiness")
    equal(list(world.disks["two"].iterdir()), [], "files on the mount point")
    world.mount("two")
    time.sleep(BACK_SECONDS)
    equal(world.pulled(), len(world.pushed), "images")
    equal(world.ready(), (200, "ok"), "readiness")


@suite.case("no disk is there when Hythe starts: it says which and does not start")
def _(world):
    world.server.stop()
    for name in world.disks:
        world.unmount(name)
    try:
        world.server.start()
    except RuntimeError as error:
        check("exit code 9" in str(error), str(error))
        for path in world.disks.values():
            check(f"last at {path}, is missing" in str(error), str(error))
    else:
        check(False, "it started")
    for name in world.disks:
        world.mount(name)
    world.server.start()
    world.login()
    equal(world.pulled(), len(world.pushed), "images")


def main():
    if os.geteuid() != 0:
        sys.exit("error: these tests mount file systems, which needs root")
    directory = work_directory("disks")
    world = World(directory)
    try:
        world.begin()
        passed, failed = suite.run(world)
        world.server.stop()
    finally:
        if world.server:
            world.server.kill()
        for name in list(world.mounted):
            subprocess.run(["umount", "--lazy", world.disks[name]], check=False)
    remove(directory)
    print(f"disks: {passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
