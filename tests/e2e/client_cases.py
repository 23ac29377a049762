"""The client verbs of `hythe`: what each does, in which forms it says so, how it ends, and that it keeps its secrets."""

import asyncio
import contextlib
import http.server
import json
import os
import pty
import secrets
import select
import ssl
import stat
import subprocess
import termios
import threading
import time
from pathlib import Path

from support.http import free_port
from support.server import ADMIN, MAINTAINER, binary
from support.suite import Suite, check, equal, run
from world import OCI_INDEX, PASSWORD

suite = Suite("client")

DONE, FAILED, USAGE, CONFIGURATION, NOT_FOUND, DENIED, CONFLICT, UNREACHABLE = 0, 1, 2, 3, 4, 5, 6, 8
INTERRUPTED = 130

REVOCATION_SECONDS = 5


class Shell:
    """Somebody's machine: a home of its own, and `hythe` with nothing else in the environment."""

    def __init__(self, world):
        self.home = world.place("client")
        self.file = self.home / ".config" / "hythe" / "credentials.json"
        self.environment = {"HOME": str(self.home), "PATH": "/usr/bin:/bin"}
        self.url = world.server.url

    def run(self, *arguments, stdin="", **environment):
        done = subprocess.run(
            [str(binary()), *map(str, arguments)],
            input=stdin,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        for stream in (done.stdout, done.stderr):
            check("\x1b" not in stream, f"an escape sequence without a terminal: {stream!r}")
        return done

    def __call__(self, *arguments, code=DONE, stdin="", **environment):
        """Runs it; returns what it printed, on success the data and else the messages."""
        done = self.run(*arguments, stdin=stdin, **environment)
        line = " ".join(map(str, arguments))
        equal(done.returncode, code, f"hythe {line}\n{done.stdout}{done.stderr}\nthe exit code")
        if code != DONE:
            check(done.stderr.startswith("error: "), f"hythe {line} says {done.stderr!r}")
            return done.stderr
        return done.stdout

    def json(self, *arguments, **more):
        return json.loads(self(*arguments, "--output", "json", **more))

    def login(self, name, password, **more):
        return self("login", self.url, "--username", name, "--password-stdin", stdin=password + "\n", **more)


def contains(text, *parts):
    for part in parts:
        check(part in text, f"{part!r} is not in:\n{text}")


def logged_in(world, name, password):
    shell = Shell(world)
    shell.login(name, password)
    return shell


def manifest(client, repository, tag):
    """Pushes an index of nothing, which is an artifact of its own; returns its digest."""
    body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "annotations": {"n": secrets.token_hex(6)}}
    headers = [("Content-Type", OCI_INDEX)]
    answer = client.registry("PUT", f"/v2/{repository}/manifests/{tag}", json.dumps(body).encode(), headers)
    equal(answer.status, 201, f"{answer}")
    return answer.header("Docker-Content-Digest")


@suite.case("hythe login keeps an access token for its owner only, and replaces the one before")
def _(world):
    shell = Shell(world)
    contains(shell.login("dev", PASSWORD), f"dev is logged in at {world.server.url}")
    equal(stat.S_IMODE(shell.file.stat().st_mode), 0o600, "the mode of the file")
    kept = shell.file.read_text()
    check(PASSWORD not in kept and "hyt_" in kept, "the file does not hold a token instead of the password")
    first = json.loads(kept)["servers"][world.server.url]["token_id"]
    shell.login("dev", PASSWORD)
    second = json.loads(shell.file.read_text())["servers"][world.server.url]["token_id"]
    mine = ["--username", "dev", "--password-stdin"]
    ids = shell("token", "list", *mine, "-o", "name", stdin=PASSWORD).split()
    check(str(first) not in ids and str(second) in ids, f"of the tokens {first} and {second} there are {ids}")

    equal(shell("user", "show", "-o", "name"), "dev\n", "who is logged in")
    done = shell.run("logout")
    equal(done.returncode, DONE, "logout")
    contains(done.stderr, f"hythe token delete {second}")
    check(not shell.file.exists(), "the file is still there")
    shell("token", "delete", second, "--yes", "--server", world.server.url, *mine, stdin=PASSWORD)
    shell("user", "show", code=DENIED)
    shell("logout", world.server.url, code=NOT_FOUND)


