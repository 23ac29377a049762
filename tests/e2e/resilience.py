"""Uploads that are cut off, a server that is killed, and a stop in good order."""

import hashlib
import re
import socket
import time

from support.http import with_query
from support.server import ADMIN, MAINTAINER, Hythe, binary
from support.suite import Suite, check, equal, run
from world import PASSWORD, noise

suite = Suite("resilience")

REPOSITORY = "closed/interrupted"
NEW_PASSWORD = "Tide-Marker-9034"
OCTETS = ("Content-Type", "application/octet-stream")


def start_upload(client):
    """Opens an upload; returns its URL and the token that may write to it."""
    answer = client.registry("POST", f"/v2/{REPOSITORY}/blobs/uploads/")
    equal(answer.status, 202, "the status of the POST")
    token = next(token for (place, kind), token in client.tokens.items() if kind == "write")
    return answer.header("Location"), token


def cut_patch(host, location, token, announced, data):
    """A PATCH that announces more than it sends and then breaks the connection off with a reset."""
    name, port = host.split(":")
    connection = socket.create_connection((name, int(port)))
    head = (
        f"PATCH {location} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {announced}\r\n\r\n"
    )
    connection.sendall(head.encode() + data)
    return connection


def stored(client, location):
    """The number of bytes the registry says it has."""
    answer = client.registry("GET", location)
    equal(answer.status, 204, "the status of the upload")
    last = int(answer.header("Range").split("-")[1])
    return 0 if last == 0 else last + 1


def settled(client, location, wanted):
    """Waits until the registry has taken in what the cut connection left."""
    deadline = time.monotonic() + 15
    while stored(client, location) < wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    return stored(client, location)


def complete(client, location, data):
    """Sends the rest from where the registry stands, finishes, reads the blob back."""
    offset = stored(client, location)
    rest = data[offset:]
    headers = [OCTETS, ("Content-Range", f"{offset}-{len(data) - 1}")]
    answer = client.registry("PATCH", location, rest, headers)
    equal(answer.status, 202, "the status of the PATCH that goes on")
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    answer = client.registry("PUT", with_query(answer.header("Location"), digest=digest), b"", [OCTETS])
    equal(answer.status, 201, "the status of the PUT")
    answer = client.registry("GET", f"/v2/{REPOSITORY}/blobs/{digest}")
    equal(answer.status, 200, "the status of the blob")
    check(answer.body == data, "the blob's bytes differ")


@suite.case("a PATCH cut in the middle: what arrived is kept and the push goes on from there")
def _(world):
    client = world.client("dev")
    data = noise(8 << 20)
    location, token = start_upload(client)
    half = len(data) // 2
    connection = cut_patch(world.host, location, token, len(data), data[:half])
    time.sleep(0.5)
    connection.close()
    got = settled(client, location, half)
    check(0 < got <= half, f"{got} bytes are kept of the {half} that were sent")
    complete(client, location, data)


def private_server(world):
    """A server for one case, since the case kills it."""
    server = Hythe(world.place("server"))
    server.directory.chmod(0o755)
    server.project_create("closed")
    server.user_create("dev", PASSWORD)
    server.member_add("closed", "dev", MAINTAINER)
    return server


@suite.case("the server is killed in the middle of a PATCH: after the restart the push goes on")
def _(world):
    server = private_server(world)
    try:
        client = server.client("dev", PASSWORD)
        data = noise(8 << 20)
        location, token = start_upload(client)
        first = data[: 2 << 20]
        answer = client.registry("PATCH", location, first, [OCTETS, ("Content-Range", f"0-{len(first) - 1}")])
        equal(answer.status, 202, "the status of the first chunk")
        connection = cut_patch(server.host, location, token, len(data) - len(first), data[len(first) : 5 << 20])
        time.sleep(0.5)
        server.process.kill()
        connection.close()
        server.start()
        offset = stored(client, location)
        check(offset >= len(first), f"{offset} bytes are left, {len(first)} were acknowledged")
        complete(client, location, data)
        server.stop()
    finally:
        server.process.kill()


@suite.case("the server is killed right after a push was acknowledged: everything is there")
def _(world):
    server = private_server(world)
    try:
        client = server.client("dev", PASSWORD)
        blobs = {}
        for _ in range(5):
            data = noise(300_000)
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            target = f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest}"
            answer = client.registry("POST", target, data, [OCTETS])
            equal(answer.status, 201, "the status of the push")
            blobs[digest] = data
        server.process.kill()
        server.start()
        for digest, data in blobs.items():
            answer = client.registry("GET", f"/v2/{REPOSITORY}/blobs/{digest}")
            equal(answer.status, 200, "the status of an acknowledged blob")
            check(answer.body == data, "the blob's bytes differ")
        server.stop()
    finally:
        server.process.kill()


@suite.case("a stop in good order ends with 0, and the next start finds everything")
def _(world):
    server = private_server(world)
    try:
        client = server.client("dev", PASSWORD)
        data = noise(10_000)
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        answer = client.registry("POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest}", data, [OCTETS])
        equal(answer.status, 201, "the status of the push")
        server.stop()
        equal(server.process.child.returncode, 0, "the exit code")
        server.start()
        equal(client.registry("GET", f"/v2/{REPOSITORY}/blobs/{digest}").status, 200, "the status after the restart")
        server.stop()
    finally:
        server.process.kill()


@suite.case("hythe admin reset-password beside the running server: the new password works, the old one ends")
def _(world):
    world.server.user_create("forgetful", PASSWORD)
    old_client, new_client = world.server.client("forgetful", PASSWORD), world.server.client("forgetful", NEW_PASSWORD)
    equal(old_client.api("GET", "/users/current").status, 200, "the status with the old password before")
    command = [binary(), "admin", "reset-password", "forgetful", "--data-dir", world.server.data]
    text = run(*command, stdin=NEW_PASSWORD + "\n")
    check(NEW_PASSWORD not in text, f"the password was printed:\n{text}")
    equal(new_client.api("GET", "/users/current").status, 200, "the status with the new password")
    deadline = time.monotonic() + 5
    while old_client.api("GET", "/users/current").status == 200 and time.monotonic() < deadline:
        time.sleep(0.5)
    equal(old_client.api("GET", "/users/current").status, 401, "the status with the old password after")


@suite.case("the server's log holds no password and no token")
def _(world):
    equal(world.client("dev").registry("GET", "/v2/").status, 200, "the status of a request that needs a token")
    text = world.server.process.text()
    for secret in (PASSWORD, NEW_PASSWORD, ADMIN[1], "eyJ", "hyt_", "Authorization", "refresh_token"):
        lines = [line for line in text.splitlines() if secret.lower() in line.lower()]
        equal(lines, [], f"lines with {secret!r}")
    check("/service/token" in text, "the log does not even hold the requests")


@suite.case("the server found nothing wrong with itself in all of this")
def _(world):
    text = world.server.process.text()
    equal([line for line in text.splitlines() if " ERROR " in line], [], "errors in the server's log")
    failed = [line for line in text.splitlines() if re.search(r"hythe_serve::access.* status=5\d\d ", line)]
    equal(failed, [], "requests that were answered with a failure of the server")
