"""Clients for more than images: oras, helm, regctl."""

import json

from support.suite import Suite, check, equal, run
from world import OCI_INDEX, noise

suite = Suite("artifacts")

EMPTY_CONFIG = "application/vnd.oci.empty.v1+json"
CHART_CONFIG = "application/vnd.cncf.helm.config.v1+json"
CHART_CONTENT = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
CHART_PROVENANCE = "application/vnd.cncf.helm.chart.provenance.v1.prov"


def oras_in(home, environment):
    """The `oras` command over plain HTTP, with `home` as its working directory."""

    def oras(command, *arguments, **how):
        return run("oras", *command.split(), "--plain-http", *arguments, env=environment, cwd=home, **how)

    return oras


@suite.case("oras push with an artifact type, attach, discover as tree and as JSON, pull")
def _(world):
    home, environment = world.signed_in("oras")
    oras = oras_in(home, environment)
    target = f"{world.host}/closed/artifact:1"
    content = noise(40_000)
    (home / "model.bin").write_bytes(content)
    (home / "sbom.json").write_text('{"components":[]}')
    oras("push", "--artifact-type", "application/vnd.example.model", target, "model.bin")
    note = "org.example.note=made by a test"
    oras("attach", "--artifact-type", "application/vnd.example.sbom", "--annotation", note, target, "sbom.json")

    held = world.manifest("closed/artifact", "1")
    equal(held["artifactType"], "application/vnd.example.model", "the artifact type in the registry")
    equal(held["config"]["mediaType"], EMPTY_CONFIG, "the configuration's type")
    equal(world.artifact("closed/artifact", "1")["artifact_type"], "application/vnd.example.model", "the type by REST")
    equal(world.accessories("closed/artifact", "1"), ["subject.accessory"], "what the REST API shows as attached")
    [attached] = world.referrers("closed/artifact", "1")
    equal(attached["artifactType"], "application/vnd.example.sbom", "the type of what is attached")
    equal(attached["annotations"]["org.example.note"], "made by a test", "the annotation in the list")

    shown = json.loads(oras("discover", "--format", "json", target))
    found = shown.get("manifests") or shown.get("referrers")
    equal([entry["digest"] for entry in found], [attached["digest"]], "what oras discovered")
    tree = oras("discover", "--format", "tree", target)
    check("application/vnd.example.sbom" in tree and attached["digest"] in tree, f"not in the tree:\n{tree}")
    other = oras("discover", "--format", "json", "--artifact-type", "application/vnd.example.other", target)
    check(attached["digest"] not in other, f"a filter for another type lets it through:\n{other}")
    tags = oras("repo tags", f"{world.host}/closed/artifact").split()
    equal(tags, ["1"], "the tags: a fallback tag would mean that oras did not find the referrers endpoint")
    oras("pull", "--output", home / "out", target)
    check((home / "out" / "model.bin").read_bytes() == content, "the pulled file differs")


