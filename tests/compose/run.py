#!/usr/bin/python3
"""docker-compose.yml on a real engine: one container per service behind the gateway, each of them restarted, three
registry nodes, and the profile with everything in one container.

The images are made here, from a Debian root file system (debootstrap) and the program that was built outside: the
second stage of deploy/docker/Dockerfile without its downloads. Needs root. `make compose` runs it.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.docker import Docker, Engine  # noqa: E402
from support.http import Client, free_port  # noqa: E402
from support.server import ADMIN, PATH, ROOT, binary, remove, work_directory  # noqa: E402
from support.suite import Suite, check, equal, run  # noqa: E402

BASE = ROOT / ".cache" / "compose" / "base.tar"
READY_SECONDS_MAX = 180
# What POSTGRES_IMAGE has to do here: the part of the official image's entry point that docker-compose.yml relies on.
POSTGRES_ENTRY = """#!/bin/bash
set -euo pipefail
bin=$(ls -d /usr/lib/postgresql/*/bin)
data=/var/lib/postgresql/data
if [ ! -e "$data/PG_VERSION" ]; then
  chown postgres "$data"
  as() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
  as sh -c 'printf %s "$POSTGRES_PASSWORD" >/tmp/password'
  as "$bin/initdb" -D "$data" -U "$POSTGRES_USER" --auth-local=trust --auth-host=scram-sha-256 -E UTF8 \\
    --locale=C.UTF-8 --pwfile=/tmp/password
  rm /tmp/password
  echo "host all all all scram-sha-256" >>"$data/pg_hba.conf"
  as "$bin/pg_ctl" -D "$data" -w -o "-c listen_addresses='' -c unix_socket_directories=/tmp" start
  export PGHOST=/tmp
  psql --username "$POSTGRES_USER" --dbname postgres --command "create database $POSTGRES_DB"
  for script in /docker-entrypoint-initdb.d/*.sh; do . "$script"; done
  as "$bin/pg_ctl" -D "$data" -m fast -w stop
fi
exec setpriv --reuid=postgres --regid=postgres --clear-groups \\
  "$bin/postgres" -D "$data" -c "listen_addresses=*" -c unix_socket_directories=/tmp
"""

suite = Suite("compose")


class World:
    """An engine, the images, and the containers of docker-compose.yml."""

    def __init__(self, directory):
        self.directory = directory
        self.engine = Engine(directory / "engine", containers=True)
        self.docker = Docker(self.engine, directory / "home")
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.admin = Client(self.host, *ADMIN)
        self.images()

    def images(self):
        base()
        self.docker("import", BASE, "base:local")
        context = self.directory / "context"
        context.mkdir()
        shutil.copy(binary(), context / "hythe")
        subprocess.run(["strip", context / "hythe"], check=True)
        (context / "postgres-entry").write_text(POSTGRES_ENTRY)
        (context / "postgres-entry").chmod(0o755)
        # The second stage of the real file, from the first line that needs no network on.
        stage = (ROOT / "deploy/docker/Dockerfile").read_text().split("\nFROM ${BASE_IMAGE}\n")[1]
        rest = stage[stage.index("# Not root") :]
        user = "RUN useradd --uid 10001 --no-create-home --home-dir /var/lib/hythe --shell /usr/sbin/nologin hythe \\\n"
        user += " && install -d -o hythe -g hythe -m 0700 /var/lib/hythe\n"
        copy = "COPY hythe /usr/local/bin/hythe\n"
        (context / "Dockerfile").write_text(f"FROM base:local\n{user}{copy}{rest}")
        self.docker("build", "--network=none", "--tag", "hythe:local", context, timeout=600)
        entry = 'FROM base:local\nCOPY postgres-entry /\nVOLUME /var/lib/postgresql/data\nENTRYPOINT ["/postgres-entry"]\n'
        (context / "Dockerfile").write_text(entry)
        self.docker("build", "--network=none", "--tag", "postgres:local", context, timeout=600)

    def compose(self, *arguments, **settings):
        environment = {
            "PATH": PATH,
            "HOME": str(self.directory / "home"),
            "DOCKER_HOST": self.engine.socket,
            "COMPOSE_PROJECT_NAME": "hythe",
            "POSTGRES_IMAGE": "postgres:local",
            "HYTHE_PORT": str(self.port),
            "HYTHE_DATABASE_PASSWORD": "Anchor-Chain-4417",
            "HYTHE_APP_PASSWORD": "Anchor-Rope-2208",
            "HYTHE_ADMIN_PASSWORD": ADMIN[1],
            **settings,
        }
        return run(ROOT / "scripts/compose.sh", *arguments, env=environment, timeout=300)

    def ready(self):
        """Waits until every service answers through the gateway."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        state = None
        while time.monotonic() < deadline:
            try:
                health = self.admin.api("GET", "/health")
                base_answer = self.admin.registry("GET", "/v2/")
                token = self.admin.send("GET", "/service/jwks")
                state = (health.status, base_answer.status, token.status)
                if state == (200, 200, 200):
                    return
            except OSError as error:
                state = error
            time.sleep(0.5)
        containers = self.docker("ps", "--all", "--format", "{{.Names}} {{.Status}}")
        logs = "\n".join(self.docker("logs", "--tail", "15", name) for name in self.names())
        raise RuntimeError(f"not ready within {READY_SECONDS_MAX} s: {state}\n{containers}\n{logs}")

    def names(self):
        return self.docker("ps", "--all", "--format", "{{.Names}}").split()

    def round_trip(self, tag):
        image = f"{self.host}/library/app:{tag}"
        self.docker.build(image, [os.urandom(200_000), tag.encode()])
        before = self.docker.identity(image)
        self.docker("push", image)
        self.docker("rmi", image)
        self.docker("pull", image)
        equal(self.docker.identity(image), before, "the id of the pulled image")


def base():
    """A Debian with PostgreSQL, kept from run to run."""
    if BASE.exists():
        return
    BASE.parent.mkdir(parents=True, exist_ok=True)
    root = BASE.parent / "root"
    shutil.rmtree(root, ignore_errors=True)
    print("making a Debian root file system", flush=True)
    packages = "--include=postgresql-15,ca-certificates"
    # A cluster would be made at installation, which needs a locale that a minimal system has not.
    run("debootstrap", "--variant=minbase", packages, "bookworm", root, timeout=900)
    shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
    run("tar", "--numeric-owner", "-C", root, "-cf", BASE.with_suffix(".new"), ".", timeout=300)
    BASE.with_suffix(".new").rename(BASE)
    shutil.rmtree(root)


@suite.case("up: one container per service, docker login, push, pull")
def _(world):
    world.compose("up")
    world.ready()
    services = sorted(name.split("_")[1] if "_" in name else name.split("-")[1] for name in world.names())
    equal(services, ["auth", "console", "gateway", "migrate", "postgres", "projects", "registry", "worker"], "the services")
    world.docker.login(world.host, *ADMIN)
    world.round_trip("first")


@suite.case("only the one that migrates and ends knows the owner's password")
def _(world):
    for name in world.names():
        described = json.loads(world.docker("inspect", name))[0]
        knows = any("Anchor-Chain-4417" in line for line in described["Config"]["Env"])
        equal(knows, "migrate" in name or "postgres" in name, f"{name} knows the owner's password")
        if "migrate" in name:
            state = (described["State"]["Status"], described["State"]["ExitCode"], described["RestartCount"])
            equal(state, ("exited", 0, 0), "how hythe migrate ended")
    (postgres,) = [name for name in world.names() if "postgres" in name]
    psql = ["exec", "--env", "PGPASSWORD=Anchor-Rope-2208", postgres, "psql", "postgres://hythe_app@127.0.0.1/hythe"]
    world.docker(*psql, "--command", "select count(*) from catalog.repositories")
    for statement in ("drop table catalog.tags", "alter table catalog.tags add column x int", "create schema x"):
        refused = world.docker(*psql, "--command", statement, expect=None)
        check("permission denied" in refused or "must be owner" in refused, refused)


@suite.case("every container can be restarted; what was pushed is there")
def _(world):
    for name in sorted(world.names()):
        world.docker("restart", name, timeout=200)
        world.ready()
        world.docker("pull", f"{world.host}/library/app:first")


@suite.case("three registry nodes: pushes and pulls go on, and all of them answer")
def _(world):
    world.compose("up", SCALE="registry=3")
    world.ready()
    nodes = [name for name in world.names() if "registry" in name]
    equal(len(nodes), 3, "the registry nodes")
    for number in range(4):
        world.round_trip(f"scaled-{number}")
    asked = [node for node in nodes if "GET" in world.docker("logs", node)]
    check(len(asked) == 3, f"only {asked} were asked")


@suite.case("down keeps the volumes, and up finds everything again")
def _(world):
    world.compose("down")
    equal(world.names(), [], "the containers")
    world.compose("up")
    world.ready()
    world.docker("pull", f"{world.host}/library/app:scaled-3")
    world.compose("down")


@suite.case("PROFILE=single: everything in one container")
def _(world):
    world.compose("up", PROFILE="single")
    world.ready()
    equal(len(world.names()), 1, "the containers")
    world.docker.login(world.host, *ADMIN)
    world.round_trip("single")
    health = json.loads(world.docker("inspect", world.names()[0]))[0]["State"]["Health"]["Status"]
    check(health in ("healthy", "starting"), health)
    world.compose("down")


def main():
    if os.geteuid() != 0:
        sys.exit("error: these tests start a Docker engine, which needs root")
    missing = [name for name in ("dockerd", "docker", "docker-compose", "debootstrap") if not shutil.which(name, path=PATH)]
    if missing:
        sys.exit(f"error: missing: {' '.join(missing)}; run: scripts/setup.sh compose")
    directory = work_directory("compose")
    (directory / "home").mkdir()
    world = None
    failed = 1
    try:
        world = World(directory)
        passed, failed = suite.run(world)
    finally:
        if world:
            world.engine.stop()
    remove(directory)
    print(f"compose: {passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