@suite.case("hythe logs in with a robot's secret or a token as it is, from a file or the environment")
def _(world):
    admin = logged_in(world, *ADMIN)
    made = admin.json("robot", "create", f"ci-{secrets.token_hex(3)}", "--project", "closed", "--allow", "repository:list")
    robot = Shell(world)
    robot.login(made["name"], made["secret"])
    robot("repo", "list", "closed")
    robot("repo", "list", "other", code=DENIED)

    person = Shell(world)
    as_dev = {"HYTHE_SERVER": world.server.url, "HYTHE_USERNAME": "dev"}
    secret = person(
        *["token", "create", "reading", "--scope", "api:read", "-o", "name"], **as_dev, HYTHE_PASSWORD=PASSWORD
    ).strip()
    file = person.home / "token"
    file.write_text(secret + "\n")
    person("login", person.url, "--username", "dev", "--password-file", file)
    equal(json.loads(person.file.read_text())["servers"][person.url]["secret"], secret, "the kept token")
    equal(person("user", "show", "-o", "name"), "dev\n", "who it is")
    person("project", "create", "not-with-this", code=DENIED)
    equal(Shell(world)("user", "show", "-o", "name", **as_dev, HYTHE_PASSWORD_FILE=str(file)), "dev\n", "who it is")


@suite.case("hythe project: made, listed, changed, shown and deleted, with its members")
def _(world):
    admin = logged_in(world, *ADMIN)
    name = f"verbs-{secrets.token_hex(3)}"
    contains(admin("project", "create", name, "--quota", "5GiB"), f"project {name} was created with id ")
    admin("project", "create", name, code=CONFLICT)
    admin("project", "create", "Not A Name", code=USAGE)
    shown = admin.json("project", "show", name)
    equal(shown["metadata"]["public"], "false", "public")
    contains(admin("project", "show", name), f"name           {name}\n", "quota          5.0 GiB\n")
    admin("project", "update", name, "--public", "true", "--quota", "-1", "--set", "auto_scan=false")
    shown = admin.json("project", "show", name)
    equal((shown["metadata"]["public"], shown["summary"]["quota"]["hard"]["storage"]), ("true", -1), "after the change")
    equal(admin("project", "list", "--name", name, "-o", "name"), f"{name}\n", "the list of names")
    seen = Shell(world)("project", "list", "--server", admin.url, "--all", "-o", "name").split()
    check(name in seen and "closed" not in seen, f"without a login there are {seen}")

    admin("project", "member", "add", name, "dev", "--role", "developer")
    admin("project", "member", "add", name, "dev", "--role", "developer", code=CONFLICT)
    admin("project", "member", "update", name, "dev", "--role", "maintainer")
    members = {row["entity_name"]: row["role_name"] for row in admin.json("project", "member", "list", name)}
    equal(members.get("dev"), "maintainer", f"the role of dev in {members}")
    admin("project", "member", "remove", name, "dev", "--yes")
    admin("project", "member", "remove", name, "dev", "--yes", code=NOT_FOUND)

    manifest(world.server.admin(), f"{name}/app", "1")
    contains(admin("project", "delete", name, code=USAGE), "--yes")
    contains(admin("project", "delete", name, "--dry-run"), "would be removed: 1 repositories")
    admin("project", "delete", name, "--yes", code=CONFLICT)
    admin("repo", "delete", f"{name}/app", "--yes")
    admin("project", "delete", name, "--yes")
    admin("project", "show", name, code=NOT_FOUND)

    manifest_in = f"{name}-2"
    admin("project", "create", manifest_in)
    manifest(world.server.admin(), f"{manifest_in}/app", "1")
    admin("project", "delete", manifest_in, "--force", "--yes")
    deadline = time.monotonic() + 30
    while admin.run("project", "show", manifest_in).returncode != NOT_FOUND:
        check(time.monotonic() < deadline, "the project is still there")
        time.sleep(0.3)


