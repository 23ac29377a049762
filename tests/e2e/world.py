"""What the cases share: one server, one engine, three projects, and people with different rights."""

import itertools
import os

from support.docker import Docker, environment
from support.server import DEVELOPER, GUEST, MAINTAINER

PASSWORD = "Quay-Lantern-5528"


class World:
    """Projects: `open` is public; `closed` and `other` are private.

    `dev` pushes and deletes in all three, `guest` only pulls from `closed`, `stranger` is a member of nothing.
    `careless` and `clumsy` get their password wrong, so that nobody else is held back for it.
    """

    def __init__(self, directory, server, engine):
        self.directory = directory
        self.server = server
        self.host = server.host
        self.engine = engine
        self.numbers = itertools.count()
        server.project_create("open", public=True)
        server.project_create("closed")
        server.project_create("other")
        for name in ("dev", "deploy", "guest", "stranger", "careless", "clumsy"):
            server.user_create(name, PASSWORD)
        for project in ("open", "closed", "other"):
            server.member_add(project, "dev", MAINTAINER)
        server.member_add("closed", "deploy", DEVELOPER)
        server.member_add("closed", "guest", GUEST)

    def place(self, label="home"):
        """A fresh directory."""
        path = self.directory / f"{label}-{next(self.numbers)}"
        path.mkdir()
        return path

    def docker(self, name=None):
        """The `docker` command of somebody who has signed in as `name`, or not at all."""
        docker = Docker(self.engine, self.place() / "docker")
        if name:
            docker.login(self.host, name, PASSWORD)
        return docker

    def home(self):
        """(directory, environment) of a client whose credentials nobody else sees."""
        path = self.place()
        # buildah and podman refuse to start when REGISTRY_AUTH_FILE names a file that is not there.
        (path / "auth.json").write_text("{}")
        return path, environment(path)

    def client(self, name):
        return self.server.client(name, PASSWORD)

    def digest(self, repository, reference, name="dev"):
        """What the registry says the digest is."""
        accept = [("Accept", "*/*")]
        answer = self.client(name).registry("HEAD", f"/v2/{repository}/manifests/{reference}", headers=accept)
        return answer.header("Docker-Content-Digest") if answer.status == 200 else None


def noise(size):
    """Bytes that no compression and no earlier test has seen."""
    return os.urandom(size)
