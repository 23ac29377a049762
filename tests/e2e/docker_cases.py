"""Docker: login, push, pull, refusals and their messages, mounts, indexes."""

import base64
import concurrent.futures
import json
import secrets

from support.server import MAINTAINER
from support.suite import Suite, check, equal, run
from world import CREDENTIALS, noise, vfs

suite = Suite("docker")


def contains(text, *parts):
    for part in parts:
        check(part.lower() in text.lower(), f"{part!r} is not in:\n{text}")


def round_trip(docker, image):
    """Push, forget, pull; the same image must come back."""
    before = docker.identity(image)
    docker("push", image)
    docker("rmi", image)
    docker("pull", image)
    equal(docker.identity(image), before, "the id of the pulled image")


@suite.case("docker login with a wrong password is refused")
def _(world):
    text = world.docker().login(world.host, "careless", "not-the-password", expect=None)
    contains(text, "unauthorized")


@suite.case("docker login for a user who does not exist reads the same")
def _(world):
    docker = world.docker()
    wrong = docker.login(world.host, "careless", "not-the-password", expect=None)
    unknown = docker.login(world.host, "nobody-here", "not-the-password", expect=None)
    equal(unknown, wrong, "the answer for an unknown user")


@suite.case("docker login, push, pull after rmi: image from a Dockerfile with three layers")
def _(world):
    docker = world.docker("dev")
    image = f"{world.host}/closed/app:1.0"
    docker.build(image, [noise(1_000), noise(300_000), noise(6_000_000)])
    round_trip(docker, image)
    repository_digest = json.loads(docker("image", "inspect", image))[0]["RepoDigests"][0].split("@")[1]
    equal(repository_digest, world.digest("closed/app", "1.0"), "the digest Docker shows")


@suite.case("docker push and pull: image from docker import, by tag and by digest")
def _(world):
    docker = world.docker("deploy")
    image = f"{world.host}/closed/imported:1"
    docker.import_tar(image, {"etc/motd": b"hello\n", "data": noise(50_000)})
    before = docker.identity(image)
    round_trip(docker, image)
    by_digest = f"{world.host}/closed/imported@{world.digest('closed/imported', '1')}"
    docker("rmi", image)
    docker("pull", by_digest)
    equal(docker.identity(by_digest), before, "the id of the image pulled by digest")


@suite.case("docker push of a second tag sends no layer again")
def _(world):
    docker = world.docker("dev")
    first, second = f"{world.host}/closed/twice:1", f"{world.host}/closed/twice:2"
    docker.build(first, [noise(2_000), noise(3_000)])
    docker("push", first)
    docker("tag", first, second)
    text = docker("push", second)
    equal(text.count("Layer already exists"), 2, f"layers that were there already, in:\n{text}\nthat number")
    equal(world.digest("closed/twice", "2"), world.digest("closed/twice", "1"), "the digest of the second tag")


@suite.case("docker push to another project mounts the layers")
def _(world):
    docker = world.docker("dev")
    source, target = f"{world.host}/closed/origin:1", f"{world.host}/other/copy:1"
    docker.build(source, [noise(40_000), noise(50_000)])
    docker("push", source)
    docker("tag", source, target)
    text = docker("push", target)
    equal(text.count("Mounted from closed/origin"), 2, f"mounted layers, in:\n{text}\nthat number")
    docker("rmi", source, target)
    docker("pull", target)


@suite.case("docker login is kept as a token, not as the password; docker pull refuses what is no image")
def _(world):
    docker = world.docker("dev")
    kept = json.loads((docker.home / ".docker" / "config.json").read_text())["auths"][world.host]
    check(kept.get("identitytoken"), "docker kept no token")
    name, _, password = base64.b64decode(kept.get("auth", "")).partition(b":")
    equal((name, password), (b"dev", b""), "the name and the password that docker kept")
    home, environment = world.signed_in("oras")
    (home / "config.json").write_text("{}")
    (home / "chart").write_bytes(noise(1_000))
    image = f"{world.host}/closed/no-image:1"
    config = "config.json:application/vnd.cncf.helm.config.v1+json"
    run("oras", "push", "--plain-http", "--config", config, image, "chart", env=environment, cwd=home)
    contains(docker("pull", image, expect=None), "application/vnd.cncf.helm.config.v1+json")


@suite.case("docker pull of a public image without login; push there is refused")
def _(world):
    dev = world.docker("dev")
    image = f"{world.host}/open/tool:1"
    dev.build(image, [noise(20_000)])
    dev("push", image)
    dev("rmi", image)
    nobody = world.docker()
    nobody("pull", image)
    text = nobody("push", image, expect=None)
    check("denied" in text or "unauthorized" in text, f"neither denied nor unauthorized in:\n{text}")


@suite.case("docker logout ends the access to a private image")
def _(world):
    docker = world.docker("dev")
    image = f"{world.host}/closed/secret:1"
    docker.build(image, [noise(10_000)])
    docker("push", image)
    docker("rmi", image)
    docker("logout", world.host)
    text = docker("pull", image, expect=None)
    check("denied" in text or "unauthorized" in text, f"neither denied nor unauthorized in:\n{text}")


@suite.case("docker push by a guest is refused as denied, pull works")
def _(world):
    dev = world.docker("dev")
    image = f"{world.host}/closed/shared:1"
    dev.build(image, [noise(10_000)])
    dev("push", image)
    dev("rmi", image)
    guest = world.docker("guest")
    guest("pull", image)
    guest("tag", image, f"{world.host}/closed/shared:2")
    text = guest("push", f"{world.host}/closed/shared:2", expect=None)
    contains(text, "denied")
    equal(world.digest("closed/shared", "2"), None, "the digest of the refused tag")