@suite.case("hythe repo, tag, artifact and label: content is shown, moved, restored, labelled, copied and deleted")
def _(world):
    admin = logged_in(world, *ADMIN)
    name = f"content-{secrets.token_hex(3)}"
    admin("project", "create", name)
    client = world.server.admin()
    nested = f"{name}/team/app"
    first = manifest(client, nested, "1.0")
    second = manifest(client, nested, "1.0")

    equal(admin("repo", "list", name, "-o", "name"), f"{nested}\n", "repositories")
    admin("repo", "update", nested, "--description", "the \x1b[31mapp")
    contains(admin("repo", "show", nested), "the \\u{1b}[31mapp")
    equal(admin.json("repo", "show", nested)["description"], "the \x1b[31mapp", "the description as it is")

    equal(admin("tag", "list", nested, "-o", "name"), f"{nested}:1.0\n", "tags of the repository")
    history = admin.json("tag", "history", f"{nested}:1.0")
    equal([row["action"] for row in history], ["move", "create"], "the history")
    contains(admin("tag", "history", f"{nested}:1.0"), first, second)
    admin("tag", "restore", f"{nested}:1.0", "--digest", first, code=CONFLICT)
    admin("tag", "restore", f"{nested}:1.0", "--digest", first, "--overwrite")
    equal(admin.json("artifact", "show", f"{nested}:1.0")["digest"], first, "what the tag names again")
    admin("tag", "create", f"{nested}@{second}", "2.0")
    admin("tag", "create", f"{nested}@{second}", "1.0", code=CONFLICT)
    versions = [row["name"] for row in admin.json("tag", "list", name, "--sort", "-semver")]
    equal(versions, ["2.0", "1.0"], "the newest version first")

    admin("label", "create", "stable", "--project", name, "--color", "#00ff00")
    admin("label", "create", "stable", "--project", name, code=CONFLICT)
    everywhere = f"everywhere-{secrets.token_hex(3)}"
    admin("label", "create", everywhere)
    for label in ("stable", everywhere):
        admin("artifact", "label", f"{nested}:2.0", label)
    shown = admin.json("artifact", "show", f"{nested}:2.0")
    equal(sorted(label["name"] for label in shown["labels"]), sorted(["stable", everywhere]), "labels")
    admin("artifact", "unlabel", f"{nested}:2.0", everywhere)
    contains(admin("artifact", "show", f"{nested}:2.0"), "labels        stable\n", second)
    admin("artifact", "label", f"{nested}:2.0", "unheard-of", code=NOT_FOUND)
    equal(admin("label", "list", "--project", name, "-o", "name"), "stable\n", "the project's labels")
    admin("label", "delete", everywhere, "--yes")

    admin("artifact", "copy", f"{nested}:2.0", f"{name}/copied")
    equal(admin.json("artifact", "show", f"{name}/copied:2.0")["digest"], second, "the copy")
    equal(admin("artifact", "accessories", f"{nested}:2.0", "-o", "json"), "[]\n", "nothing is attached")
    equal(len(admin.json("artifact", "list", nested)), 2, "the number of artifacts")
    equal(len(admin.json("artifact", "list", name)), 3, "the number of artifacts of the project")

    contains(admin("tag", "delete", f"{nested}:2.0", "--dry-run"), second)
    admin("tag", "delete", f"{nested}:2.0", "--yes")
    admin("tag", "delete", f"{nested}:2.0", "--yes", code=NOT_FOUND)
    admin("artifact", "delete", f"{nested}@{second}", "--yes")
    admin("artifact", "show", f"{nested}@{second}", code=NOT_FOUND)
    admin("artifact", "show", nested, code=USAGE)
    admin("tag", "list", f"{name}/", code=USAGE)
    for repository in (nested, f"{name}/copied"):
        admin("repo", "delete", repository, "--yes")
    admin("project", "delete", name, "--yes")


@suite.case("hythe gc: a dry run, its log, a run, the list; not for everybody")
def _(world):
    admin, dev = logged_in(world, *ADMIN), logged_in(world, "dev", PASSWORD)
    planned = admin.json("gc", "run", "--dry-run")
    equal(planned["job_status"], "Success", "the dry run")
    equal(json.loads(planned["job_parameters"])["dry_run"], True, "what it was told")
    contains(admin("gc", "log", planned["id"]), "would remove ")
    removed = admin.json("gc", "run")
    equal(removed["job_status"], "Success", "the run")
    contains(admin("gc", "log", removed["id"]), "sessions: ", "manifests: ", "blobs: ", "removed ")
    newest = [row["id"] for row in admin.json("gc", "list", "--limit", "2")]
    equal(newest, [removed["id"], planned["id"]], "runs, the newest first")
    contains(admin("gc", "show", removed["id"]), "Success")
    contains(admin("gc", "run", "--no-wait"), "was started")
    admin("gc", "stop", removed["id"])
    admin("gc", "log", 999_999_999, code=NOT_FOUND)
    dev("gc", "run", code=DENIED)


