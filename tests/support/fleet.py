"""Hythe as an installation that outgrew one process: a PostgreSQL, one process per role, two registry nodes, and the
gateway in front. Has the methods of `support.server.Hythe`, so a suite runs against either.
"""

import os
import re
import subprocess
from pathlib import Path

from support.http import free_port
from support.server import ADMIN, Hythe, Process, binary

ROLES = {"registry-1": "registry", "registry-2": "registry", "auth": "auth", "projects": "projects", "worker": "worker"}


class Postgres:
    """A private server on a free port of 127.0.0.1, with an owner and the account that services use."""

    def __init__(self, directory):
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))[-1]
        data = directory / "postgres"
        data.mkdir()
        # PostgreSQL refuses to run as root.
        self.as_user = []
        if os.geteuid() == 0:
            subprocess.run(["chown", "postgres", data], check=True)
            self.as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self.run(programs / "initdb", "-D", data, "-U", "hythe_owner", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8")
        port = free_port()
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        command = [*self.as_user, programs / "postgres", "-D", data, *options]
        self.process = Process(command, directory / "postgres.log", cwd="/")
        self.process.wait_for(lambda: "ready to accept connections" in self.process.text(), "postgres")
        self.owner_url = f"postgres://hythe_owner@127.0.0.1:{port}/postgres"
        self.url = f"postgres://hythe_app@127.0.0.1:{port}/postgres"
        self.run(programs / "psql", "--dbname", self.owner_url, "--command", "create role hythe_app login")

    def run(self, *command):
        done = subprocess.run(
            [str(part) for part in (*self.as_user, *command)],
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]}: exit code {done.returncode}\n{done.stdout}")


def surroundings():
    """The environment without what would configure Hythe."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("HYTHE_", "REGISTRY_"))}


class Fleet(Hythe):
    """`host` is the gateway's address."""

    def start(self):
        self.postgres = Postgres(self.directory)
        self.processes = {}
        shared = {
            "HYTHE_DATABASE__URL": self.postgres.url,
            "HYTHE_HTTP__TRUSTED_PROXIES": "127.0.0.1",
            "HYTHE_ADMIN_PASSWORD": ADMIN[1],
            **self.settings,
        }
        for name, role in ROLES.items():
            self.launch(name, role, shared)
        # The roles have an account that may not change the schema, and wait for somebody who may.
        self.migrate()
        serving = [name for name in ROLES if name != "worker"]
        addresses = {name: f"http://127.0.0.1:{self.listens(name)}" for name in serving}
        upstreams = {
            "HYTHE_GATEWAY__UPSTREAMS__REGISTRY": f"{addresses['registry-1']},{addresses['registry-2']}",
            "HYTHE_GATEWAY__UPSTREAMS__AUTH": addresses["auth"],
            "HYTHE_GATEWAY__UPSTREAMS__PROJECTS": addresses["projects"],
            # Operations ports differ per process here; any answer of the service itself says that it lives.
            "HYTHE_GATEWAY__HEALTH_PATH": "/",
        }
        self.launch("gateway", "gateway", upstreams)
        self.port = self.listens("gateway")
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        # What a suite kills when it is done with `Hythe`; the rest follows in `stop`.
        self.process = self.processes["gateway"]
        self.environment = shared

    def launch(self, name, role, settings):
        command = [binary(), role, "--data-dir", self.data, "--ops-listen", "127.0.0.1:0"]
        if role != "worker":
            command += ["--listen", "127.0.0.1:0"]
        log = self.directory / f"{name}.log"
        self.processes[name] = Process(command, log, env={**surroundings(), **settings})

    def migrate(self):
        done = subprocess.run(
            [binary(), "migrate", "--app-role", "hythe_app"],
            env={**surroundings(), "HYTHE_DATABASE__URL": self.postgres.owner_url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        if done.returncode != 0:
            raise RuntimeError(f"hythe migrate: exit code {done.returncode}\n{done.stdout}")

    def listens(self, name):
        process = self.processes[name]
        pattern = r"listening on http://127\.0\.0\.1:(\d+)"
        return int(process.wait_for(lambda: re.search(pattern, process.text()), name).group(1))

    def complaints(self):
        """What the processes themselves found wrong."""
        lines = []
        for name, process in self.processes.items():
            wrong = [line for line in process.text().splitlines() if " INFO " not in line]
            lines += [f"\nWarnings and errors of {name}, from {process.log}:", *wrong[-20:]]
        return "\n".join(lines)

    def stop(self):
        slow = [name for name, process in reversed(self.processes.items()) if not process.stop()]
        self.postgres.process.stop()
        if slow:
            raise RuntimeError(f"did not stop in time: {', '.join(slow)}")

    def kill(self):
        for process in [*self.processes.values(), self.postgres.process]:
            process.kill()
