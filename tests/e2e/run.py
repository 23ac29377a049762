#!/usr/bin/python3
"""Real clients against a fresh `hythe serve`: Docker, containerd, podman, skopeo, buildah, crane, oras, helm,
regctl, cosign, notation, a Python script, a line that breaks, and a second registry that trusts Hythe's tokens.

With `--storage s3` the blobs lie in a bucket of an S3 server that is started beside it, and `--redirect` sends clients
there for them.

Everything runs on 127.0.0.1 in a temporary directory and is stopped by its own process id. Needs root, because of the
Docker engine.
"""

import argparse
import os
import re
import shutil
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import artifact_cases  # noqa: E402
import client_cases  # noqa: E402
import clients  # noqa: E402
import containerd_cases  # noqa: E402
import docker_cases  # noqa: E402
import resilience  # noqa: E402
import rest_cases  # noqa: E402
import signing  # noqa: E402
from support.docker import Engine  # noqa: E402
from support.server import PATH, STORAGES, Hythe, bucket_for, remove, work_directory  # noqa: E402
from world import World  # noqa: E402

PROGRAMS = "dockerd docker containerd ctr podman skopeo buildah docker-registry".split()
PROGRAMS += "crane oras helm regctl cosign notation".split()

# The last looks at the log of all the others.
SUITES = [
    docker_cases.suite,
    containerd_cases.suite,
    clients.suite,
    artifact_cases.suite,
    signing.suite,
    rest_cases.suite,
    client_cases.suite,
    resilience.suite,
]

# What these look at is how the bytes pass through Hythe, which redirects are there to avoid.
THROUGH_HYTHE = re.compile("a connection that breaks off|podman push as zstd:chunked|regctl sends a blob|a PATCH cut")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="only the cases whose title matches this regular expression")
    parser.add_argument("--storage", choices=STORAGES, default="filesystem")
    parser.add_argument("--redirect", action="store_true", help="send clients to the bucket for blobs")
    parser.add_argument("--keep", action="store_true", help="keep the temporary directory")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("error: these tests start a Docker engine, which needs root")
    missing = [name for name in PROGRAMS if not shutil.which(name, path=PATH)]
    if missing:
        sys.exit(f"error: missing: {' '.join(missing)}; run: scripts/setup.sh test")

    directory = work_directory("e2e")
    passed = failed = 0
    if arguments.redirect and arguments.storage == "filesystem":
        parser.error("--redirect needs a bucket: add --storage s3")
    server = engine = None
    bucket = bucket_for(arguments.storage, directory)
    settings = dict(bucket.settings) if bucket else {}
    if arguments.redirect:
        settings["HYTHE_STORAGE__S3__REDIRECT"] = "true"
    try:
        server = Hythe(directory, settings)
        engine = Engine(directory / "engine")
        world = World(directory, server, engine)
        for suite in SUITES:
            if arguments.redirect:
                suite.cases = [case for case in suite.cases if not THROUGH_HYTHE.search(case[0])]
            chosen = [case for case in suite.cases if not arguments.only or re.search(arguments.only, case[0])]
            if not chosen:
                continue
            print(f"\n{suite.name}")
            counts = suite.run(world, only=arguments.only)
            passed, failed = passed + counts[0], failed + counts[1]
        if failed:
            print(server.complaints())
        server.stop()
    finally:
        if engine:
            engine.stop()
        if server:
            server.process.kill()
        if bucket:
            bucket.kill()
    if not failed and not arguments.keep:
        remove(directory)
    print(f"e2e: {passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


main()