@suite.case("oras copy -r takes what is attached along, at every depth, to another repository and to disk and back")
def _(world):
    home, environment = world.signed_in("oras")
    oras = oras_in(home, environment)
    source, target = f"{world.host}/closed/deep", f"{world.host}/other/deep"
    files = {name: noise(9_000) for name in ("data", "sbom", "signature")}
    for name, content in files.items():
        (home / name).write_bytes(content)
    oras("push", "--artifact-type", "application/vnd.example.data", f"{source}:1", "data")
    oras("attach", "--artifact-type", "application/vnd.example.sbom", f"{source}:1", "sbom")
    sbom = world.referrers("closed/deep", "1")[0]["digest"]
    oras("attach", "--artifact-type", "application/vnd.example.signature", f"{source}@{sbom}", "signature")
    signature = world.referrers("closed/deep", sbom)[0]["digest"]

    run("oras", "cp", "-r", "--from-plain-http", "--to-plain-http", f"{source}:1", f"{target}:1", env=environment)
    equal(world.digest("other/deep", "1"), world.digest("closed/deep", "1"), "the digest of the copy")
    equal([entry["digest"] for entry in world.referrers("other/deep", "1")], [sbom], "what is attached to the copy")
    equal([entry["digest"] for entry in world.referrers("other/deep", sbom)], [signature], "one level deeper")
    tree = oras("discover", "--format", "tree", f"{target}:1")
    check(sbom in tree and signature in tree, f"not in the tree of the copy:\n{tree}")
    for reference, name in ((":1", "data"), (f"@{sbom}", "sbom"), (f"@{signature}", "signature")):
        oras("pull", "--output", home / "out", f"{target}{reference}")
        check((home / "out" / name).read_bytes() == files[name], f"{name} differs in the copy")

    layout = home / "layout"
    run("oras", "cp", "-r", "--from-plain-http", "--to-oci-layout", f"{target}:1", f"{layout}:1", env=environment)
    back = f"{world.host}/other/deep-back"
    run("oras", "cp", "-r", "--from-oci-layout", "--to-plain-http", f"{layout}:1", f"{back}:1", env=environment)
    equal([entry["digest"] for entry in world.referrers("other/deep-back", "1")], [sbom], "attached after the disk")
    equal([entry["digest"] for entry in world.referrers("other/deep-back", sbom)], [signature], "one level deeper")
    equal(world.tags("other/deep-back"), ["1"], "the tags")


@suite.case("oras attach with the tag scheme of old registries: the list is kept under a tag, and by the registry too")
def _(world):
    home, environment = world.signed_in("oras")
    oras = oras_in(home, environment)
    target = f"{world.host}/closed/tag-scheme:1"
    (home / "data").write_bytes(noise(1_000))
    oras("push", target, "data")
    scheme = ["--distribution-spec", "v1.1-referrers-tag", "--artifact-type", "application/vnd.example.note"]
    for name in ("first", "second"):
        (home / name).write_text(name)
        oras("attach", *scheme, target, name)
    digest = world.digest("closed/tag-scheme", "1")
    fallback = digest.replace(":", "-")
    equal(world.tags("closed/tag-scheme"), ["1", fallback], "the tags")
    listed = world.manifest("closed/tag-scheme", fallback)
    equal(listed["mediaType"], OCI_INDEX, "the type of the list under the tag")
    held = {entry["digest"] for entry in world.referrers("closed/tag-scheme", digest)}
    equal({entry["digest"] for entry in listed["manifests"]}, held, "the list under the tag, against the registry's")
    equal(len(held), 2, "the number of attached artifacts")


@suite.case("oras blob and manifest commands: push, fetch, and deletions that others then see")
def _(world):
    home, environment = world.signed_in("oras")
    oras = oras_in(home, environment)
    repository = f"{world.host}/closed/parts"
    content = noise(30_000)
    (home / "blob").write_bytes(content)
    pushed = json.loads(oras("blob push", "--descriptor", repository, "blob"))
    equal(pushed["size"], len(content), "the size")
    oras("blob fetch", "--output", home / "again", f"{repository}@{pushed['digest']}")
    check((home / "again").read_bytes() == content, "the fetched blob differs")
    oras("blob delete", "--force", f"{repository}@{pushed['digest']}")
    oras("blob fetch", "--output", home / "gone", f"{repository}@{pushed['digest']}", expect=None)

    oras("push", "--artifact-type", "application/vnd.example.data", f"{repository}:1", "blob")
    oras("attach", "--artifact-type", "application/vnd.example.note", f"{repository}:1", "blob")
    [attached] = world.referrers("closed/parts", "1")
    descriptor = json.loads(oras("manifest fetch", "--descriptor", f"{repository}:1"))
    equal(descriptor["digest"], world.digest("closed/parts", "1"), "the digest oras shows")
    oras("manifest delete", "--force", f"{repository}@{attached['digest']}")
    equal(world.referrers("closed/parts", "1"), [], "what is attached after the deletion")
    equal(world.accessories("closed/parts", "1"), [], "what the REST API shows as attached then")
    oras("tag", f"{repository}:1", "2", "latest")
    equal(world.tags("closed/parts"), ["1", "2", "latest"], "the tags")
    oras("manifest delete", "--force", f"{repository}@{descriptor['digest']}")
    equal(world.digest("closed/parts", "latest"), None, "the digest of a tag of the deleted manifest")


