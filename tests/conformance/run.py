#!/usr/bin/python3
"""Conformance to the OCI distribution specification, against a fresh `hythe serve`, or against one process per role
behind the gateway (`--split`).

Runs our own checklist, then the official suites that scripts/tools.py could build: the redesigned one with everything
switched on, where a skipped row counts as a failure, and the older one with both orders of deletion. With `--storage s3`
or `--storage minio` the blobs lie in a bucket of an S3 server that is started beside it. The closing line
counts each run of an official suite as one; one that could not be had is counted as skipped.
"""

import argparse
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import checklist  # noqa: E402
from support.fleet import Fleet  # noqa: E402
from support.server import MAINTAINER, STORAGES, TOOLS, Hythe, bucket_for, remove, work_directory  # noqa: E402

USER = ("ci", "Harbour-Wall-7391-ci")
SUITE_SECONDS_MAX = 600

# Cases of the older suite that cannot run with these settings: two are for a registry that nothing may be pushed to,
# two for one that does not look for a blob in other repositories by itself.
CONTRADICTED = (
    "Pull Setup Get tag name from environment",
    "Content Discovery Setup Populate registry with test tags (no push)",
    "Cross-mounting of nonexistent blob should yield session id",
    "Cross-mounting without from, and automatic content discovery disabled should return a 202",
)


def redesign(server, results):
    """Returns the reasons why this run is no pass."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(results),
        "OCI_REGISTRY": server.host,
        "OCI_TLS": "disabled",
        "OCI_VERSION": "dev",
        "OCI_DATA_SPARSE": "true",
        "OCI_REPO1": "conformance/repo1",
        "OCI_REPO2": "conformance/repo2",
        "OCI_USERNAME": USER[0],
        "OCI_PASSWORD": USER[1],
        "OCI_RESULTS_DIR": str(results),
    }
    code, output = call([TOOLS / "conformance-redesign"], results, environment)
    # It ends with 0 after an error in its own set-up, so the exit code alone proves nothing.
    if not (results / "results.yaml").exists():
        return [f"no results.yaml, exit code {code}", *output.splitlines()[-20:]]
    rows = [line for line in output.splitlines() if re.search(r": (FAIL|Error|Skip|Unknown)$", line)]
    if not re.search(r"OCI Conformance Test: Pass\b", output):
        rows.append("the overall result is not Pass")
    return rows + ([f"exit code {code}"] if code else [])


def legacy(server, results, manifest_first):
    """Returns the failed cases, and those that were skipped without need."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(results),
        "OCI_ROOT_URL": server.url,
        "OCI_NAMESPACE": f"conformance/legacy{manifest_first}",
        "OCI_CROSSMOUNT_NAMESPACE": f"crossmount/legacy{manifest_first}",
        "OCI_AUTOMATIC_CROSSMOUNT": "1",
        "OCI_DELETE_MANIFEST_BEFORE_BLOBS": manifest_first,
        "OCI_TEST_PULL": "1",
        "OCI_TEST_PUSH": "1",
        "OCI_TEST_CONTENT_DISCOVERY": "1",
        "OCI_TEST_CONTENT_MANAGEMENT": "1",
        "OCI_USERNAME": USER[0],
        "OCI_PASSWORD": USER[1],
        "OCI_REPORT_DIR": str(results),
    }
    code, output = call([TOOLS / "conformance-legacy"], results, environment)
    report = results / "junit.xml"
    if not report.exists():
        return [f"no junit.xml, exit code {code}", *output.splitlines()[-20:]]
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = [case.get("name") for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case.get("name") for case in cases if case.find("skipped") is not None]
    print(f"      {len(cases) - len(skipped)} cases ran, {len(skipped)} that contradict the settings were skipped")
    failed += [f"skipped: {name}" for name in skipped if not name.endswith(CONTRADICTED)]
    if len(cases) == len(skipped):
        failed.append("no case ran")
    return failed + ([f"exit code {code}"] if code and not failed else [])


def call(command, directory, environment):
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SUITE_SECONDS_MAX,
    )
    (directory / "output.txt").write_text(done.stdout)
    return done.returncode, done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="only the checklist's cases whose title matches this")
    parser.add_argument("--split", action="store_true", help="one process per role, behind the gateway")
    parser.add_argument("--storage", choices=STORAGES, default="filesystem")
    arguments = parser.parse_args()
    directory = work_directory("conformance")
    passed = failed = skipped = 0
    bucket = bucket_for(arguments.storage, directory)
    server = None
    try:
        layout = Fleet if arguments.split else Hythe
        server = layout(directory, bucket.settings if bucket else None)
        server.user_create(*USER)
        for project in ("conformance", "crossmount"):
            server.project_create(project)
            server.member_add(project, USER[0], MAINTAINER)

        print("checklist")
        passed, failed = checklist.suite.run(server.client(*USER), only=arguments.only)

        official = [
            ("official suite, redesigned", "conformance-redesign", lambda place: redesign(server, place)),
            (
                "official suite of 2023, manifests deleted first",
                "conformance-legacy",
                lambda place: legacy(server, place, "1"),
            ),
            (
                "official suite of 2023, blobs deleted first",
                "conformance-legacy",
                lambda place: legacy(server, place, "0"),
            ),
        ]
        for number, (title, tool, start) in enumerate([] if arguments.only else official):
            if not (TOOLS / tool).exists():
                print(f"skip  {title}: the module proxy does not serve the suite")
                skipped += 1
                continue
            place = directory / f"results-{number}"
            place.mkdir()
            problems = start(place)
            print(f"{'FAIL' if problems else 'ok  '}  {title}")
            for problem in problems:
                print(f"      {problem}")
            passed, failed = passed + (not problems), failed + bool(problems)
        if failed:
            print(server.complaints())
        server.stop()
    finally:
        if server:
            server.kill()
        if bucket:
            bucket.kill()
    if not failed:
        remove(directory)
    closing = f"conformance: {passed} passed, {failed} failed"
    print(f"{closing}, {skipped} skipped" if skipped else closing)
    sys.exit(1 if failed else 0)


main()