@suite.case("hythe robot: made, shown, refreshed, disabled, enabled, changed and deleted")
def _(world):
    admin = logged_in(world, *ADMIN)
    short = f"ci-{secrets.token_hex(3)}"
    made = admin.json("robot", "create", short, "--project", "closed", "--allow", "repository:pull", "--days", "7")
    name = f"robot$closed+{short}"
    equal(made["name"], name, "the whole name")

    def works(secret):
        # A robot has no account of a person; one that is refused does not even hear that.
        return world.server.client(name, secret).api("GET", "/users/current").status == 412

    def ends(secret, what):
        deadline = time.monotonic() + REVOCATION_SECONDS
        while works(secret):
            check(time.monotonic() < deadline, f"{what} after {REVOCATION_SECONDS} s")
            time.sleep(0.1)

    check(works(made["secret"]), "the secret that was printed is refused")
    admin("robot", "create", short, "--project", "closed", "--allow", "repository:pull", code=CONFLICT)
    shown = admin("robot", "show", name)
    contains(shown, f"name             {name}\n", "rights           closed=repository:pull\n")
    check(made["secret"] not in shown, "the secret is shown again")
    check(name in admin("robot", "list", "--project", "closed", "-o", "name").split(), "it is not in the list")

    fresh = admin("robot", "refresh", name, "-o", "name").strip()
    check(fresh != made["secret"] and works(fresh), "the new secret is refused")
    ends(made["secret"], "the old secret still works")
    admin("robot", "disable", name)
    ends(fresh, "a disabled robot works")
    for other in (made["id"], f"robot+closed+{short}"):
        equal(admin.json("robot", "show", other)["disable"], True, f"disabled, by {other}")
    admin("robot", "enable", name)
    check(works(fresh), "an enabled robot does not work")
    admin("robot", "update", name, "--description", "builds", "--allow", "repository:pull", "--allow", "tag:list")
    shown = admin.json("robot", "show", name)
    rights = sorted(f"{one['resource']}:{one['action']}" for one in shown["permissions"][0]["access"])
    equal((shown["description"], rights), ("builds", ["repository:pull", "tag:list"]), "after the change")
    contains(admin("robot", "delete", name, "--dry-run"), "would be removed")
    admin("robot", "delete", name, "--yes")
    admin("robot", "show", name, code=NOT_FOUND)
    admin("robot", "show", made["id"], code=NOT_FOUND)

    whole = admin.json("robot", "create", short, "--allow", "*=repository:pull", "--allow", "/=quota:list")
    equal(whole["name"], f"robot${short}", "a robot of the installation")
    admin("robot", "create", f"{short}-2", "--allow", "repository:pull", code=USAGE)
    admin("robot", "delete", whole["id"], "--yes")


