"""Clients that move images: podman, skopeo, buildah, crane; and a Python script and a second registry."""

import concurrent.futures
import json
import tarfile
import textwrap
from pathlib import Path

from support.docker import tar
from support.http import free_port
from support.server import ADMIN, Process
from support.suite import Suite, check, equal, run
from world import CREDENTIALS, OCI_MANIFEST, PASSWORD, noise, vfs

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


@suite.case("podman push as zstd:chunked; the pull takes the index and then the files, in ranges")
def _(world):
    home, environment = world.home()
    # Only the overlay driver pulls in parts, and it does not work everywhere; on a tmpfs it does.
    (home / "storage").mkdir()
    (home / "storage.conf").write_text(
        "[storage]\n"
        f'driver = "overlay"\ngraphroot = "{home}/storage/images"\nrunroot = "{home}/storage/run"\n'
        '[storage.options]\npull_options = {enable_partial_images = "true", use_hard_links = "false"}\n'
    )
    environment["CONTAINERS_STORAGE_CONF"] = str(home / "storage.conf")
    run("mount", "-t", "tmpfs", "-o", "size=64m", "hythe-e2e", home / "storage", env=environment)
    try:
        files = {f"file-{number}": noise(60_000) for number in range(5)}
        archive = home / "root.tar"
        archive.write_bytes(tar(files))
        image = f"{world.host}/closed/chunked:1"
        options = ["--tls-verify=false", "--creds", CREDENTIALS]
        run("podman", "import", archive, image, env=environment)
        push = ["podman", "push", *options, "--format", "oci", "--compression-format", "zstd:chunked", image]
        run(*push, env=environment)
        [layer] = world.manifest("closed/chunked", "1")["layers"]
        position = layer["annotations"]["io.containers.zstd-chunked.manifest-position"]
        equal(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd", "the layer's type")
        check(0 < int(position.split(":")[0]) < layer["size"], f"the layer's index is not in the layer: {position}")
        run("podman", "rmi", image, env=environment)
        run("podman", "pull", *options, image, env=environment)

        def pulled(requests):
            return [status for method, path, status in requests if method == "GET" and layer["digest"] in path]

        # A third answer would be the whole layer, which podman asks for when it did not get the parts as it wanted.
        done = world.wait_for_requests("closed/chunked", "containers/", lambda all: len(pulled(all)) >= 2)
        equal(pulled(done), [206, 206], "the answers to podman's requests for the layer")
        mounted = run("podman", "image", "mount", image, env=environment).strip()
        for name, content in files.items():
            check((Path(mounted) / name).read_bytes() == content, f"{name} differs in the pulled image")
        run("podman", "image", "umount", image, env=environment)
    finally:
        run("umount", "--recursive", home / "storage", env=environment)


@suite.case("podman search finds repositories and tags")
def _(world):
    home, environment = world.signed_in("crane")
    for tag in ("1", "2"):
        world.crane_image(home, environment, f"{world.host}/closed/search-me:{tag}", 500)
    podman = ["podman", *vfs(home)]
    login = ["login", "--tls-verify=false", "--username", ADMIN[0], "--password-stdin", world.host]
    run(*podman, *login, stdin=ADMIN[1], env=environment)
    search = [*podman, "search", "--tls-verify=false"]
    found = run(*search, "--format", "{{.Name}}", f"{world.host}/search-me", env=environment).split()
    equal(found, [f"{world.host}/closed/search-me"], "what podman found")
    listed = run(*search, "--list-tags", f"{world.host}/closed/search-me", env=environment).splitlines()[1:]
    equal([line.split()[1] for line in listed], ["1", "2"], "the tags podman lists")


@suite.case("buildah builds from nothing and on a base from the registry, and pushes as OCI and as Docker's type")
def _(world):
    home, environment = world.home()
    buildah = ["buildah", *vfs(home)]
    insecure = ["--tls-verify=false", "--creds", CREDENTIALS]
    base = f"{world.host}/closed/buildah-base:1"
    (home / "context").mkdir()
    (home / "context" / "data").write_bytes(noise(20_000))
    (home / "context" / "more").write_bytes(noise(20_000))
    build = [*buildah, "bud", "--isolation", "chroot", "--layers", *insecure]
    (home / "context" / "Dockerfile").write_text("FROM scratch\nCOPY data /data\nLABEL made=here\n")
    run(*build, "--tag", base, home / "context", env=environment)
    run(*buildah, "push", *insecure, "--format", "oci", base, f"docker://{base}", env=environment)
    run(*buildah, "rmi", "--all", "--force", env=environment)
    (home / "context" / "Dockerfile").write_text(f"FROM {base}\nCOPY more /more\n")
    on_top = f"{world.host}/closed/buildah-app"
    run(*build, "--tag", "app", home / "context", env=environment)
    types = {"oci": OCI_MANIFEST, "v2s2": "application/vnd.docker.distribution.manifest.v2+json"}
    for form, media_type in types.items():
        target = f"docker://{on_top}:{form}"
        run(*buildah, "push", *insecure, "--format", form, "localhost/app", target, env=environment)
        held = world.manifest("closed/buildah-app", form)
        equal((held["mediaType"], len(held["layers"])), (media_type, 2), "the type and the number of layers")
        shown = world.artifact("closed/buildah-app", form)
        equal(shown["manifest_media_type"], media_type, "the type by REST")
        run(*buildah, "pull", *insecure, f"{on_top}:{form}", env=environment)
        labels = run(*buildah, "inspect", "--type", "image", f"{on_top}:{form}", env=environment)
        check('"made": "here"' in labels, f"the base's label is not in:\n{labels}")


@suite.case("skopeo mounts a layer from a repository it may read, and sends it when it may not")
def _(world):
    _, environment = world.home()

    def copy(layout, repository, name):
        """What skopeo asked for to bring the layout to the repository, as `name`."""
        options = ["--dest-tls-verify=false", "--dest-creds", f"{name}:{PASSWORD}"]
        run("skopeo", "copy", *options, layout, f"docker://{world.host}/{repository}:1", env=environment)
        return world.wait_for_requests(repository, "skopeo/", lambda all: ("PUT", "manifests/1", 201) in all)

    # skopeo remembers where it has seen a blob, on this machine for whoever asks. A configuration it never mounts.
    for target, name, wanted in (
        ("closed/skopeo-mount", "dev", [("POST", 201), ("POST", 202)]),
        # `deploy` may not read `other`: skopeo looks for the layer there, and is refused.
        ("closed/skopeo-upload", "deploy", [("POST", 202), ("POST", 202)]),
    ):
        source = f"other/origin-of-{target.partition('/')[2]}"
        layout = world.oci_layout("mounting")
        copy(layout, source, "dev")
        done = [(method, status) for method, _, status in copy(layout, target, name) if method == "POST"]
        equal(done, wanted, f"what skopeo did for {target}")
        equal(world.digest(target, "1"), world.digest(source, "1"), f"the digest in {target}")


@suite.case("skopeo copies an index whole, and an index without its images")
def _(world):
    _, environment = world.home()
    index = f"{world.host}/closed/skopeo-index:both"
    world.buildah_index(index)
    digest = world.digest("closed/skopeo-index", "both")
    copy = ["skopeo", "copy", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"]
    copy += ["--src-creds", CREDENTIALS, "--dest-creds", CREDENTIALS]
    for name, choice in (("whole", "all"), ("sparse", "index-only")):
        target = f"docker://{world.host}/other/skopeo-{name}:1"
        run(*copy, "--multi-arch", choice, f"docker://{index}", target, env=environment)
        equal(world.digest(f"other/skopeo-{name}", "1"), digest, f"the digest of the {name} copy")
    for entry in world.manifest("closed/skopeo-index", "both")["manifests"]:
        child = entry["digest"]
        equal(world.digest("other/skopeo-whole", child), child, "an image of the whole copy")
        equal(world.digest("other/skopeo-sparse", child), None, "an image of the copy without images")


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


@suite.case("crane mutate, append to a base, export, copy of all tags")
def _(world):
    home, environment = world.signed_in("crane")
    base = f"{world.host}/closed/crane-base:1"
    world.crane_image(home, environment, base)
    changed = f"{world.host}/closed/crane-changed"
    options = ["--label", "made=here", "--env", "WHERE=quay", "--entrypoint", "/file", "--annotation", "note=mine"]
    run("crane", "mutate", *options, "--tag", f"{changed}:1", base, env=environment)
    held = json.loads(run("crane", "config", f"{changed}:1", env=environment))["config"]
    changes = (held["Labels"], held["Env"], held["Entrypoint"])
    equal(changes, ({"made": "here"}, ["WHERE=quay"], ["/file"]), "the configuration")
    equal(world.manifest("closed/crane-changed", "1")["annotations"], {"note": "mine"}, "the annotations")
    content = noise(4_000)
    (home / "top.tar").write_bytes(tar({"top": content}))
    append = ["crane", "append", "--base", f"{changed}:1", "--new_layer", home / "top.tar"]
    run(*append, "--new_tag", f"{changed}:2", env=environment)
    equal(len(world.manifest("closed/crane-changed", "2")["layers"]), 2, "the number of layers")
    run("crane", "export", f"{changed}:2", home / "all.tar", env=environment)
    with tarfile.open(home / "all.tar") as archive:
        check(archive.extractfile("top").read() == content, "the appended file differs")
        check("file" in archive.getnames(), "the base's file is missing")
    run("crane", "copy", "--all-tags", changed, f"{world.host}/other/crane-changed", env=environment)
    equal(world.tags("other/crane-changed"), ["1", "2"], "the tags of the copy")
    for tag in ("1", "2"):
        digest = world.digest("closed/crane-changed", tag)
        equal(world.digest("other/crane-changed", tag), digest, f"the digest of the copy of {tag}")
    run("crane", "validate", "--remote", f"{world.host}/other/crane-changed:2", env=environment)


@suite.case("crane on an index of two platforms: digest of one, filter, copy, delete")
def _(world):
    home, environment = world.signed_in("crane")
    repository = f"{world.host}/closed/crane-platforms"
    digests = {}
    for architecture in ("amd64", "arm64"):
        target = f"{repository}:{architecture}"
        world.crane_image(home, environment, target, 2_000)
        run("crane", "mutate", "--set-platform", f"linux/{architecture}", "--tag", target, target, env=environment)
        digests[architecture] = world.digest("closed/crane-platforms", architecture)
    parts = [f"--manifest={repository}:{architecture}" for architecture in digests]
    run("crane", "index", "append", *parts, "--tag", f"{repository}:both", env=environment)
    one = run("crane", "digest", "--platform", "linux/arm64", f"{repository}:both", env=environment).strip()
    equal(one, digests["arm64"], "the digest of one platform")
    filtered = ["crane", "index", "filter", f"{repository}:both", "--platform", "linux/amd64"]
    run(*filtered, "--tag", f"{repository}:filtered", env=environment)
    held = world.manifest("closed/crane-platforms", "filtered")["manifests"]
    equal([entry["digest"] for entry in held], [digests["amd64"]], "the entries of the filtered index")
    run("crane", "copy", f"{repository}:both", f"{world.host}/other/crane-platforms:both", env=environment)
    for digest in digests.values():
        equal(world.digest("other/crane-platforms", digest), digest, "an image of the copied index")
    whole = world.digest("closed/crane-platforms", "both")
    run("crane", "delete", f"{repository}@{whole}", env=environment)
    equal(world.tags("closed/crane-platforms"), ["amd64", "arm64", "filtered"], "the tags without the deleted index")
    run("crane", "validate", "--remote", f"{repository}:arm64", env=environment)


@suite.case("four clients push the same image at the same time: crane, oras, regctl and skopeo")
def _(world):
    home, environment = world.signed_in("crane", "oras", "regctl")
    name = world.oci_layout("together", 4_000_000).removeprefix("oci:")
    layout = name.removesuffix(":together")
    # Under one name for all: crane takes a directory, and regctl its own scheme.
    target = f"{world.host}/closed/together"
    oras = ["oras", "cp", "--from-oci-layout", "--to-plain-http", name]
    skopeo = ["skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", CREDENTIALS, f"oci:{name}"]
    commands = [
        [*oras, f"{target}:oras"],
        [*skopeo, f"docker://{target}:skopeo"],
        ["crane", "push", layout, f"{target}:crane"],
        ["regctl", "image", "copy", f"ocidir://{name}", f"{target}:regctl"],
    ]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda command: run(*command, env=environment), commands))
    equal(world.tags("closed/together"), ["crane", "oras", "regctl", "skopeo"], "the tags")
    index = json.loads((Path(layout) / "index.json").read_text())
    for tag in ("crane", "oras", "regctl", "skopeo"):
        equal(world.digest("closed/together", tag), index["manifests"][0]["digest"], f"the digest of {tag}")
        run("crane", "validate", "--remote", f"{target}:{tag}", env=environment)


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