@suite.case("oras pushes an index of blobs, as older BuildKits export their cache, and a manifest of nearly 4 MiB")
def _(world):
    home, environment = world.signed_in("oras")
    oras = oras_in(home, environment)
    repository = f"{world.host}/closed/unusual"
    layer = "application/vnd.oci.image.layer.v1.tar+gzip"
    blobs = {"layer": layer, "config": "application/vnd.buildkit.cacheconfig.v0"}
    entries = []
    for name, media_type in blobs.items():
        (home / name).write_bytes(noise(5_000))
        options = ["--descriptor", "--media-type", media_type]
        entries.append(json.loads(oras("blob push", *options, repository, name)))
    large = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "annotations": {"long": "x" * 4_100_000}}
    documents = {"cache": {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}, "large": large}
    for tag, document in documents.items():
        # Not as a program would write it, so that a registry that writes it anew is found out.
        (home / tag).write_text(json.dumps(document, indent=3))
        oras("manifest push", "--media-type", OCI_INDEX, f"{repository}:{tag}", tag)
        oras("manifest fetch", "--output", home / "again", f"{repository}:{tag}")
        check((home / "again").read_bytes() == (home / tag).read_bytes(), f"the manifest {tag} differs")
        equal(world.manifest("closed/unusual", tag), document, f"the manifest {tag} in the registry")
    for entry in entries:
        oras("blob fetch", "--output", home / "again", f"{repository}@{entry['digest']}")


def chart(directory, name, version, extra="", values="greeting: hello\n"):
    """A chart of one template, which shows the value `greeting`."""
    (directory / name / "templates").mkdir(parents=True)
    (directory / name / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: {version}\n{extra}")
    (directory / name / "values.yaml").write_text(values)
    (directory / name / "templates" / "map.yaml").write_text(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{said: {{{{ .Values.greeting }}}}}}\n"
    )
    return directory / name


@suite.case("helm package, push, show, pull; a version with a plus sign; a provenance file")
def _(world):
    home, environment = world.signed_in("helm")
    run("helm", "package", chart(home, "demo", "0.1.0+build.7"), "--destination", home, env=environment)
    package = home / "demo-0.1.0+build.7.tgz"
    provenance = package.with_name(f"{package.name}.prov")
    provenance.write_text("not a real signature, but bytes to find again\n")
    run("helm", "push", "--plain-http", package, f"oci://{world.host}/closed/charts", env=environment)

    equal(world.tags("closed/charts/demo"), ["0.1.0_build.7"], "the tags: helm writes + as _")
    held = world.manifest("closed/charts/demo", "0.1.0_build.7")
    equal(held["config"]["mediaType"], CHART_CONFIG, "the configuration's type")
    equal(sorted(layer["mediaType"] for layer in held["layers"]), [CHART_CONTENT, CHART_PROVENANCE], "the layers")
    shown = world.artifact("closed/charts/demo", "0.1.0_build.7")
    equal((shown["type"], shown["media_type"]), ("CHART", CHART_CONFIG), "the chart by REST")

    reference = f"oci://{world.host}/closed/charts/demo"
    pull = ["helm", "pull", "--plain-http", reference, "--version", "0.1.0+build.7", "--prov"]
    (home / "out").mkdir()
    run(*pull, "--destination", home / "out", env=environment)
    for file in (package, provenance):
        check((home / "out" / file.name).read_bytes() == file.read_bytes(), f"the pulled {file.name} differs")
    ranged = ["helm", "show", "chart", "--plain-http", reference, "--version", ">=0.0.1"]
    check("0.1.0+build.7" in run(*ranged, env=environment), "the range did not find the chart")