@suite.case("hythe user and token: accounts, passwords, administrators, and what no token may do")
def _(world):
    admin = logged_in(world, *ADMIN)
    name = f"person-{secrets.token_hex(3)}"
    passwords = ["Lantern-Quay-77a", "Harbour-Tide-88b", "Anchor-Light-99c"]
    create = ["user", "create", name, "--email", f"{name}@example.org"]
    contains(admin(*create, stdin=f"{passwords[0]}\n"), f"user {name} was created with id ")
    admin(*create, stdin=f"{passwords[0]}\n", code=CONFLICT)
    admin("user", "create", f"{name}-2", "--email", "a@example.org", stdin="weak\n", code=USAGE)
    admin("user", "update", name, "--realname", "Kim")
    shown = admin.json("user", "show", name)
    equal((shown["realname"], shown["email"]), ("Kim", f"{name}@example.org"), "after the change")
    check(name in admin("user", "list", "--name", name, "-o", "name").split(), "not in the list")

    # With the token of the login alone neither works; there is no terminal to ask on.
    contains(admin("user", "sysadmin", name, "on", code=DENIED), "password")
    own = ["--username", ADMIN[0], "--password-stdin"]
    admin("user", "sysadmin", name, "on", *own, stdin=ADMIN[1])
    equal(admin.json("user", "show", name)["sysadmin_flag"], True, "administrator")
    admin("user", "sysadmin", name, "off", *own, stdin=ADMIN[1])
    admin("user", "password", name, *own, stdin=f"{ADMIN[1]}\n{passwords[1]}\n")

    person = Shell(world)
    contains(person.login(name, passwords[0], code=DENIED), "does not accept")
    person.login(name, passwords[1])
    itself = ["--username", name, "--password-stdin"]
    person("user", "password", *itself, stdin=f"{passwords[1]}\n{passwords[2]}\n")
    # The access token has its own end.
    equal(person("user", "show", "-o", "name"), f"{name}\n", "the login goes on")
    made = person.json("token", "create", "laptop", "--scope", "pull", "--project", "open", *itself, stdin=passwords[2])
    check(made["secret"].startswith("hyt_"), f"{made.keys()}")
    listed = person("token", "list", *itself, stdin=passwords[2])
    contains(listed, "laptop", "pull", "open")
    check(made["secret"] not in listed, "a secret is listed")
    person("token", "delete", made["id"], "--yes", *itself, stdin=passwords[2])
    person("token", "delete", made["id"], "--yes", *itself, stdin=passwords[2], code=NOT_FOUND)
    person("user", "list", code=DENIED)
    equal(admin.json("token", "list", "--user", name, *own, stdin=ADMIN[1])[0]["name"][:11], "hythe login", "its login")

    admin("user", "delete", name, "--yes")
    admin("user", "show", name, code=NOT_FOUND)
    person("user", "show", code=DENIED)


@suite.case("hythe lists come page by page: limits, all rows, JSON as an array with a row on each line")
def _(world):
    admin = logged_in(world, *ADMIN)
    name = f"pages-{secrets.token_hex(3)}"
    admin("project", "create", name)
    client = world.server.admin()
    digest = manifest(client, f"{name}/app", "t0")
    for number in range(1, 104):
        answer = client.api("POST", f"/projects/{name}/repositories/app/artifacts/{digest}/tags", {"name": f"t{number}"})
        equal(answer.status, 201, f"{answer}")
    listing = ["tag", "list", name, "--sort", "natural"]
    done = admin.run(*listing)
    equal((done.returncode, len(done.stdout.splitlines())), (DONE, 101), "lines of the first hundred with a header")
    contains(done.stderr, "100 of 104 are shown; --all shows the rest")
    everything = admin(*listing, "--all", "-o", "json")
    equal([row["name"] for row in json.loads(everything)], [f"t{n}" for n in range(104)], "all tags")
    equal(len(everything.splitlines()), 106, "lines of JSON")
    equal(len(admin(*listing, "--limit", "3", "--no-header").splitlines()), 3, "lines of three")
    equal(len(admin(*listing, "--limit", "103", "-o", "name").split()), 103, "names over two pages")
    check(admin(*listing, "--limit", "2", "-o", "yaml").startswith("- "), "YAML is a list")
    equal(admin("tag", "list", name, "--filter", "name=t7", "-o", "name"), f"{name}/app:t7\n", "a filter")
    admin(*listing, "--limit", "0", code=USAGE)
    admin("tag", "list", name, "--filter", "nonsense", code=USAGE)
    # A reader that has seen enough is no failure.
    line = f"{binary()} tag list {name} --all -o json | head -n 1; exit ${{PIPESTATUS[0]}}"
    piped = subprocess.run(["bash", "-c", line], env=admin.environment, capture_output=True, text=True, timeout=60)
    equal((piped.returncode, piped.stdout, piped.stderr), (DONE, "[\n", ""), "a closed pipe")
    admin("project", "delete", name, "--force", "--yes")


