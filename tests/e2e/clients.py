"""The other clients: podman, skopeo, buildah, crane, oras, regctl, helm, and a Python script."""

import json
import textwrap

from support.docker import tar
from support.http import free_port
from support.server import ADMIN, Process
from support.suite import Suite, check, equal, run
from world import PASSWORD, noise

suite = Suite("clients")

CREDENTIALS = f"dev:{PASSWORD}"


def oci_layout(world, label, size=20_000):
    """An OCI image layout on disk, made by buildah; returns skopeo's name for it."""
    home, environment = world.home()
    storage = ["--root", home / "storage", "--runroot", home / "run", "--storage-driver", "vfs"]
    (home / "data").write_bytes(noise(size))
    (home / "Dockerfile").write_text("FROM scratch\nCOPY data /data\n")
    run("buildah", *storage, "bud", "--isolation", "chroot", "--tag", label, home, env=environment)
    layout = f"oci:{home}/layout:{label}"
    run("buildah", *storage, "push", f"localhost/{label}", layout, env=environment)
    return layout


@suite.case("podman login, push, pull, logout; a wrong password is refused")
def _(world):
    home, environment = world.home()
    podman = ["podman", "--root", home / "storage", "--runroot", home / "run", "--storage-driver", "vfs"]
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
    podman = ["podman", "--root", home / "storage", "--runroot", home / "run", "--storage-driver", "vfs"]
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
    layout = oci_layout(world, "plain")
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
        layout = oci_layout(world, f"sync-{tag}", 3_000)
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
    run("skopeo", "copy", *options, oci_layout(world, "doomed"), target, env=environment)
    check(world.digest("closed/doomed", "1"), "the image is not there")
    run("skopeo", "delete", "--tls-verify=false", "--creds", CREDENTIALS, target, env=environment)
    equal(world.digest("closed/doomed", "1"), None, "the digest of the deleted image")


def signed_in(world, command):
    """A home in which crane, oras, helm or regctl has the credentials of `dev`."""
    home, environment = world.home()
    logins = {
        "crane": ["crane", "auth", "login", "--username", "dev", "--password-stdin", world.host],
        "oras": ["oras", "login", "--plain-http", "--username", "dev", "--password-stdin", world.host],
        "helm": ["helm", "registry", "login", "--plain-http", "--username", "dev", "--password-stdin", world.host],
    }
    run(*logins[command], stdin=PASSWORD, env=environment)
    return home, environment


def crane_image(world, home, environment, target, size=20_000):
    """Pushes a new image of one layer."""
    layer = home / "layer.tar"
    layer.write_bytes(tar({"file": noise(size)}))
    run("crane", "append", "--new_layer", layer, "--new_tag", target, env=environment)


@suite.case("crane push, pull, ls, digest, delete")
def _(world):
    home, environment = signed_in(world, "crane")
    repository = f"{world.host}/closed/crane"
    crane_image(world, home, environment, f"{repository}:1")
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
    home, environment = signed_in(world, "crane")
    source, target = f"{world.host}/closed/mount-source:1", f"{world.host}/other/mount-target:1"
    crane_image(world, home, environment, source)
    text = run("crane", "copy", "--verbose", source, target, env=environment)
    answers = [line for line in text.splitlines() if "<--" in line and "mount=" in line]
    check(
        answers and all("<-- 201" in line for line in answers),
        "mounts were not answered with 201:\n" + "\n".join(answers),
    )
    run("crane", "validate", "--remote", target, env=environment)


@suite.case("crane catalog shows an administrator everything, in pages too, and others nothing hidden")
def _(world):
    home, environment = signed_in(world, "crane")
    for name in ("one", "two", "three"):
        crane_image(world, home, environment, f"{world.host}/closed/catalog-{name}:1", 500)
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
    home, environment = signed_in(world, "crane")
    repository = f"{world.host}/closed/index"
    for tag in ("x", "y"):
        crane_image(world, home, environment, f"{repository}:{tag}")
    appended = ["crane", "index", "append", "--manifest", f"{repository}:x", "--manifest", f"{repository}:y"]
    run(*appended, "--tag", f"{repository}:both", env=environment)
    document = json.loads(run("crane", "manifest", f"{repository}:both", env=environment))
    equal(len(document["manifests"]), 2, "the number of manifests")
    run("crane", "validate", "--remote", f"{repository}:both", env=environment)