@suite.case("helm resolves a version range, shows values as they were, and renders a chart straight from the registry")
def _(world):
    home, environment = world.signed_in("helm")
    for version in ("1.2.3", "1.10.0", "2.0.0-rc.1"):
        values = f"# of {version}\ngreeting: from {version}\n"
        run("helm", "package", chart(home / version, "ranged", version, values=values), env=environment, cwd=home)
        package = f"ranged-{version}.tgz"
        run("helm", "push", "--plain-http", package, f"oci://{world.host}/closed/charts", env=environment, cwd=home)
    equal(world.tags("closed/charts/ranged"), ["1.10.0", "1.2.3", "2.0.0-rc.1"], "the tags")
    reference = [f"oci://{world.host}/closed/charts/ranged", "--plain-http"]
    shown = run("helm", "show", "values", *reference, "--version", "^1.0.0", env=environment)
    check("# of 1.10.0\ngreeting: from 1.10.0\n" in shown, f"not the values of 1.10.0:\n{shown}")
    text = run("helm", "template", "x", *reference, "--version", "~1.2", "--set", "extra=1", env=environment)
    check("said: from 1.2.3" in text, f"not rendered from 1.2.3:\n{text}")
    text = run("helm", "template", "x", *reference, "--version", "1.2.3", "--set", "greeting=bye", env=environment)
    check("said: bye" in text, f"not rendered with the value that was set:\n{text}")


@suite.case("helm dependency build fetches a dependency from the registry and locks it")
def _(world):
    home, environment = world.signed_in("helm")
    charts = f"oci://{world.host}/closed/charts"
    run("helm", "package", chart(home, "base", "1.4.2"), "--destination", home, env=environment)
    run("helm", "push", "--plain-http", home / "base-1.4.2.tgz", charts, env=environment)
    needs = f"dependencies:\n  - name: base\n    version: ^1.0.0\n    repository: {charts}\n"
    parent = chart(home, "parent", "0.3.0", needs)
    run("helm", "dependency", "update", "--plain-http", parent, env=environment)
    fetched = parent / "charts" / "base-1.4.2.tgz"
    check(fetched.read_bytes() == (home / "base-1.4.2.tgz").read_bytes(), "the dependency differs")
    check("version: 1.4.2" in (parent / "Chart.lock").read_text(), "1.4.2 is not in Chart.lock")
    fetched.unlink()
    run("helm", "dependency", "build", "--plain-http", parent, env=environment)
    check(fetched.exists(), "helm dependency build fetched nothing")
    run("helm", "package", parent, "--destination", home, env=environment)
    run("helm", "push", "--plain-http", home / "parent-0.3.0.tgz", charts, env=environment)
    reference = f"{charts}/parent"
    text = run("helm", "template", "x", "--plain-http", reference, "--version", "0.3.0", env=environment)
    check("name: base" in text and "name: parent" in text, f"not both charts are rendered:\n{text}")


def regctl_in(environment):
    """The `regctl` command; its warnings would mix with what it prints."""

    def regctl(command, *arguments, **how):
        return run("regctl", "--verbosity", "error", *command.split(), *arguments, env=environment, **how)

    return regctl