@suite.case("hythe ends with the code that says why, and an error that says what to do")
def _(world):
    nobody, dev = Shell(world), logged_in(world, "dev", PASSWORD)
    guest = logged_in(world, "guest", PASSWORD)
    contains(nobody("project", "list", code=DENIED), "try: hythe login")
    contains(nobody.login("clumsy", "wrong", code=DENIED), "does not accept")
    check(not nobody.file.exists(), "a failed login left a file")
    contains(dev("project", "show", "nowhere-at-all", code=DENIED), "403 FORBIDDEN to request ")
    guest("project", "delete", "closed", "--yes", code=DENIED)
    for arguments in (["project", "frobnicate"], ["repo", "show", "closed"], ["project", "show", ".."], ["nothing"]):
        equal(dev.run(*arguments).returncode, USAGE, f"the code of {arguments}")
    away = f"http://127.0.0.1:{free_port()}"
    contains(dev("project", "list", "--server", away, code=UNREACHABLE), f"{away} cannot be reached")
    contains(dev("project", "list", "--server", "ftp://x", code=USAGE), "http or https")
    contains(dev("project", "list", "--server", "https://a:geheim@x", code=USAGE), "holds no name")
    dev("project", "list", "--ca-file", "/nowhere", code=CONFIGURATION)
    contains(dev.run("projects", "list").stderr, "hythe project")
    dev.file.chmod(0o644)
    contains(dev("project", "list", code=CONFIGURATION), "chmod 600")
    dev.file.chmod(0o600)
    dev.file.write_text('{"servers": "hyt_broken"}')
    check("hyt_" not in dev("project", "list", code=CONFIGURATION), "a message shows what the file holds")


