"""A Hythe of one's own: a fresh data directory, free ports, and an end that leaves nothing behind.

Only processes that were started here are ever stopped, by their process id.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support.http import Client, free_port

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ROOT / ".cache" / "tools" / "bin"
# Debian's own clients come before whatever else a machine has under the same names.
PATH = f"{TOOLS}:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin"
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 90

ADMIN = ("admin", "Harbour-Wall-7391")


def binary():
    """The program under test: HYTHE_BIN, else the debug build."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    path = Path(os.environ.get("HYTHE_BIN", target / "debug" / "hythe"))
    if not path.exists():
        sys.exit(f"error: {path} is not built; run: cargo build")
    return path


def work_directory(label):
    """A short path below /tmp which the `postgres` user can pass through."""
    directory = Path(tempfile.mkdtemp(prefix=f"hythe-{label}-", dir="/tmp"))
    directory.chmod(0o755)
    return directory


class Process:
    """A child whose output goes to a file, in a process group of its own."""

    def __init__(self, command, log, env=None, cwd=None):
        self.log = log
        self.log_file = open(log, "ab")
        self.child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=self.log_file,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )

    def text(self):
        return self.log.read_text(errors="replace")

    def alive(self):
        return self.child.poll() is None

    def kill(self):
        """SIGKILL to this one process, as the out-of-memory killer would do it."""
        if self.alive():
            self.child.kill()
        self.child.wait()
        self.log_file.close()

    def stop(self, seconds=STOP_SECONDS_MAX):
        """SIGTERM, and SIGKILL when that takes too long. Returns whether it ended by itself."""
        by_itself = True
        if self.alive():
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                by_itself = False
                self.child.kill()
                self.child.wait()
        self.log_file.close()
        return by_itself

    def wait_for(self, condition, what, seconds=START_SECONDS_MAX):
        """Polls until `condition()` gives something true and returns that. When it never does, the process is stopped."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            if not self.alive():
                raise RuntimeError(f"{what}: ended with exit code {self.child.returncode}\n{self.tail()}")
            time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"{what}: not within {seconds} s\n{self.tail()}")

    def tail(self, lines=40):
        return "\n".join(self.text().splitlines()[-lines:])


class Bucket:
    """An S3 server with one bucket. `settings` make Hythe keep its blobs there."""

    KEYS = ("hythe-test", "hythe-test-secret")

    def __init__(self, program, command, data, port, env=None):
        if not (TOOLS / program).exists():
            sys.exit(f"error: {TOOLS / program} is missing; run: scripts/setup.sh {'test' if program == 's3s-fs' else 'soak'}")
        # A directory is a bucket, for both.
        (data / "blobs").mkdir(parents=True)
        self.process = Process([TOOLS / program, *command], data.parent / "s3.log", env=env)
        self.process.wait_for(lambda: answers(port), program)
        prefix = "HYTHE_STORAGE__"
        self.settings = {
            f"{prefix}DRIVER": "s3",
            f"{prefix}S3__BUCKET": "blobs",
            f"{prefix}S3__ENDPOINT": f"http://127.0.0.1:{port}",
            f"{prefix}S3__ACCESS_KEY": self.KEYS[0],
            f"{prefix}S3__SECRET_KEY": self.KEYS[1],
            f"{prefix}S3__PATH_STYLE": "true",
        }

    def kill(self):
        self.process.kill()


class S3(Bucket):
    """s3s-fs: small, and lenient."""

    def __init__(self, directory):
        port, data = free_port(), directory / "s3"
        keys = ["--access-key", self.KEYS[0], "--secret-key", self.KEYS[1]]
        super().__init__("s3s-fs", ["--host", "127.0.0.1", "--port", port, *keys, data], data, port)


class Minio(Bucket):
    """MinIO: what many run, and strict. It encrypts when asked to, with a key of its own. With `hosted` the bucket is
    named in the host name, blobs.localhost, and all objects are encrypted."""

    def __init__(self, directory, hosted=False):
        port, data = free_port(), directory / "minio"
        env = {
            "PATH": PATH,
            "HOME": str(directory),
            "MINIO_ROOT_USER": self.KEYS[0],
            "MINIO_ROOT_PASSWORD": self.KEYS[1],
            "MINIO_KMS_SECRET_KEY": "hythe:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
            "MINIO_DOMAIN": "localhost",
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_CI_CD": "1",
        }
        command = ["server", "--quiet", "--address", f"127.0.0.1:{port}", data]
        super().__init__("minio", command, data, port, env)
        if hosted:
            prefix = "HYTHE_STORAGE__S3__"
            self.settings |= {
                f"{prefix}PATH_STYLE": "false",
                f"{prefix}ENDPOINT": f"http://localhost:{port}",
                f"{prefix}ENCRYPTION": "aws:kms",
                f"{prefix}KMS_KEY_ID": "hythe",
                # Not every system resolves names below localhost. A proxy is asked for them, which is MinIO itself.
                "http_proxy": f"http://127.0.0.1:{port}",
            }


STORAGES = ("filesystem", "s3", "minio", "minio-hosted")


def bucket_for(storage, directory):
    """The server that this kind of storage needs, if it needs one."""
    kinds = {
        "filesystem": lambda _: None,
        "s3": S3,
        "minio": Minio,
        "minio-hosted": lambda place: Minio(place, hosted=True),
    }
    return kinds[storage](directory)


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Hythe:
    """`hythe serve` on free ports. `host` is `127.0.0.1:PORT`."""

    def __init__(self, directory, settings=None):
        self.directory = directory
        self.settings = settings or {}
        self.data = directory / "data"
        self.log = directory / "hythe.log"
        self.port = 0
        # What commands beside the running server have to be told.
        self.environment = {}
        self.start()

    def start(self):
        # Passed on whole but for our own settings, so that a developer's shell does not change the outcome.
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("HYTHE_", "REGISTRY_"))}
        environment["HYTHE_ADMIN_PASSWORD"] = ADMIN[1]
        environment.update(self.settings)
        already = len(self.log.read_text(errors="replace")) if self.log.exists() else 0
        self.process = Process(
            [
                binary(),
                "serve",
                "--data-dir",
                self.data,
                "--listen",
                f"127.0.0.1:{self.port}",
                "--ops-listen",
                "127.0.0.1:0",
            ],
            self.log,
            env=environment,
        )
        found = self.process.wait_for(
            lambda: re.search(r"listening on http://127\.0\.0\.1:(\d+)", self.process.text()[already:]),
            "hythe serve",
        )
        self.port = int(found.group(1))
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"

    def complaints(self):
        """What the server itself found wrong."""
        lines = [line for line in self.process.text().splitlines() if " INFO " not in line]
        return "\n".join([f"\nWarnings and errors of the server, from {self.log}:", *lines[-40:]])

    def stop(self):
        if not self.process.stop():
            raise RuntimeError(f"hythe serve did not stop within {STOP_SECONDS_MAX} s\n{self.process.tail()}")

    def kill(self):
        """Ends what is left, at once."""
        self.process.kill()

    def client(self, name=None, password=None):
        return Client(self.host, name, password)

    def admin(self):
        return self.client(*ADMIN)

    def user_create(self, name, password):
        """Through the command line, which works beside the running server."""
        done = subprocess.run(
            [binary(), "admin", "create-user", name, "--data-dir", self.data],
            input=password + "\n",
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            env={**os.environ, **self.environment},
        )
        if done.returncode != 0:
            raise RuntimeError(f"admin create-user {name}: exit code {done.returncode}\n{done.stdout}")

    def project_create(self, name, public=False):
        answer = self.admin().api("POST", "/projects", {"project_name": name, "public": public})
        if answer.status != 201:
            raise RuntimeError(f"creating project {name}: {answer}")

    def member_add(self, project, user, role):
        body = {"role_id": role, "member_user": {"username": user}}
        answer = self.admin().api("POST", f"/projects/{project}/members", body)
        if answer.status != 201:
            raise RuntimeError(f"adding {user} to {project}: {answer}")


PROJECT_ADMIN, DEVELOPER, GUEST, MAINTAINER = 1, 2, 3, 4


def remove(directory):
    shutil.rmtree(directory, ignore_errors=True)
