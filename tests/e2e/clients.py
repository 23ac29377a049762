"""Clients that move images: podman, skopeo, buildah, crane; and a Python script and a second registry."""

import json
import textwrap

from support.docker import tar
from support.http import free_port
from support.server import ADMIN, Process
from support.suite import Suite, check, equal, run
from world import CREDENTIALS, PASSWORD, noise, vfs

suite = Suite("clients")

@suite.case("podman login, push, pull, logout; a wrong password is refused")
def _(world):
    home, environment = world.home()
    podman = ["podman", *vfs(home)]
    image = f"{world.host}/closed/podman:1"
    login = [*podman, "login", "--tls-verify=false", "--username", "dev", "--password-stdin", world.host]
    wrong = [part if part != "dev" else "clumsy" for part in login]
    run(*wrong, stdin="wrong", env=environment, expect=None)
    run(*login, stdin=PASSWORD, env=environment)
    archive = home / "root.tar"
    archive.write_bytes(tar({"file": noise(30_000)}))
    run(*podman, "import", archive, image, env=environment)
    identity = run(*podman, "image", "inspect", "--format", "{{.Id}}", image, env=environment)
    run(*podman, "push", "--tls-verify=false", image, env=environment)
    run(*podman, "rmi", image, env=environment)
    run(*podman, "pull", "--tls-verify=false", image, env=environment)
    equal(run(*podman, "image", "inspect", "--format", "{{.Id}}", image, env=environment), identity, "the image's id")
    run(*podman, "logout", world.host, env=environment)
    run(*podman, "rmi", image, env=environment)
    run(*podman, "pull", "--tls-verify=false", image, env=environment, expect=None)


@suite.case("podman push with zstd layers, pulled by podman")
def _(world):
    home, environment = world.home()
    podman = ["podman", *vfs(home)]
    image = f"{world.host}/closed/zstd:1"
    archive = home / "root.tar"
    archive.write_bytes(tar({"file": noise(30_000), "zeros": bytes(200_000)}))
    run(*podman, "import", archive, image, env=environment)
    options = ["--tls-verify=false", "--creds", CREDENTIALS]
    run(*podman, "push", *options, "--format", "oci", "--compression-format", "zstd", image, env=environment)
    raw = run("skopeo", "inspect", "--raw", *options, f"docker://{image}", env=environment)
    check("tar+zstd" in raw, f"no zstd layer in {raw}")
    run(*podman, "rmi", image, env=environment)
    run(*podman, "pull", *options, image, env=environment)


@suite.case("skopeo copies an OCI image and a Docker image in, and out again")
def _(world):
    home, environment = world.home()
    layout = world.oci_layout("plain")
    wanted = {
        "oci": "application/vnd.oci.image.manifest.v1+json",
        "v2s2": "application/vnd.docker.distribution.manifest.v2+json",
    }
    for form, media_type in wanted.items():
        target = f"docker://{world.host}/closed/skopeo:{form}"
        options = ["--dest-tls-verify=false", "--dest-creds", CREDENTIALS]
        run("skopeo", "copy", "--format", form, *options, layout, target, env=environment)
        inspect = ["skopeo", "inspect", "--tls-verify=false", "--creds", CREDENTIALS]
        equal(json.loads(run(*inspect, "--raw", target, env=environment))["mediaType"], media_type, "the media type")
        shown = json.loads(run(*inspect, target, env=environment))
        equal(shown["Digest"], world.digest("closed/skopeo", form), "the digest skopeo shows")
        options = ["--src-tls-verify=false", "--src-creds", CREDENTIALS]
        run("skopeo", "copy", *options, target, f"dir:{home}/{form}", env=environment)
    tags = ["skopeo", "list-tags", "--tls-verify=false", "--creds", CREDENTIALS, f"docker://{world.host}/closed/skopeo"]
    equal(json.loads(run(*tags, env=environment))["Tags"], ["oci", "v2s2"], "the tags")