@contextlib.contextmanager
def tls_in_front(host, directory):
    """A TLS relay to `host` with a certificate of its own authority; yields its address and the authority's file."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    ca, ca_key, leaf, leaf_key = (directory / name for name in ("ca.pem", "ca.key", "leaf.pem", "leaf.key"))
    run("openssl", "req", "-x509", *key, "-subj", "/CN=authority", "-keyout", ca_key, "-out", ca)
    names = ["-subj", "/CN=leaf", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    run("openssl", "req", "-x509", *key, *names, "-CA", ca, "-CAkey", ca_key, "-keyout", leaf_key, "-out", leaf)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf, leaf_key)

    async def pump(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def relay(reader, writer):
        inner = await asyncio.open_connection(*host.split(":"))
        await asyncio.gather(pump(reader, inner[1]), pump(inner[0], writer))

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(relay, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", ca
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@suite.case("hythe over TLS trusts the authority it is told, remembers it with the login, and no other")
def _(world):
    shell = Shell(world)
    with tls_in_front(world.server.host, shell.home) as (url, ca):
        login = ["login", url, "--username", "dev", "--password-stdin"]
        contains(shell(*login, code=UNREACHABLE, stdin=PASSWORD), "cannot be reached", "certificate")
        shell(*login, "--ca-file", ca, stdin=PASSWORD)
        equal(shell("user", "show", "-o", "name"), "dev\n", "who is logged in")
        shell("user", "show", "--server", url.replace("https", "http"), code=UNREACHABLE)


class Stranger(http.server.BaseHTTPRequestHandler):
    """A server that is no Hythe, and curious."""

    asked = []
    answers = {}

    def do_GET(self):
        self.asked.append((self.path, self.headers.get("Authorization")))
        status, headers, body = self.answers[self.path.split("?")[0]]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@suite.case("hythe takes its credentials nowhere else, and says so when something else than Hythe answers")
def _(world):
    shell = Shell(world)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        elsewhere = f"http://localhost:{server.server_port}/caught"
        data = {"Content-Type": "application/json"}
        Stranger.answers = {
            "/api/v2.0/projects": (200, {**data, "Link": f'<{elsewhere}>; rel="next"'}, b'[{"name":"a"}]'),
            "/api/v2.0/repositories": (302, {"Location": elsewhere}, b""),
            "/api/v2.0/users/current": (200, {"Content-Type": "text/html"}, b"<html>hello</html>"),
            "/api/v2.0/users/search": (404, data, b'{"errors":[{"code":"X","message":"\\u001b[2Jgone"}]}'),
            "/caught": (200, data, b"[]"),
        }
        asking = ["--server", url, "--username", "dev", "--password-stdin"]
        contains(shell("project", "list", "--all", *asking, stdin=PASSWORD, code=FAILED), "somewhere else")
        contains(shell("repo", "list", *asking, stdin=PASSWORD, code=FAILED), "answered 302")
        contains(shell("user", "show", *asking, stdin=PASSWORD, code=FAILED), "does not answer as a Hythe server")
        contains(shell("user", "show", "kim", *asking, stdin=PASSWORD, code=NOT_FOUND), "\\u{1b}[2Jgone")
        check(all(path.startswith("/api/v2.0/") for path, _ in Stranger.asked), f"it went to {Stranger.asked}")
        server.shutdown()


@suite.case("hythe shows no secret: not in the list of processes, its output or its messages")
def _(world):
    shell = Shell(world)
    seen = set()
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    try:
                        seen.add((entry / "cmdline").read_bytes())
                    except OSError:
                        pass

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        done = shell.run("login", shell.url, "--username", "dev", "--password-stdin", stdin=PASSWORD + "\n")
        token = json.loads(shell.file.read_text())["servers"][shell.url]["secret"]
        outputs = [done.stdout, done.stderr]
        for arguments in (["project", "list"], ["user", "show"], ["project", "show", "nowhere"], ["logout"]):
            done = shell.run(*arguments)
            outputs += [done.stdout, done.stderr]
    finally:
        stop.set()
        watcher.join()
    for secret in (PASSWORD, token):
        check(not any(secret in text for text in outputs), "a secret was printed")
        mine = [line for line in seen if line.startswith(str(binary()).encode())]
        check(mine and not any(secret.encode() in line for line in mine), "a secret stood in the list of processes")


@suite.case("hythe on a terminal asks for the password without showing it, and for a name before it deletes")
def _(world):
    shell = Shell(world)

    def dialogue(arguments, *answers):
        """Runs it on a terminal; `answers` are pairs of what it asks and what is typed. Returns (code, screen)."""
        process, terminal = pty.fork()
        if process == 0:
            os.execve(str(binary()), [str(binary()), *arguments], {**shell.environment, "NO_COLOR": "1"})
        screen, pending = "", list(answers)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    part = os.read(terminal, 4096)
                except OSError:
                    break
                if not part:
                    break
                screen += part.decode()
            if pending and pending[0][0] in screen:
                # The question comes before the echo is off.
                time.sleep(0.3)
                os.write(terminal, pending.pop(0)[1].encode() + b"\n")
        check(termios.tcgetattr(terminal)[3] & termios.ECHO, "the terminal is left without its echo")
        _, status = os.waitpid(process, 0)
        os.close(terminal)
        return os.waitstatus_to_exitcode(status), screen

    code, screen = dialogue(["login", shell.url], ("user name: ", "dev"), ("password of dev", "half\x03"))
    equal(code, INTERRUPTED, f"{screen}\nthe exit code after Ctrl-C")
    check(not shell.file.exists(), "an interrupted login left a file")
    code, screen = dialogue(["login", shell.url], ("user name: ", "dev"), ("password of dev", PASSWORD))
    equal(code, DONE, f"{screen}\nthe exit code")
    check(PASSWORD not in screen and "is logged in" in screen, screen)
    digest = manifest(world.client("dev"), "closed/asked", "1")
    ask = ["artifact", "delete", "closed/asked:1"]
    code, screen = dialogue(ask, ("to confirm: ", "something else"))
    equal(code, FAILED, f"{screen}\nthe exit code")
    contains(screen, digest, "nothing was removed")
    shell("artifact", "show", "closed/asked:1")
    code, screen = dialogue(ask, ("to confirm: ", "closed/asked:1"))
    equal(code, DONE, f"{screen}\nthe exit code")
    shell("artifact", "show", "closed/asked:1", code=NOT_FOUND)
    check("\x1b" not in screen, f"colours in spite of NO_COLOR: {screen!r}")


@suite.case("hythe completions load in bash, and help tells services and client verbs apart")
def _(world):
    shell = Shell(world)
    script = shell.home / "completions"
    script.write_text(shell("completions", "bash"))
    probe = f"source {script}; COMP_WORDS=(hythe tag re); COMP_CWORD=2; _hythe hythe re tag; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", probe], capture_output=True, text=True, timeout=30)
    equal((done.stdout, done.stderr), ("restore\n", ""), "what bash completes")
    for other in ("zsh", "fish", "powershell", "elvish"):
        check("hythe" in shell("completions", other), other)
    contains(shell("--help"), "Services:", "From anywhere, over the API:", "    5 denied, or not logged in")