@suite.case("regctl image copy with referrers, tag list and tag delete")
def _(world):
    home, environment = world.signed_in("regctl", "crane")
    regctl = regctl_in(environment)
    source, target = f"{world.host}/closed/regctl:1", f"{world.host}/other/regctl:1"
    world.crane_image(home, environment, source)
    regctl("artifact put", "--artifact-type", "application/vnd.example.note", "--subject", source, stdin="a note")
    regctl("image copy", "--referrers", source, target)
    equal(world.digest("other/regctl", "1"), world.digest("closed/regctl", "1"), "the digest of the copy")
    found = json.loads(regctl("artifact list", "--format", "{{ jsonPretty . }}", target))
    listed = found.get("descriptors") or found["manifest"]["manifests"]
    equal([entry["artifactType"] for entry in listed], ["application/vnd.example.note"], "what regctl lists")
    held = world.referrers("other/regctl", "1")
    equal([entry["digest"] for entry in held], [entry["digest"] for entry in listed], "what the registry lists")
    tree = regctl("artifact tree", target)
    check(held[0]["digest"] in tree, f"not in the tree:\n{tree}")
    got = regctl("artifact get", "--subject", target)
    equal(got, "a note", "the artifact's content")
    regctl("image copy", target, f"{world.host}/other/regctl:2")
    regctl("tag delete", f"{world.host}/other/regctl:1")
    left = regctl("tag ls", f"{world.host}/other/regctl").split()
    equal(left, ["2"], "the tags after deleting one of two with the same digest")
    equal(world.tags("other/regctl"), ["2"], "the tags in the registry")
    equal(world.artifact("other/regctl", "2")["digest"], world.digest("closed/regctl", "1"), "what stayed")


@suite.case("regctl index: create, add, delete an entry, and copy the whole")
def _(world):
    home, environment = world.signed_in("regctl", "crane")
    regctl = regctl_in(environment)
    repository = f"{world.host}/closed/regctl-index"
    platforms = {"x": "linux/amd64", "y": "linux/arm64", "z": "linux/riscv64"}
    digests = {}
    for tag, platform in platforms.items():
        world.crane_image(home, environment, f"{repository}:{tag}", 2_000)
        mutate = ["crane", "mutate", "--set-platform", platform, "--tag", f"{repository}:{tag}", f"{repository}:{tag}"]
        run(*mutate, env=environment)
        digests[tag] = world.digest("closed/regctl-index", tag)
    index = f"{repository}:all"
    references = [part for tag in ("x", "y") for part in ("--ref", f"{repository}:{tag}")]
    regctl("index create", *references, index)
    regctl("index add", "--ref", f"{repository}:z", index)
    regctl("index delete", "--digest", digests["y"], index)
    held = world.manifest("closed/regctl-index", "all")
    equal([entry["digest"] for entry in held["manifests"]], [digests["x"], digests["z"]], "the entries")
    shown = world.artifact("closed/regctl-index", "all")
    platforms = [one["platform"]["architecture"] for one in shown["references"]]
    equal(platforms, ["amd64", "riscv64"], "the platforms by REST")
    one = regctl("image digest", "--platform", "linux/riscv64", index).strip()
    equal(one, digests["z"], "the digest for one platform")
    copy = f"{world.host}/other/regctl-index:all"
    regctl("image copy", index, copy)
    equal(world.digest("other/regctl-index", "all"), world.digest("closed/regctl-index", "all"), "the copied index")
    for tag in ("x", "z"):
        equal(world.digest("other/regctl-index", digests[tag]), digests[tag], "an entry of the copied index")
    equal(world.digest("other/regctl-index", digests["y"]), None, "the entry that was taken out")


@suite.case("regctl sends a blob in chunks with Content-Range")
def _(world):
    _, environment = world.signed_in("regctl")
    regctl = regctl_in(environment)
    regctl("registry set", "--blob-chunk", "65536", "--blob-max", "65536", world.host)
    repository = "closed/regctl-chunks"
    content = noise(150_000).hex()
    digest = regctl("blob put", f"{world.host}/{repository}", stdin=content).strip()
    done = world.wait_for_requests(repository, "regclient", lambda all: any(one[0] == "PUT" for one in all))
    equal([status for method, _, status in done if method == "PATCH"], [202] * 5, "the answers to the chunks")
    answer = world.client("dev").registry("GET", f"/v2/{repository}/blobs/{digest}")
    check(answer.body == content.encode(), "the blob differs")