@suite.case("oras push, attach, discover, pull")
def _(world):
    home, environment = signed_in(world, "oras")
    target = f"{world.host}/closed/artifact:1"
    content = noise(40_000)
    (home / "model.bin").write_bytes(content)
    (home / "sbom.json").write_text('{"components":[]}')
    oras = {"env": environment, "cwd": home}
    run("oras", "push", "--plain-http", "--artifact-type", "application/vnd.example.model", target, "model.bin", **oras)
    run(
        "oras", "attach", "--plain-http", "--artifact-type", "application/vnd.example.sbom", target, "sbom.json", **oras
    )
    shown = json.loads(run("oras", "discover", "--plain-http", "--format", "json", target, **oras))
    found = shown.get("manifests") or shown.get("referrers")
    equal([entry["artifactType"] for entry in found], ["application/vnd.example.sbom"], "what oras discovered")
    tags = run("oras", "repo", "tags", "--plain-http", f"{world.host}/closed/artifact", **oras).split()
    equal(tags, ["1"], "the tags: a fallback tag would mean that oras did not find the referrers endpoint")
    run("oras", "pull", "--plain-http", "--output", home / "out", target, **oras)
    check((home / "out" / "model.bin").read_bytes() == content, "the pulled file differs")


@suite.case("regctl copy with referrers, tag list and tag delete")
def _(world):
    home, environment = world.home()
    run("regctl", "registry", "set", "--tls", "disabled", "--skip-check", world.host, env=environment)
    login = ["regctl", "registry", "login", "--user", "dev", "--pass-stdin", world.host]
    run(*login, stdin=PASSWORD, env=environment)
    oras_home, oras = signed_in(world, "oras")
    (oras_home / "note").write_text("signed")
    crane_home, crane = signed_in(world, "crane")
    source, target = f"{world.host}/closed/regctl:1", f"{world.host}/other/regctl:1"
    crane_image(world, crane_home, crane, source)
    attach = ["oras", "attach", "--plain-http", "--artifact-type", "application/vnd.example.note", source, "note"]
    run(*attach, env=oras, cwd=oras_home)
    run("regctl", "image", "copy", "--referrers", source, target, env=environment)
    equal(world.digest("other/regctl", "1"), world.digest("closed/regctl", "1"), "the digest of the copy")
    found = json.loads(run("regctl", "artifact", "list", "--format", "{{ jsonPretty . }}", target, env=environment))
    kinds = [entry["artifactType"] for entry in found.get("descriptors") or found["manifest"]["manifests"]]
    equal(kinds, ["application/vnd.example.note"], "the referrers of the copy")
    run("regctl", "image", "copy", target, f"{world.host}/other/regctl:2", env=environment)
    run("regctl", "tag", "delete", f"{world.host}/other/regctl:1", env=environment)
    left = run("regctl", "tag", "ls", f"{world.host}/other/regctl", env=environment).split()
    equal(left, ["2"], "the tags after deleting one of two with the same digest")


@suite.case("helm push and pull, version with a plus sign")
def _(world):
    home, environment = signed_in(world, "helm")
    chart = home / "demo"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: demo\nversion: 0.1.0+build.7\n")
    (chart / "templates" / "map.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: demo}\n")
    run("helm", "package", chart, "--destination", home, env=environment)
    package = home / "demo-0.1.0+build.7.tgz"
    run("helm", "push", "--plain-http", package, f"oci://{world.host}/closed/charts", env=environment)
    pull = ["helm", "pull", "--plain-http", f"oci://{world.host}/closed/charts/demo", "--version", "0.1.0+build.7"]
    (home / "out").mkdir()
    run(*pull, "--destination", home / "out", env=environment)
    check((home / "out" / package.name).read_bytes() == package.read_bytes(), "the pulled chart differs")
    ranged = ["helm", "show", "chart", "--plain-http", f"oci://{world.host}/closed/charts/demo", "--version", ">=0.0.1"]
    check("0.1.0+build.7" in run(*ranged, env=environment), "the range did not find the chart")


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
