#!/usr/bin/python3
"""A layer of 5 GiB, pushed once and pulled once by crane, as a stream in both directions: nothing is kept on disk but
what the registry keeps. The bytes must come back as they went, and the server's memory must not grow with them.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.docker import environment  # noqa: E402
from support.server import MAINTAINER, PATH, Hythe, remove, work_directory  # noqa: E402
from support.suite import check, equal, run  # noqa: E402

PASSWORD = "Quay-Lantern-5528"
REPOSITORY = "large/layer"
MEBIBYTE = 1 << 20
CHUNK_BYTES = MEBIBYTE
GROWTH_MEBIBYTES_MAX = 256
SAMPLE_SECONDS = 0.5
TRANSFER_SECONDS_MAX = 3600


class Memory:
    """Watches the resident memory of one process, in MiB, until `stop`."""

    def __init__(self, process_id):
        self.status = Path(f"/proc/{process_id}/status")
        self.before = self.peak = self.now()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def now(self):
        line = next(line for line in self.status.read_text().splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) // 1024

    def watch(self):
        while not self.ended.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, self.now())

    def stop(self):
        self.ended.set()
        self.thread.join()

    def __str__(self):
        return f"resident memory {self.before} MiB before, {self.peak} MiB at most"


def push(target, size, env):
    """Streams `size` random bytes through crane, which compresses them on the way."""
    source = subprocess.Popen(["head", "-c", str(size), "/dev/urandom"], stdout=subprocess.PIPE)
    try:
        # crane streams a layer that is no regular file: it learns the digest when the last byte is sent.
        command = ["crane", "append", "--new_layer", "-", "--new_tag", target]
        subprocess.run(command, stdin=source.stdout, env=env, check=True, timeout=TRANSFER_SECONDS_MAX)
    finally:
        source.stdout.close()
        source.kill()
        source.wait()


def pull(blob, env):
    """The SHA-256 and the size of what crane brings."""
    digest, size = hashlib.sha256(), 0
    with subprocess.Popen(["crane", "blob", blob], stdout=subprocess.PIPE, env=env) as crane:
        while data := crane.stdout.read(CHUNK_BYTES):
            digest.update(data)
            size += len(data)
    equal(crane.returncode, 0, "the exit code of crane")
    return f"sha256:{digest.hexdigest()}", size


def transfer(what, server, action):
    """Runs `action` with an eye on the server's memory; returns what it returns."""
    memory, started = Memory(server.process.child.pid), time.monotonic()
    try:
        result = action()
    finally:
        memory.stop()
    print(f"{what}: {time.monotonic() - started:.0f} s, {memory}", flush=True)
    growth = memory.peak - memory.before
    check(growth <= GROWTH_MEBIBYTES_MAX, f"{what}: the server's memory grew by {growth} MiB")
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=5 * 1024, help="size of the layer before crane packs it")
    size = parser.parse_args().mebibytes * MEBIBYTE
    if not shutil.which("crane", path=PATH):
        sys.exit("error: crane is missing; run: scripts/setup.sh test")
    directory = work_directory("large")
    free = shutil.disk_usage(directory).free
    if free < size * 5 // 4:
        remove(directory)
        sys.exit(f"error: {directory.parent} has {free // MEBIBYTE} MiB free, too little for the layer")
    server = Hythe(directory)
    try:
        server.project_create("large")
        server.user_create("dev", PASSWORD)
        server.member_add("large", "dev", MAINTAINER)
        env = environment(directory)
        login = ["crane", "auth", "login", "--username", "dev", "--password-stdin", server.host]
        run(*login, stdin=PASSWORD, env=env)
        target = f"{server.host}/{REPOSITORY}"
        transfer("push", server, lambda: push(f"{target}:1", size, env))
        client = server.client("dev", PASSWORD)
        [layer] = client.registry("GET", f"/v2/{REPOSITORY}/manifests/1").json()["layers"]
        check(layer["size"] >= size, f"the layer has {layer['size']} bytes, less than the {size} random ones in it")
        found = transfer("pull", server, lambda: pull(f"{target}@{layer['digest']}", env))
        equal(found, (layer["digest"], layer["size"]), "the digest and the size of what was pulled")
        server.stop()
    finally:
        server.process.kill()
        remove(directory)
    print(f"large layer: {layer['size']} bytes pushed and pulled, 0 failed")


main()