@suite.case("skopeo sync copies a repository with all its tags into another project")
def _(world):
    home, environment = world.home()
    options = ["--dest-tls-verify=false", "--dest-creds", CREDENTIALS]
    for tag in ("a", "b", "c"):
        layout = world.oci_layout(f"sync-{tag}", 3_000)
        run("skopeo", "copy", *options, layout, f"docker://{world.host}/closed/synced:{tag}", env=environment)
    sync = [
        "skopeo",
        "sync",
        "--src",
        "docker",
        "--dest",
        "docker",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
    ]
    source, target = f"{world.host}/closed/synced", f"{world.host}/other"
    run(*sync, "--src-creds", CREDENTIALS, "--dest-creds", CREDENTIALS, source, target, env=environment)
    for tag in ("a", "b", "c"):
        equal(world.digest("other/synced", tag), world.digest("closed/synced", tag), f"the digest of {tag}")


@suite.case("skopeo delete removes an image")
def _(world):
    _, environment = world.home()
    target = f"docker://{world.host}/closed/doomed:1"
    options = ["--dest-tls-verify=false", "--dest-creds", CREDENTIALS]
    run("skopeo", "copy", *options, world.oci_layout("doomed"), target, env=environment)
    check(world.digest("closed/doomed", "1"), "the image is not there")
    run("skopeo", "delete", "--tls-verify=false", "--creds", CREDENTIALS, target, env=environment)
    equal(world.digest("closed/doomed", "1"), None, "the digest of the deleted image")


@suite.case("crane push, pull, ls, digest, delete")
def _(world):
    home, environment = world.signed_in("crane")
    repository = f"{world.host}/closed/crane"
    world.crane_image(home, environment, f"{repository}:1")
    run("crane", "pull", f"{repository}:1", home / "image.tar", env=environment)
    run("crane", "push", home / "image.tar", f"{repository}:2", env=environment)
    run("crane", "tag", f"{repository}:2", "3", env=environment)
    equal(run("crane", "ls", repository, env=environment).split(), ["1", "2", "3"], "the tags")
    digest = run("crane", "digest", f"{repository}:2", env=environment).strip()
    equal(digest, world.digest("closed/crane", "2"), "the digest crane shows")
    run("crane", "validate", "--remote", f"{repository}:2", env=environment)
    run("crane", "delete", f"{repository}:3", env=environment)
    equal(run("crane", "ls", repository, env=environment).split(), ["1", "2"], "the tags after deleting one")
    equal(world.digest("closed/crane", "2"), digest, "the digest of the tag that stayed")
    run("crane", "delete", f"{repository}@{digest}", env=environment)
    equal(world.digest("closed/crane", "2"), None, "the digest of the deleted manifest")


@suite.case("crane copy mounts the blobs: the registry answers 201")
def _(world):
    home, environment = world.signed_in("crane")
    source, target = f"{world.host}/closed/mount-source:1", f"{world.host}/other/mount-target:1"
    world.crane_image(home, environment, source)
    text = run("crane", "copy", "--verbose", source, target, env=environment)
    answers = [line for line in text.splitlines() if "<--" in line and "mount=" in line]
    check(
        answers and all("<-- 201" in line for line in answers),
        "mounts were not answered with 201:\n" + "\n".join(answers),
    )
    run("crane", "validate", "--remote", target, env=environment)


@suite.case("crane catalog shows an administrator everything, in pages too, and others nothing hidden")
def _(world):
    home, environment = world.signed_in("crane")
    for name in ("one", "two", "three"):
        world.crane_image(home, environment, f"{world.host}/closed/catalog-{name}:1", 500)
    admin_home, admin = world.home()
    run("crane", "auth", "login", "--username", ADMIN[0], "--password-stdin", world.host, stdin=ADMIN[1], env=admin)
    everything = run("crane", "catalog", world.host, env=admin).split()
    check({f"closed/catalog-{name}" for name in ("one", "two", "three")} <= set(everything), f"catalog: {everything}")
    equal(everything, sorted(everything), "the catalog's order")
    paged, target = [], "/v2/_catalog?n=2"
    client = world.server.admin()
    while target:
        answer = client.registry("GET", target)
        equal(answer.status, 200, "the status of a page")
        paged += answer.json()["repositories"]
        link = answer.header("Link")
        target = link.split("<")[1].split(">")[0] if link else None
    equal(paged, everything, "all pages together")
    answer = world.client("stranger").registry("GET", "/v2/_catalog")
    hidden = [name for name in (answer.json().get("repositories") or []) if name.startswith(("closed/", "other/"))]
    equal(hidden, [], "what a stranger sees of private projects")