@suite.case("docker pull by a stranger: a private image and one that is nowhere read the same")
def _(world):
    dev = world.docker("dev")
    image = f"{world.host}/closed/hidden:1"
    dev.build(image, [noise(10_000)])
    dev("push", image)
    dev("rmi", image)
    stranger = world.docker("stranger")
    hidden = stranger("pull", image, expect=None)
    contains(hidden, "denied")
    nowhere = stranger("pull", f"{world.host}/closed/nothin:1", expect=None)
    equal(nowhere.replace("closed/nothin", "closed/hidden"), hidden, "the answer for an image that is nowhere")


@suite.case("docker push into a project that does not exist is refused")
def _(world):
    docker = world.docker("dev")
    image = f"{world.host}/no-such-project/app:1"
    docker.build(image, [noise(1_000)])
    text = docker("push", image, expect=None)
    check("denied" in text or "unauthorized" in text, f"neither denied nor unauthorized in:\n{text}")


@suite.case("docker push into a full project is denied with a text that says what is full and what to do")
def _(world):
    docker = world.docker("dev")
    name = f"full-{secrets.token_hex(3)}"
    world.server.project_create(name)
    world.server.member_add(name, "dev", MAINTAINER)
    limit = {"hard": {"storage": 50_000}}
    admin = world.server.admin()
    number = admin.api("GET", f"/projects/{name}").json()["project_id"]
    equal(admin.api("PUT", f"/quotas/{number}", limit).status, 200, "the status of the new quota")
    first, second, huge = (f"{world.host}/{name}/app:{tag}" for tag in ("1", "2", "huge"))
    for image, size in ((first, 30_000), (second, 30_000), (huge, 200_000)):
        docker.build(image, [noise(size)])
    docker("push", first)
    text = docker("push", second, expect=None)
    contains(text, f'denied: storage quota of project "{name}" is used up (')
    contains(text, "delete artifacts that are no longer needed")
    # What could never fit is refused while it is sent.
    contains(docker("push", huge, expect=None), "denied: ", "its quota of 48.8 KiB")
    equal(world.tags(f"{name}/app"), ["1"], "the tags")


@suite.case("docker pushes four images with a shared layer at the same time")
def _(world):
    docker = world.docker("dev")
    shared = noise(2_000_000)
    images = [f"{world.host}/closed/parallel-{number}:1" for number in range(4)]
    for image in images:
        docker.build(image, [shared, noise(100_000)])
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda image: docker("push", image), images))
    for image in images:
        before = docker.identity(image)
        docker("rmi", image)
        docker("pull", image)
        equal(docker.identity(image), before, "the id of the pulled image")


@suite.case("a multi-architecture index made by buildah is pulled by docker, podman and skopeo")
def _(world):
    target = f"{world.host}/closed/multi:1"
    world.buildah_index(target)
    home, environment = world.home()
    storage, insecure = vfs(home), ["--tls-verify=false", "--creds", CREDENTIALS]
    raw = json.loads(run("skopeo", "inspect", "--raw", *insecure, f"docker://{target}", env=environment))
    equal(sorted(entry["platform"]["architecture"] for entry in raw["manifests"]), ["amd64", "arm64"], "platforms")

    docker = world.docker("dev")
    docker("pull", target)
    equal(json.loads(docker("image", "inspect", target))[0]["Architecture"], "amd64", "what docker pulled")

    run("podman", *storage, "pull", *insecure, "--arch", "arm64", target, env=environment)
    pulled = json.loads(run("podman", *storage, "image", "inspect", target, env=environment))
    equal(pulled[0]["Architecture"], "arm64", "what podman pulled")


@suite.case("docker manifest create, annotate and push: docker pulls its own platform from the list")
def _(world):
    docker = world.docker("dev")
    repository = f"{world.host}/closed/docker-manifest"
    parts = {architecture: f"{repository}:{architecture}" for architecture in ("amd64", "arm64")}
    for image in parts.values():
        docker.build(image, [noise(3_000)])
        docker("push", image)
    together = f"{repository}:1"
    docker("manifest", "create", "--insecure", together, *parts.values())
    docker("manifest", "annotate", together, parts["arm64"], "--arch", "arm64", "--os", "linux")
    docker("manifest", "push", "--insecure", together)
    held = world.manifest("closed/docker-manifest", "1")
    equal(held["mediaType"], "application/vnd.docker.distribution.manifest.list.v2+json", "the list's type")
    wanted = {architecture: world.digest("closed/docker-manifest", architecture) for architecture in parts}
    platforms = {entry["platform"]["architecture"]: entry["digest"] for entry in held["manifests"]}
    equal(platforms, wanted, "the images by platform")
    shown = world.artifact("closed/docker-manifest", "1")["references"]
    equal(sorted(one["platform"]["architecture"] for one in shown), ["amd64", "arm64"], "the platforms by REST")
    inspected = json.loads(docker("manifest", "inspect", "--insecure", together))
    equal(len(inspected["manifests"]), 2, "the number of images docker shows")
    own = docker.identity(parts["amd64"])
    docker("rmi", *parts.values())
    docker("pull", together)
    equal(docker.identity(together), own, "the id of the image docker pulled")
