"""A Docker engine of one's own, with its own socket, storage and process ids, and small images made from nothing.

The engine needs root. It gives containers no network and touches no firewall rule; it reaches 127.0.0.1 because it
runs on the host.
"""

import io
import json
import os
import tarfile
from pathlib import Path

from support.server import PATH, Process
from support.suite import CommandFailed, run


class Engine:
    """`dockerd` below `directory`. Its storage driver copies whole layers, so images here must be small; an engine that
    has to run containers has networks and a driver for large ones."""

    def __init__(self, directory, containers=False):
        self.directory = directory
        directory.mkdir()
        self.socket = f"unix://{directory}/sock"
        self.bridge = None
        if Path("/sys/class/net/docker0").exists():
            # Somebody's own Docker is in use here, and an engine without a bridge removes docker0 when it starts.
            self.bridge = f"hythe{os.getpid()}"
            run("ip", "link", "add", self.bridge, "type", "bridge", env=environment(directory))
        command = [
            "dockerd",
            "--data-root",
            directory / "data",
            "--exec-root",
            directory / "exec",
            "--pidfile",
            directory / "pid",
            "--host",
            self.socket,
            "--iptables=false",
            f"--bridge={self.bridge or 'none'}",
            f"--storage-driver={'overlay2' if containers else 'vfs'}",
        ]
        self.process = Process(command, directory / "dockerd.log", env=dict(os.environ, PATH=PATH))
        try:
            self.process.wait_for(self.answers, "dockerd")
        except RuntimeError:
            self.stop()
            raise

    def answers(self):
        try:
            run("docker", "--host", self.socket, "info", env=environment(self.directory), timeout=10)
        except CommandFailed:
            return False
        return True

    def stop(self):
        self.process.stop()
        if self.bridge:
            run("ip", "link", "delete", self.bridge, env=environment(self.directory))


class Docker:
    """The `docker` command as one person uses it: one engine, one set of credentials."""

    def __init__(self, engine, home):
        home.mkdir(exist_ok=True)
        self.engine = engine
        self.home = home

    def __call__(self, *arguments, **how):
        return run("docker", "--host", self.engine.socket, *arguments, env=environment(self.home), **how)

    def login(self, host, name, password, **how):
        return self("login", "--username", name, "--password-stdin", host, stdin=password, **how)

    def identity(self, image):
        """The image's id: the digest of its configuration, the same on every engine."""
        return json.loads(self("image", "inspect", image))[0]["Id"]

    def build(self, image, layers):
        """An image with one layer per item of `layers`, which are the contents of their files."""
        context = self.home / "context"
        context.mkdir(exist_ok=True)
        lines = ["FROM scratch"]
        for number, content in enumerate(layers):
            (context / f"layer-{number}").write_bytes(content)
            lines.append(f"COPY layer-{number} /layer-{number}")
        (context / "Dockerfile").write_text("\n".join(lines) + '\nCMD ["/layer-0"]\n')
        self("build", "--quiet", "--tag", image, context)

    def import_tar(self, image, files):
        """An image of one layer, from a root file system made on the spot."""
        archive = self.home / "root.tar"
        archive.write_bytes(tar(files))
        self("import", archive, image)


def environment(home):
    """Clients find their credentials in `home` only, and Debian's programs come first."""
    return {
        "PATH": PATH,
        "HOME": str(home),
        "DOCKER_CONFIG": str(home / ".docker"),
        "DOCKER_BUILDKIT": "0",
        "REGISTRY_AUTH_FILE": str(home / "auth.json"),
        "XDG_RUNTIME_DIR": str(home),
        "LANG": "C.UTF-8",
    }


def tar(files):
    """A tar archive of {path: bytes}."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
