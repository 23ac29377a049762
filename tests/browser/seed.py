"""What the console shows in its tests: three projects, sixty repositories, ten thousand tags of one image, an index for
three platforms, a chart, a signed image with its bill of materials, and texts that try to be more than text.

All of it comes in over `/v2` and the REST API, as clients would bring it.
"""

import gzip
import hashlib
import io
import json
from pathlib import Path
import tarfile
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlencode

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"

PASSWORD = "Quay-Lantern-5528"
DEVELOPER, GUEST = 2, 3

# Each of them sets a mark on the window when it is more than text.
HOSTILE = [
    '"><img src=x onerror="window.hacked=1">',
    "<script>window.hacked=1</script>",
    "'-window.hacked=1-'<svg onload=window.hacked=1>",
    "[click](javascript:window.hacked=1) <a href=javascript:window.hacked=1>here</a>",
]
# Everything that people try to have run in somebody else's browser.
CORPUS = json.loads((Path(__file__).resolve().parent / "corpus.json").read_text())
CHINESE = "后端服务的镜像，每次合并后自动构建。"

TAGS = 10_000
TAGS_PER_REQUEST = 100
REPOSITORIES = 60


class Seed:
    """The names that the tests look for; `world` is what they are told."""

    def __init__(self, server):
        self.server = server
        self.admin = server.admin()
        self.world = {
            "url": server.url,
            "host": server.host,
            "password": PASSWORD,
            "people": {"admin": server.admin().password},
            "tags": TAGS,
            "hostile": HOSTILE,
            "chinese": CHINESE,
        }

    def api(self, method, path, body=None, expect=(200, 201)):
        answer = self.admin.api(method, path, body)
        if answer.status not in expect:
            raise RuntimeError(f"the seed was refused: {answer}")
        return answer

    def registry(self, method, path, body=None, kind=None):
        headers = [self.admin.basic()] + ([("Content-Type", kind)] if kind else [])
        answer = self.admin.send(method, path, body, headers)
        if answer.status not in (201, 202):
            raise RuntimeError(f"the seed was refused: {answer}")
        return answer

    def blob(self, repository, content, kind):
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        self.registry("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", content, "application/octet-stream")
        return {"mediaType": kind, "digest": digest, "size": len(content)}

    def manifest(self, repository, reference, document, kind=MANIFEST, query=""):
        content = json.dumps(document).encode()
        self.registry("PUT", f"/v2/{repository}/manifests/{reference}{query}", content, kind)
        return {"mediaType": kind, "digest": "sha256:" + hashlib.sha256(content).hexdigest(), "size": len(content)}

    def image(self, repository, tag, text="", architecture="amd64", **more):
        """An image with one layer; `more` goes into the manifest. Returns its descriptor."""
        layer = self.blob(repository, archive({"content.txt": text or tag}), LAYER)
        config = {
            "architecture": architecture,
            "os": "linux",
            "created": "2026-11-01T12:00:00Z",
            "config": {"Env": ["PATH=/bin", "API_TOKEN=do-not-show"], "Cmd": ["/bin/app"]},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
            "history": [{"created": "2026-11-01T12:00:00Z", "created_by": f"COPY {HOSTILE[0]} /app"}],
        }
        config = self.blob(repository, json.dumps(config).encode(), CONFIG)
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer], **more}
        return self.manifest(repository, tag or "untagged", document)

    def attached(self, repository, subject, kind, content):
        """Something that belongs to another manifest, found by the referrers of that one."""
        layer = self.blob(repository, content, kind)
        config = self.blob(repository, b"{}", EMPTY)
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": config,
            "layers": [layer],
            "subject": subject,
        }
        digest = "sha256:" + hashlib.sha256(json.dumps(document).encode()).hexdigest()
        return self.manifest(repository, digest, document)

    def run(self):
        self.people_and_projects()
        self.versions()
        self.platforms()
        self.chart()
        self.signed()
        self.many_repositories()
        self.many_tags()
        self.settings_of_projects()
        self.hostile()
        self.tasks()
        return self.world

    def hostile(self):
        repository = "open/hostile"
        config = {
            "architecture": "amd64",
            "os": "linux",
            "author": CORPUS[0],
            "config": {
                "Cmd": CORPUS[:10],
                "Env": [f"TEXT{number}={text}" for number, text in enumerate(CORPUS)],
                "Labels": {f"label {text}": text for text in CORPUS},
            },
            "history": [{"created_by": text, "empty_layer": True} for text in CORPUS],
            "rootfs": {"type": "layers", "diff_ids": []},
        }
        config = self.blob(repository, json.dumps(config).encode(), CONFIG)
        annotations = {f"note {text}": text for text in CORPUS} | {"org.opencontainers.image.source": CORPUS[30]}
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [], "annotations": annotations}
        self.manifest(repository, "1", document)
        self.describe("open", "hostile", "\n\n".join(CORPUS))
        project = self.api("GET", "/projects/open").json()["project_id"]
        for text in CORPUS:
            self.api("POST", "/labels", {"name": text, "description": text, "color": "red", "scope": "p", "project_id": project})
            group = {"group_name": text, "group_type": 3}
            # What has control characters is refused.
            made = self.api("POST", "/usergroups", group, expect=(201, 400))
            if made.status == 201:
                self.api("POST", "/projects/open/members", {"role_id": GUEST, "member_group": group})
        access = [{"resource": "repository", "action": "pull"}]
        for number in range(0, len(CORPUS), 8):
            robot = {
                "name": f"hostile{number}",
                "description": " ".join(CORPUS[number : number + 8])[:1024],
                "duration": 30,
                "level": "project",
                "permissions": [{"kind": "project", "namespace": "open", "access": access}],
            }
            self.api("POST", "/robots", robot)

    def people_and_projects(self):
        for name in ("dana", "gus", "sam"):
            user = {"username": name, "email": f"{name}@example.com", "realname": name.title(), "password": PASSWORD}
            self.api("POST", "/users", {**user, "comment": "<img src=x onerror=hacked=1>"})
            self.world["people"][name] = PASSWORD
        for name, public in (("team-a", False), ("open", True), ("nothing-yet", False)):
            self.api("POST", "/projects", {"project_name": name, "public": public})
        for name, role in (("dana", DEVELOPER), ("gus", GUEST)):
            self.api("POST", "/projects/team-a/members", {"role_id": role, "member_user": {"username": name}})

    def versions(self):
        repository = "team-a/backend/api"
        # Overwritten twice: two manifests that no tag names.
        for build in range(2):
            self.image(repository, "latest", f"build {build}")
        for version in ("1.2.0", "1.9.2", "1.10.0"):
            self.world["digest"] = self.image(repository, version)["digest"]
        self.image(repository, "latest", "last")
        self.image("open/hello", "1.0")
        self.describe("team-a", "backend/api", CHINESE)
        self.describe("open", "hello", "\n\n".join(["# Hello", *HOSTILE]))

    def describe(self, project, repository, text):
        self.api("PUT", f"/projects/{project}/repositories/{quote(quote(repository, safe=''), safe='')}", {"description": text})

    def platforms(self):
        repository = "team-a/backend/index"
        children = []
        for architecture, variant in (("amd64", None), ("arm64", "v8"), ("arm", "v7")):
            child = self.image(repository, architecture, f"for {architecture}", architecture)
            platform = {"os": "linux", "architecture": architecture, **({"variant": variant} if variant else {})}
            children.append({**child, "platform": platform})
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": children}
        self.manifest(repository, "2.0", document, INDEX)

    def chart(self):
        repository = "team-a/charts/web"
        about = {"apiVersion": "v2", "name": "web", "version": "0.1.0", "description": HOSTILE[1]}
        files = {
            "web/Chart.yaml": json.dumps(about),
            "web/README.md": "# Web\n\n" + "\n\n".join(HOSTILE),
            "web/values.yaml": "replicas: 1\n",
        }
        layer = self.blob(repository, archive(files), "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
        config = self.blob(repository, json.dumps(about).encode(), "application/vnd.cncf.helm.config.v1+json")
        self.manifest(repository, "0.1.0", {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]})

    def signed(self):
        repository = "team-a/backend/signed"
        notes = {"org.opencontainers.image.title": HOSTILE[0], "org.opencontainers.image.url": "javascript:window.hacked=1"}
        subject = self.image(repository, "1.0", annotations=notes)
        self.attached(repository, subject, "application/vnd.dev.cosign.artifact.sig.v1+json", b"signature")
        self.attached(repository, subject, "application/spdx+json", json.dumps({"spdxVersion": "SPDX-2.3", "name": HOSTILE[0]}).encode())

    def many_repositories(self):
        # As long as a name can be, and one more for the list.
        longest = "team-a/" + "/".join(["long-component-" + "x" * 40] * 5)
        longest = longest[:255].rstrip("/-")
        self.world["longest"] = longest
        names = [longest] + [f"team-a/services/service-{number:02}" for number in range(REPOSITORIES - 7)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: self.image(name, "1.0"), names))
        self.image(longest, "v" * 128)

    def many_tags(self):
        self.same_image("team-a/many", [f"build-{number:05}" for number in range(TAGS)])
        # To be deleted.
        self.same_image("open/bulk", [f"bulk-{number:02}" for number in range(60)])

    def same_image(self, repository, tags):
        layer = self.blob(repository, archive({"one": "1"}), LAYER)
        config = self.blob(repository, b'{"architecture":"amd64","os":"linux"}', CONFIG)
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
        digest = "sha256:" + hashlib.sha256(json.dumps(document).encode()).hexdigest()
        for start in range(0, len(tags), TAGS_PER_REQUEST):
            query = urlencode([("tag", tag) for tag in tags[start : start + TAGS_PER_REQUEST]])
            self.manifest(repository, digest, document, query=f"?{query}")

    def settings_of_projects(self):
        access = [{"resource": "repository", "action": "pull"}]
        robot = {
            "name": "ci",
            "description": HOSTILE[0],
            "duration": 30,
            "level": "project",
            "permissions": [{"kind": "project", "namespace": "team-a", "access": access}],
        }
        self.api("POST", "/robots", robot)
        self.api("POST", "/robots", {**robot, "name": "builder", "level": "system"})
        rule = {
            "action": "immutable",
            "template": "immutable_template",
            "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "1.2.*"}],
            "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "backend/**"}]},
        }
        self.api("POST", "/projects/team-a/immutabletagrules", rule)
        self.world["rule"] = self.api("GET", "/projects/team-a/immutabletagrules").json()[0]["id"]
        self.admin.api("POST", "/usergroups", {"group_name": "builders", "group_type": 2})
        project = self.api("GET", "/projects/team-a").json()["project_id"]
        for label in (
            {"name": "tested", "description": HOSTILE[0], "color": "#17806D", "scope": "p", "project_id": project},
            {"name": HOSTILE[0], "color": "red", "scope": "p", "project_id": project},
            {"name": "keep/forever", "description": "On site", "color": "#B0241C", "scope": "g"},
            {"name": "w" * 128, "scope": "g"},
        ):
            self.api("POST", "/labels", label)
        for name in ("laptop", HOSTILE[0][:30]):
            self.api("POST", "/users/current/tokens", {"name": name, "scopes": ["pull"]})
        self.api("PUT", "/configurations", {"project_request_enabled": True})
        asked = self.server.client("sam", PASSWORD).api("POST", "/project-requests", {"project_name": "wanted", "reason": HOSTILE[0]})
        self.world["request"] = (asked.header("Location") or "").rsplit("/", 1)[-1]
        self.api("POST", "/projects", {"project_name": "gone", "public": False})
        self.image("gone/away", "1")
        self.world["job"] = self.api("DELETE", "/projects/gone?force=true", expect=(202,)).json()["job_id"]

    def tasks(self):
        """A project that tests may change: what they find is what they left there themselves."""
        self.api("POST", "/projects", {"project_name": "tasks", "public": False})
        image = self.image("tasks/app", "1.0")
        self.tag("tasks/app", image["digest"], "stable")
        self.image("tasks/app", "2.0")
        self.image("tasks/keys", "1.0")

    def tag(self, repository, digest, name):
        path = f"/projects/{repository.replace('/', '/repositories/', 1)}/artifacts/{digest}/tags"
        self.api("POST", path, {"name": name})


def archive(files):
    """A compressed tar archive; the same files give the same bytes."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for name, text in files.items():
            content = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)