@suite.case("crane index: two images under one tag")
def _(world):
    home, environment = world.signed_in("crane")
    repository = f"{world.host}/closed/index"
    for tag in ("x", "y"):
        world.crane_image(home, environment, f"{repository}:{tag}")
    appended = ["crane", "index", "append", "--manifest", f"{repository}:x", "--manifest", f"{repository}:y"]
    run(*appended, "--tag", f"{repository}:both", env=environment)
    document = json.loads(run("crane", "manifest", f"{repository}:both", env=environment))
    equal(len(document["manifests"]), 2, "the number of manifests")
    run("crane", "validate", "--remote", f"{repository}:both", env=environment)


@suite.case("a Python script with requests creates a project")
def _(world):
    home, environment = world.home()
    script = home / "create.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import requests
            from requests.auth import HTTPBasicAuth
            answer = requests.post(
                "http://{world.host}/api/v2.0/projects",
                json={{"project_name": "devops", "public": False}},
                auth=HTTPBasicAuth({ADMIN[0]!r}, {ADMIN[1]!r}),
            )
            print(answer.status_code, answer.headers["Location"])
            again = requests.post(
                "http://{world.host}/api/v2.0/projects",
                json={{"project_name": "devops", "public": False}},
                auth=HTTPBasicAuth({ADMIN[0]!r}, {ADMIN[1]!r}),
            )
            print(again.status_code)
            """
        )
    )
    first, second = run("/usr/bin/python3", script, env=environment).splitlines()
    check(first.startswith("201 /api/v2.0/projects/"), f"the first call printed {first}")
    equal(second, "409", "the status of the second call")


@suite.case("another registry (docker-registry 2.8) trusts Hythe's tokens")
def _(world):
    home, environment = world.home()
    bundle = world.server.client().send("GET", "/service/certificates")
    equal(bundle.status, 200, "the status of the certificate bundle")
    check(b"BEGIN CERTIFICATE" in bundle.body, "no certificate in the bundle")
    (home / "bundle.pem").write_bytes(bundle.body)
    port = free_port()
    configuration = f"""
        version: 0.1
        log: {{level: warn}}
        storage: {{filesystem: {{rootdirectory: {home}/data}}}}
        http: {{addr: "127.0.0.1:{port}"}}
        auth:
          token:
            realm: {world.server.url}/service/token
            service: harbor-registry
            issuer: harbor-token-issuer
            rootcertbundle: {home}/bundle.pem
        """
    (home / "registry.yml").write_text(textwrap.dedent(configuration))
    # Every REGISTRY_ variable is a setting of that registry, and REGISTRY_AUTH_FILE is one of podman's.
    clean = {key: value for key, value in environment.items() if not key.startswith("REGISTRY_")}
    other = Process(["docker-registry", "serve", home / "registry.yml"], home / "registry.log", env=clean)
    try:
        peer = f"127.0.0.1:{port}"
        client = world.server.client()
        client.host = peer

        def answers():
            try:
                return client.send("GET", "/v2/").status == 401
            except OSError:
                return False

        other.wait_for(answers, "docker-registry")
        # Not crane: it refuses a token service on 127.0.0.1 unless host and port are the registry's own.
        image = f"{peer}/closed/elsewhere"
        dev = world.docker()
        dev.login(peer, "dev", PASSWORD)
        dev.build(f"{image}:1", [noise(30_000)])
        dev("push", f"{image}:1")
        dev("rmi", f"{image}:1")
        copied = f"docker://{image}:2"
        options = ["--src-tls-verify=false", "--dest-tls-verify=false", "--dest-creds", CREDENTIALS]
        run("skopeo", "copy", *options, "--src-creds", CREDENTIALS, f"docker://{image}:1", copied, env=environment)
        guest = world.docker()
        guest.login(peer, "guest", PASSWORD)
        guest("pull", f"{image}:2")
        guest("tag", f"{image}:2", f"{image}:3")
        check("denied" in guest("push", f"{image}:3", expect=None), "the guest's push was not denied")
        guest("tag", f"{image}:2", f"{peer}/no-such-project/x:1")
        dev("push", f"{peer}/no-such-project/x:1", expect=None)
    finally:
        other.stop()
