"""What the cases share: one server, one engine, three projects, people with different rights, clients signed in."""

import itertools
import json
import os
import re
import time
from urllib.parse import quote

from support.docker import Docker, environment, tar
from support.server import DEVELOPER, GUEST, MAINTAINER
from support.suite import check, equal, run

PASSWORD = "Quay-Lantern-5528"
CREDENTIALS = f"dev:{PASSWORD}"

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LOG_SECONDS_MAX = 10


class World:
    """Projects: `open` is public; `closed` and `other` are private.

    `dev` pushes and deletes in all three, `deploy` pushes to `closed`, `guest` only pulls from `closed`, `stranger` is
    a member of nothing. `careless` and `clumsy` get their password wrong, so that nobody else is held back for it.
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

    def signed_in(self, *commands, name="dev"):
        """A home in which these of crane, oras, helm, regctl and cosign have the credentials of `name`."""
        home, environment = self.home()
        who = ["--username", name, "--password-stdin", self.host]
        logins = {
            "crane": ["crane", "auth", "login", *who],
            "oras": ["oras", "login", "--plain-http", *who],
            "helm": ["helm", "registry", "login", "--plain-http", *who],
            "regctl": ["regctl", "registry", "login", "--user", name, "--pass-stdin", self.host],
            "cosign": ["cosign", "login", *who],
        }
        if "regctl" in commands:
            run("regctl", "registry", "set", "--tls", "disabled", "--skip-check", self.host, env=environment)
        for command in commands:
            run(*logins[command], stdin=PASSWORD, env=environment)
        return home, environment

    def crane_image(self, home, environment, target, size=20_000):
        """Pushes a new image of one layer; `home` must be signed in for crane."""
        layer = home / "layer.tar"
        layer.write_bytes(tar({"file": noise(size)}))
        run("crane", "append", "--new_layer", layer, "--new_tag", target, env=environment)

    def oci_layout(self, label, size=20_000):
        """An OCI image layout on disk, made by buildah; returns skopeo's name for it, `oci:DIRECTORY:LABEL`."""
        home, environment = self.home()
        storage = vfs(home)
        (home / "data").write_bytes(noise(size))
        (home / "Dockerfile").write_text("FROM scratch\nCOPY data /data\n")
        run("buildah", *storage, "bud", "--isolation", "chroot", "--tag", label, home, env=environment)
        layout = f"oci:{home}/layout:{label}"
        run("buildah", *storage, "push", f"localhost/{label}", layout, env=environment)
        return layout

    def buildah_index(self, target):
        """Pushes an index of two images, for amd64 and for arm64, made by buildah."""
        home, environment = self.home()
        storage = vfs(home)
        (home / "context").mkdir()
        run("buildah", *storage, "manifest", "create", "multi", env=environment)
        for architecture in ("amd64", "arm64"):
            (home / "context" / "which").write_bytes(architecture.encode() + noise(5_000))
            (home / "context" / "Dockerfile").write_text("FROM scratch\nCOPY which /which\n")
            run(
                *["buildah", *storage, "bud", "--isolation", "chroot", "--arch", architecture],
                *["--tag", f"single-{architecture}", home / "context"],
                env=environment,
            )
            run("buildah", *storage, "manifest", "add", "multi", f"localhost/single-{architecture}", env=environment)
        push = ["--all", "--tls-verify=false", "--creds", CREDENTIALS, "multi", f"docker://{target}"]
        run("buildah", *storage, "manifest", "push", *push, env=environment)

    def client(self, name):
        return self.server.client(name, PASSWORD)

    def digest(self, repository, reference, name="dev"):
        """What the registry says the digest is."""
        accept = [("Accept", "*/*")]
        answer = self.client(name).registry("HEAD", f"/v2/{repository}/manifests/{reference}", headers=accept)
        return answer.header("Docker-Content-Digest") if answer.status == 200 else None

    def document(self, path):
        """The JSON below /v2 that `dev` is shown."""
        answer = self.client("dev").registry("GET", f"/v2/{path}")
        equal(answer.status, 200, f"the status of /v2/{path}")
        return answer.json()

    def manifest(self, repository, reference):
        return self.document(f"{repository}/manifests/{reference}")

    def tags(self, repository):
        """All tags, which fit one page here."""
        return self.document(f"{repository}/tags/list")["tags"] or []

    def referrers(self, repository, reference):
        """The descriptors of what is attached to the manifest."""
        digest = reference if ":" in reference else self.digest(repository, reference)
        return self.document(f"{repository}/referrers/{digest}")["manifests"]

    def artifact(self, repository, reference):
        """The artifact as the REST API shows it to `dev`."""
        project, _, rest = repository.partition("/")
        path = f"/projects/{project}/repositories/{quote(quote(rest, safe=''), safe='')}/artifacts/{quote(reference)}"
        answer = self.client("dev").api("GET", path)
        equal(answer.status, 200, f"the status of {path}")
        return answer.json()

    def accessories(self, repository, reference):
        """The kinds of what the REST API shows as attached to the artifact, sorted."""
        return sorted(one["type"] for one in self.artifact(repository, reference)["accessories"] or [])

    def requests(self, repository, agent):
        """[(method, path below the repository, status)] of the finished requests for `repository` by a client whose
        `User-Agent` begins with `agent`, from the server's access log, oldest first."""
        found = []
        for line in self.server.process.text().splitlines():
            fields = dict(re.findall(r'(\w+)="?([^"\s]*)"?', line)) if "hythe_serve::access" in line else {}
            _, name, rest = fields.get("route", "").partition(f"/v2/{repository}/")
            if name and fields["user_agent"].startswith(agent):
                found.append((fields["method"], rest, int(fields["status"])))
        return found

    def wait_for_requests(self, repository, agent, wanted):
        """`requests` once `wanted(requests)` is true: a request is logged after its client has the answer."""
        deadline = time.monotonic() + LOG_SECONDS_MAX
        while not wanted(found := self.requests(repository, agent)):
            check(time.monotonic() < deadline, f"{agent} did not do what was expected, but this:\n{json.dumps(found)}")
            time.sleep(0.1)
        return found


def vfs(home):
    """Options that keep the images of buildah and podman below `home`."""
    return ["--root", home / "storage", "--runroot", home / "run", "--storage-driver", "vfs"]


def noise(size):
    """Bytes that no compression and no earlier test has seen."""
    return os.urandom(size)
