"""containerd, as Kubernetes nodes have it: pull, push, mounts, mirrors, broken lines."""

import json

from support.containerd import Containerd
from support.proxy import CuttingProxy
from support.suite import Suite, check, equal, run
from world import CREDENTIALS, OCI_INDEX, PASSWORD, noise

suite = Suite("containerd")

AGENT = "containerd/"


class Node:
    """One containerd for a case. As a context manager: `with Node(world) as node`."""

    def __init__(self, world):
        self.daemon = Containerd(world.place("containerd"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.daemon.stop()

    def pull(self, image, *options, credentials=CREDENTIALS, **how):
        user = ["--user", credentials] if credentials else []
        options = ["--plain-http", "--snapshotter", "native", *user, *options]
        return self.daemon.ctr("images", "pull", *options, image, **how)

    def push(self, image, *options, credentials=CREDENTIALS, **how):
        return self.daemon.ctr("images", "push", "--plain-http", "--user", credentials, *options, image, **how)

    def digest(self, image):
        """What containerd recorded for the image."""
        listed = self.daemon.ctr("images", "ls", f"name=={image}").splitlines()[1:]
        return listed[0].split()[2] if listed else None

    def tag(self, source, target):
        self.daemon.ctr("images", "tag", source, target)

    def remove(self, *images):
        self.daemon.ctr("images", "rm", "--sync", *images)


def push_image(world, repository, size=40_000):
    """Pushes an image with crane; returns its name with the tag `1`."""
    home, environment = world.signed_in("crane")
    target = f"{world.host}/{repository}:1"
    world.crane_image(home, environment, target, size)
    return target


@suite.case("ctr pull with credentials, by tag and by digest; refused without them and with wrong ones")
def _(world):
    image = push_image(world, "closed/node")
    digest = world.digest("closed/node", "1")
    with Node(world) as node:
        for credentials in (None, "clumsy:wrong", f"stranger:{PASSWORD}"):
            text = node.pull(image, credentials=credentials, expect=None)
            check("auth" in text.lower() or "denied" in text.lower(), f"{credentials}: another failure:\n{text}")
            equal(node.digest(image), None, "the digest of an image that was refused")
        dump = node.pull(image, "--http-dump")
        equal(node.digest(image), digest, "the digest containerd recorded")
        check("POST /service/token" in dump, "containerd did not ask for its token by POST")
        check("Content-Encoding" not in dump, "an answer was encoded, so that its bytes do not fit its digest")
        node.remove(image)
        by_digest = f"{world.host}/closed/node@{digest}"
        node.pull(by_digest, credentials=f"guest:{PASSWORD}")
        equal(node.digest(by_digest), digest, "the digest of the image pulled by digest")
        public = push_image(world, "open/node")
        node.pull(public, credentials=None)
        equal(node.digest(public), world.digest("open/node", "1"), "the digest of the public image")


@suite.case("ctr push: each blob in one PUT; a second push sends nothing; a guest is refused")
def _(world):
    layout = world.oci_layout("containerd", 300_000)
    home, environment = world.home()
    run("skopeo", "copy", layout, f"oci-archive:{home}/image.tar:1", env=environment)
    image = f"{world.host}/closed/node-push:1"
    with Node(world) as node:
        node.daemon.ctr("images", "import", "--no-unpack", "--base-name", "imported", home / "image.tar")
        node.tag("imported:1", image)
        node.push(image)
        equal(world.digest("closed/node-push", "1"), node.digest(image), "the digest in the registry")
        puts = [201] * 3  # layer, configuration, manifest
        sent = world.wait_for_requests("closed/node-push", AGENT, lambda all: statuses(all, "PUT") == puts)
        equal(statuses(sent, "PATCH"), [], "the answers to PATCH: containerd sends none")
        equal(statuses(sent, "POST"), [202] * 2, "the answers to the start of an upload")
        again = f"{world.host}/closed/node-push:2"
        node.tag(image, again)
        node.push(again)
        equal(world.tags("closed/node-push"), ["1", "2"], "the tags")
        sent = world.wait_for_requests("closed/node-push", AGENT, lambda all: len(statuses(all, "PUT")) > 3)
        equal(len(statuses(sent, "POST")), 2, "the number of uploads after the second push")
        node.tag(image, f"{world.host}/closed/node-push:3")
        node.push(f"{world.host}/closed/node-push:3", credentials=f"guest:{PASSWORD}", expect=None)
        equal(world.digest("closed/node-push", "3"), None, "the digest of the refused tag")


def statuses(requests, method):
    return [status for made, _, status in requests if made == method]


@suite.case("ctr push to another repository mounts the blobs, and uploads where the source may not be read")
def _(world):
    image = push_image(world, "other/node-origin")
    digest = world.digest("other/node-origin", "1")
    with Node(world) as node:
        node.pull(image)
        mounted = f"{world.host}/closed/node-mounted:1"
        node.tag(image, mounted)
        node.push(mounted)
        equal(world.digest("closed/node-mounted", "1"), digest, "the digest of the image with mounted blobs")
        one_put = lambda all: len(statuses(all, "PUT")) >= 1  # noqa: E731
        sent = world.wait_for_requests("closed/node-mounted", AGENT, one_put)
        equal(statuses(sent, "POST"), [201] * 2, "the answers to the mounts")
        equal(statuses(sent, "PUT"), [201], "the answers to PUT: the manifest alone")

        uploaded = f"{world.host}/closed/node-uploaded:1"
        node.tag(image, uploaded)
        # `deploy` pushes to `closed`, and may not read `other`.
        node.push(uploaded, credentials=f"deploy:{PASSWORD}")
        equal(world.digest("closed/node-uploaded", "1"), digest, "the digest of the image with uploaded blobs")
        sent = world.wait_for_requests("closed/node-uploaded", AGENT, lambda all: len(statuses(all, "PUT")) >= 3)
        check(201 not in statuses(sent, "POST"), f"a blob was mounted from where it may not be read: {sent}")


@suite.case("ctr pulls one platform or all of an index, and pushes the whole index")
def _(world):
    home, environment = world.signed_in("crane")
    repository = f"{world.host}/closed/node-index"
    platforms = ["linux/amd64", "linux/arm64/v8"]
    appended = []
    for number, platform in enumerate(platforms):
        target = f"{repository}:part-{number}"
        world.crane_image(home, environment, target, 5_000)
        run("crane", "mutate", "--set-platform", platform, "--tag", target, target, env=environment)
        appended += ["--manifest", target]
    index = f"{repository}:1"
    run("crane", "index", "append", *appended, "--tag", index, env=environment)
    digest = world.digest("closed/node-index", "1")
    parts = [world.digest("closed/node-index", f"part-{number}") for number in range(2)]
    with Node(world) as node:
        node.pull(index, "--platform", "linux/arm64")
        held = node.daemon.ctr("content", "ls", "--quiet").split()
        check(parts[1] in held and parts[0] not in held, f"not only the platform that was asked for: {held}")
        node.pull(index, "--all-platforms")
        equal(node.digest(index), digest, "the digest of the index")
        target = f"{world.host}/other/node-index:1"
        node.tag(index, target)
        node.push(target)
    equal(world.digest("other/node-index", "1"), digest, "the digest of the pushed index")
    pushed = world.manifest("other/node-index", "1")
    equal([entry["digest"] for entry in pushed["manifests"]], parts, "the entries of the pushed index")
    check(pushed["mediaType"] in (OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"), str(pushed))
    for part in parts:
        equal(world.digest("other/node-index", part), part, "an entry of the pushed index")
    shown = world.artifact("other/node-index", "1")["references"]
    equal([one["platform"]["architecture"] for one in shown], ["amd64", "arm64"], "the platforms by REST")


@suite.case("ctr pulls through a mirror entry, which adds ?ns= to every request")
def _(world):
    push_image(world, "open/mirrored")
    with Node(world) as node:
        hosts = node.daemon.directory / "hosts" / "registry.example"
        hosts.mkdir(parents=True)
        mirror = f'[host."http://{world.host}"]\n  capabilities = ["pull", "resolve"]\n'
        (hosts / "hosts.toml").write_text(f'server = "http://127.0.0.1:9"\n{mirror}')
        image = "registry.example/open/mirrored:1"
        arguments = ["--hosts-dir", hosts.parent, "--snapshotter", "native", "--http-dump", image]
        dump = node.daemon.ctr("images", "pull", *arguments)
        asked = [line for line in dump.splitlines() if "GET /v2/" in line or "HEAD /v2/" in line]
        check(asked and all("ns=registry.example" in line for line in asked), "no ns= in:\n" + "\n".join(asked))
        equal(node.digest(image), world.digest("open/mirrored", "1"), "the digest containerd recorded")


@suite.case("a connection that breaks off in a layer: containerd and docker go on from there with a range")
def _(world):
    size = 3_000_000
    push_image(world, "closed/broken", size)
    digest = world.digest("closed/broken", "1")
    layer = world.manifest("closed/broken", "1")["layers"][0]["digest"]

    def resumed(agent):
        def wanted(requests):
            return ("GET", f"blobs/{layer}", 206) in requests

        world.wait_for_requests("closed/broken", agent, wanted)

    with Node(world) as node, CuttingProxy(world.host, size // 2) as proxy:
        image = f"{proxy.host}/closed/broken:1"
        node.pull(image)
        equal(node.digest(image), digest, "the digest containerd recorded")
        check(proxy.broke, "no connection was broken off")
        resumed(AGENT)
    with CuttingProxy(world.host, size // 2) as proxy:
        docker = world.docker()
        docker.login(proxy.host, "dev", PASSWORD)
        image = f"{proxy.host}/closed/broken:1"
        docker("pull", image)
        config = world.manifest("closed/broken", "1")["config"]["digest"]
        equal(docker.identity(image), config, "the id of the image docker pulled")
        check(proxy.broke, "no connection was broken off")
        resumed("docker/")
