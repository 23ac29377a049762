"""The distribution specification as a client sees it: our own checklist, endpoint by endpoint.

It asks for everything that the released specification and its next version demand, optional features included, with
a client that keeps tokens the way the official suite's client does. It is no replacement for the official suites,
which run.py starts beside it; it runs where they cannot be had.
"""

import base64
import hashlib
import json
import os
import uuid

from support.http import with_query
from support.suite import Suite, check, equal

REPOSITORY = "conformance/checklist"
SOURCE = "crossmount/checklist"

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCTETS = ("Content-Type", "application/octet-stream")

# What the error body of a 4xx may hold: the specification's list and what Docker adds to it.
KNOWN_CODES = set(
    """BLOB_UNKNOWN BLOB_UPLOAD_INVALID BLOB_UPLOAD_UNKNOWN DIGEST_INVALID MANIFEST_BLOB_UNKNOWN MANIFEST_INVALID
    MANIFEST_UNKNOWN NAME_INVALID NAME_UNKNOWN SIZE_INVALID UNAUTHORIZED DENIED UNSUPPORTED TAG_INVALID
    MANIFEST_UNVERIFIED RANGE_INVALID PAGINATION_NUMBER_INVALID""".split()
)

suite = Suite("checklist")


# ---------------------------------------------------------------------------------------------------- helpers


def digest_of(data, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def status(answer, *wanted):
    check(answer.status in wanted, f"wanted status {' or '.join(map(str, wanted))}, got {answer}")
    return answer


def refused(answer, *wanted):
    """An error must carry a JSON body with known codes."""
    status(answer, *wanted)
    if answer.body:
        codes = answer.codes()
        check(codes and set(codes) <= KNOWN_CODES, f"no known error code in {answer}")
    return answer


def located(answer):
    location = answer.header("Location")
    check(location, f"no Location in {answer}")
    return location


def header_is(answer, name, wanted):
    equal(answer.header(name), wanted, f"{name} of {answer.request}")


def upload_start(client, repository=REPOSITORY, query=""):
    answer = status(client.registry("POST", f"/v2/{repository}/blobs/uploads/{query}"), 202)
    return located(answer)


def patch(client, location, data, start=None, **more):
    headers = [OCTETS]
    if start is not None:
        headers.append(("Content-Range", f"{start}-{start + len(data) - 1}"))
    return client.registry("PATCH", location, data, headers, **more)


def finish(client, location, digest, data=b"", start=None):
    headers = [OCTETS]
    if start is not None:
        headers.append(("Content-Range", f"{start}-{start + len(data) - 1}"))
    return client.registry("PUT", with_query(location, digest=digest), data, headers)


def push_blob(client, data, repository=REPOSITORY, algorithm="sha256"):
    digest = digest_of(data, algorithm)
    location = upload_start(client, repository)
    status(finish(client, location, digest, data), 201)
    return digest


def pushed(client, answer, digest, data, repository=REPOSITORY):
    """What must hold after the request that finished a blob."""
    status(answer, 201)
    header_is(answer, "Docker-Content-Digest", digest)
    equal(located(answer).split("?")[0], f"/v2/{repository}/blobs/{digest}", "Location of the finished blob")
    blob_is(client, digest, data, repository)


def blob_is(client, digest, data, repository=REPOSITORY):
    target = f"/v2/{repository}/blobs/{digest}"
    head = status(client.registry("HEAD", target), 200)
    equal(head.body, b"", "body of a HEAD")
    get = status(client.registry("GET", target), 200)
    equal(get.body, data, "body of the blob")
    for answer in (head, get):
        header_is(answer, "Content-Length", str(len(data)))
        header_is(answer, "Docker-Content-Digest", digest)
        header_is(answer, "Content-Type", "application/octet-stream")
        header_is(answer, "Accept-Ranges", "bytes")
        check(answer.header("Content-Encoding") is None, f"a Content-Encoding on {answer}")


def delete_blob(client, digest, repository=REPOSITORY):
    """Deletes and looks again at once."""
    target = f"/v2/{repository}/blobs/{digest}"
    status(client.registry("DELETE", target), 202)
    status(client.registry("HEAD", target), 404)
    refused(client.registry("GET", target), 404)


def descriptor(media_type, data, algorithm="sha256", **more):
    return {"mediaType": media_type, "digest": digest_of(data, algorithm), "size": len(data), **more}


def encode(document):
    return json.dumps(document, indent=2).encode()


def put_manifest(client, data, reference, media_type=OCI_MANIFEST, repository=REPOSITORY, query=""):
    target = f"/v2/{repository}/manifests/{reference}{query}"
    return client.registry("PUT", target, data, [("Content-Type", media_type)])


def manifest_is(client, data, reference, media_type, algorithm="sha256", repository=REPOSITORY):
    """HEAD and GET, with two Accept lines as the specification allows."""
    accept = [("Accept", OCI_MANIFEST), ("Accept", f"{OCI_INDEX}, {DOCKER_MANIFEST}, */*")]
    target = f"/v2/{repository}/manifests/{reference}"
    head = status(client.registry("HEAD", target, headers=accept), 200)
    get = status(client.registry("GET", target, headers=accept), 200)
    equal(head.body, b"", "body of a HEAD")
    equal(get.body, data, "body of the manifest")
    for answer in (head, get):
        header_is(answer, "Content-Type", media_type)
        header_is(answer, "Content-Length", str(len(data)))
        header_is(answer, "Docker-Content-Digest", digest_of(data, algorithm))


def push_manifest(client, data, tag=None, media_type=OCI_MANIFEST, algorithm="sha256", subject=None):
    """Pushes by digest, and by tag when there is one; follows the Location; reads back."""
    digest = digest_of(data, algorithm)
    for reference in [digest] + ([tag] if tag else []):
        answer = status(put_manifest(client, data, reference, media_type), 201)
        header_is(answer, "Docker-Content-Digest", digest)
        header_is(answer, "OCI-Subject", subject)
        stored = status(client.registry("GET", located(answer)), 200)
        equal(stored.body, data, "what the Location of the manifest gives")
        header_is(stored, "Content-Type", media_type)
        manifest_is(client, data, reference, media_type, algorithm)
    return digest


def delete_manifest(client, reference, repository=REPOSITORY):
    target = f"/v2/{repository}/manifests/{reference}"
    status(client.registry("DELETE", target), 202)
    status(client.registry("HEAD", target), 404)
    refused(client.registry("GET", target), 404)


def tags(client, query="", repository=REPOSITORY):
    answer = status(client.registry("GET", f"/v2/{repository}/tags/list{query}"), 200)
    equal(answer.json()["name"], repository, "name in the tag list")
    return answer.json()["tags"] or []


def referrers(client, digest, query="", repository=REPOSITORY):
    answer = status(client.registry("GET", f"/v2/{repository}/referrers/{digest}{query}"), 200)
    header_is(answer, "Content-Type", OCI_INDEX)
    document = answer.json()
    equal(document["schemaVersion"], 2, "schemaVersion of the referrers")
    equal(document["mediaType"], OCI_INDEX, "mediaType of the referrers")
    return answer, {entry["digest"]: entry for entry in document["manifests"]}


def make_image(client, algorithm="sha256", layers=2, **more):
    """Pushes a config and layers of random bytes; returns the manifest's bytes and the blobs' digests."""
    config = encode({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, "n": rand()})
    contents = [os.urandom(512) for _ in range(layers)]
    digests = [push_blob(client, data, algorithm=algorithm) for data in [config, *contents]]
    manifest = encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, config, algorithm),
            "layers": [descriptor(OCI_LAYER, data, algorithm) for data in contents],
            **more,
        }
    )
    return manifest, digests


def rand():
    return uuid.uuid4().hex


def whole_life(client, manifest, blobs, tag=None, media_type=OCI_MANIFEST, algorithm="sha256"):
    """Push, read, list, delete in the order tag, manifest, blobs."""
    digest = push_manifest(client, manifest, tag, media_type, algorithm)
    if tag:
        check(tag in tags(client), f"{tag} is not in the tag list")
        delete_manifest(client, tag)
        check(tag not in tags(client), f"{tag} is still in the tag list")
        manifest_is(client, manifest, digest, media_type, algorithm)
    delete_manifest(client, digest)
    for blob in blobs:
        delete_blob(client, blob)


# ------------------------------------------------------------------------------------- the base and an empty place


@suite.case("base: 401 with a Bearer challenge, 200 with a token, the version header on both")
def _(client):
    first = client.send("GET", "/v2/")
    status(first, 401)
    challenge = first.header("WWW-Authenticate")
    equal(challenge.lower().count("bearer"), 1, f"number of times 'bearer' stands in {challenge!r}")
    check("basic" not in challenge.lower(), f"'basic' stands in {challenge!r}")
    header_is(first, "Docker-Distribution-Api-Version", "registry/2.0")
    second = status(client.registry("GET", "/v2/"), 200)
    header_is(second, "Docker-Distribution-Api-Version", "registry/2.0")


@suite.case("empty repository: tag list 200 or 404, referrers an empty index")
def _(client):
    answer = status(client.registry("GET", f"/v2/{REPOSITORY}/tags/list"), 200, 404)
    check("json" in answer.header("Content-Type"), f"not JSON: {answer}")
    for algorithm in ("sha256", "sha512"):
        _, found = referrers(client, digest_of(os.urandom(9), algorithm))
        equal(found, {}, "referrers of an unknown digest")


@suite.case("token: several scopes in one parameter, both token members, no token for a wrong password")
def _(client):
    first = client.send("GET", f"/v2/{REPOSITORY}/tags/list")
    challenge = first.header("WWW-Authenticate")
    realm = challenge.split('realm="')[1].split('"')[0].split("/", 3)[3]
    service = challenge.split('service="')[1].split('"')[0]
    scope = f"repository:{REPOSITORY}:pull%20repository:{SOURCE}:pull"
    asked = status(client.send("GET", f"/{realm}?service={service}&scope={scope}", headers=[client.basic()]), 200)
    body = asked.json()
    equal(body["token"], body["access_token"], "access_token")
    check(body["expires_in"] >= 60, f"a token of {body['expires_in']} s")
    for repository in (REPOSITORY, SOURCE):
        bearer = [("Authorization", f"Bearer {body['token']}")]
        status(client.send("GET", f"/v2/{repository}/referrers/{digest_of(b'x')}", headers=bearer), 200)
    wrong = type(client)(client.host, client.name, "wrong")
    status(wrong.send("GET", f"/{realm}?service={service}", headers=[wrong.basic()]), 401)


@suite.case("token: a POST form with a password, then with the refresh token it gave")
def _(client):
    challenge = client.send("GET", "/v2/").header("WWW-Authenticate")
    realm = "/" + challenge.split('realm="')[1].split('"')[0].split("/", 3)[3]
    service = challenge.split('service="')[1].split('"')[0]
    form = [("Content-Type", "application/x-www-form-urlencoded")]
    common = f"service={service}&client_id=checklist&access_type=offline&scope=repository:{REPOSITORY}:pull"
    first = f"grant_type=password&username={client.name}&password={client.password}&{common}"
    answer = status(client.send("POST", realm, first.encode(), form), 200)
    check(answer.json()["access_token"], "no access_token")
    refresh = answer.json()["refresh_token"]
    second = f"grant_type=refresh_token&refresh_token={refresh}&{common}"
    answer = status(client.send("POST", realm, second.encode(), form), 200)
    bearer = [("Authorization", f"Bearer {answer.json()['access_token']}")]
    status(client.send("GET", f"/v2/{REPOSITORY}/referrers/{digest_of(b'x')}", headers=bearer), 200)


# --------------------------------------------------------------------------------------------------------- blobs


def blob_cases(algorithm):
    """The ways to push a blob, once per digest algorithm."""

    def case(title):
        return suite.case(f"blobs {algorithm}: {title}")

    def fresh(size=512):
        data = os.urandom(size)
        return data, digest_of(data, algorithm)

    @case("a digest that was never pushed is 404")
    def _(client):
        _, digest = fresh()
        status(client.registry("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}"), 404)
        refused(client.registry("GET", f"/v2/{REPOSITORY}/blobs/{digest}"), 404)

    @case("one POST with the digest")
    def _(client):
        data, digest = fresh()
        target = f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest}"
        pushed(client, client.registry("POST", target, data, [OCTETS]), digest, data)
        delete_blob(client, digest)

    @case("POST, then one PUT")
    def _(client):
        data, digest = fresh()
        location = upload_start(client)
        pushed(client, finish(client, location, digest, data), digest, data)
        delete_blob(client, digest)

    @case("POST with the algorithm announced, then PATCH and PUT")
    def _(client):
        data, digest = fresh()
        location = upload_start(client, query=f"?digest-algorithm={algorithm}")
        location = located(status(patch(client, location, data), 202))
        pushed(client, finish(client, location, digest), digest, data)
        delete_blob(client, digest)

    @case("one chunk, then an empty PUT")
    def _(client):
        data, digest = fresh()
        answer = status(patch(client, upload_start(client), data, 0), 202)
        header_is(answer, "Range", "0-511")
        pushed(client, finish(client, located(answer), digest), digest, data)
        delete_blob(client, digest)

    @case("three chunks, then an empty PUT")
    def _(client):
        data, digest = fresh(3067)
        location = upload_start(client)
        for start, end in ((0, 1024), (1024, 2048), (2048, 3067)):
            answer = status(patch(client, location, data[start:end], start), 202)
            header_is(answer, "Range", f"0-{end - 1}")
            location = located(answer)
        pushed(client, finish(client, location, digest), digest, data)
        delete_blob(client, digest)

    @case("two chunks, and the last one with the PUT")
    def _(client):
        data, digest = fresh(3067)
        location = upload_start(client)
        for start in (0, 1024):
            location = located(status(patch(client, location, data[start : start + 1024], start), 202))
        pushed(client, finish(client, location, digest, data[2048:], 2048), digest, data)
        delete_blob(client, digest)

    @case("a wrong chunk before each right one is 416, the upload goes on")
    def _(client):
        data, digest = fresh(3067)
        location = upload_start(client)
        for start, end in ((0, 1024), (1024, 2048), (2048, 3067)):
            wrong = 1024 if start == 0 else 0
            refused(patch(client, location, data[wrong : wrong + 1024], wrong), 416)
            there = status(client.registry("GET", location), 204)
            header_is(there, "Range", f"0-{max(start - 1, 0)}")
            location = located(there)
            location = located(status(patch(client, location, data[start:end], start), 202))
        pushed(client, finish(client, location, digest), digest, data)
        delete_blob(client, digest)

    @case("a wrong last chunk with the PUT is 416, the upload goes on")
    def _(client):
        data, digest = fresh(3067)
        location = upload_start(client)
        for start in (0, 1024):
            location = located(status(patch(client, location, data[start : start + 1024], start), 202))
        refused(finish(client, location, digest, data[:1024], 0), 416)
        there = status(client.registry("GET", with_query(location, digest=digest)), 204)
        header_is(there, "Range", "0-2047")
        pushed(client, finish(client, located(there), digest, data[2048:], 2048), digest, data)
        delete_blob(client, digest)

    @case("a stream: chunked transfer without any length")
    def _(client):
        data, digest = fresh(200_000)
        location = upload_start(client)
        pieces = [data[at : at + 30_000] for at in range(0, len(data), 30_000)]
        answer = status(client.registry("PATCH", location, pieces, [OCTETS]), 202)
        header_is(answer, "Range", "0-199999")
        pushed(client, finish(client, located(answer), digest), digest, data)
        delete_blob(client, digest)

    @case("mount from another repository")
    def _(client):
        data, digest = fresh()
        push_blob(client, data, SOURCE, algorithm)
        target = f"/v2/{REPOSITORY}/blobs/uploads/?mount={digest}&from={SOURCE}"
        pushed(client, client.registry("POST", target), digest, data)
        delete_blob(client, digest)
        blob_is(client, digest, data, SOURCE)
        delete_blob(client, digest, SOURCE)

    @case("mount without a source finds what the caller may pull")
    def _(client):
        data, digest = fresh()
        push_blob(client, data, SOURCE, algorithm)
        pushed(client, client.registry("POST", f"/v2/{REPOSITORY}/blobs/uploads/?mount={digest}"), digest, data)
        delete_blob(client, digest)
        delete_blob(client, digest, SOURCE)

    @case("mount of what the source does not hold falls back to an upload")
    def _(client):
        for source in (f"&from={SOURCE}", ""):
            data, digest = fresh()
            answer = client.registry("POST", f"/v2/{REPOSITORY}/blobs/uploads/?mount={digest}{source}")
            location = located(status(answer, 202))
            check(location.startswith(f"/v2/{REPOSITORY}/blobs/uploads/"), f"Location is {location}")
            pushed(client, finish(client, location, digest, data), digest, data)
            delete_blob(client, digest)

    @case("bytes that do not match the digest are 400, in all five ways")
    def _(client):
        data, _ = fresh(3067)
        _, other = fresh()
        target = f"/v2/{REPOSITORY}/blobs/uploads/?digest={other}"
        refused(client.registry("POST", target, data, [OCTETS]), 400)
        refused(finish(client, upload_start(client), other, data), 400)
        location = located(status(patch(client, upload_start(client), data, 0), 202))
        refused(finish(client, location, other), 400)
        location = located(status(patch(client, upload_start(client), data[:1024], 0), 202))
        refused(finish(client, location, other, data[1024:], 1024), 400)
        location = located(status(client.registry("PATCH", upload_start(client), [data], [OCTETS]), 202))
        refused(finish(client, location, other), 400)
        status(client.registry("HEAD", f"/v2/{REPOSITORY}/blobs/{other}"), 404)

    @case("ranges")
    def _(client):
        data, digest = fresh(2048)
        push_blob(client, data, algorithm=algorithm)
        target = f"/v2/{REPOSITORY}/blobs/{digest}"
        for text, start, end in (
            ("500-1499", 500, 1500),
            ("500-", 500, 2048),
            ("-500", 1548, 2048),
            ("2000-5000", 2000, 2048),
        ):
            answer = status(client.registry("GET", target, headers=[("Range", f"bytes={text}")]), 206)
            equal(answer.body, data[start:end], f"bytes={text}")
            header_is(answer, "Content-Length", str(end - start))
            header_is(answer, "Content-Range", f"bytes {start}-{end - 1}/2048")
        for text in ("500-0", "5000-10000"):
            status(client.registry("GET", target, headers=[("Range", f"bytes={text}")]), 416)
        many = client.registry("GET", target, headers=[("Range", "bytes=0-9,100-109")])
        status(many, 206)
        check("multipart/byteranges" in many.header("Content-Type"), f"not multipart: {many}")
        check(data[:10] in many.body and data[100:110] in many.body, "a part is missing")
        delete_blob(client, digest)


blob_cases("sha256")
blob_cases("sha512")


@suite.case("blobs: the empty blob and the empty JSON object")
def _(client):
    for data in (b"", b"{}"):
        digest = push_blob(client, data)
        blob_is(client, digest, data)
        delete_blob(client, digest)


@suite.case("blobs: a cancelled upload is gone")
def _(client):
    location = located(status(patch(client, upload_start(client), b"x" * 100, 0), 202))
    status(client.registry("DELETE", location, scope=f"cancel {REPOSITORY}"), 204)
    refused(client.registry("GET", location), 404)
    refused(patch(client, location, b"y", 100), 404)


@suite.case("blobs: upload URLs stay valid, and a repeated chunk on the first one is 416")
def _(client):
    data = os.urandom(2048)
    first = upload_start(client)
    second = located(status(patch(client, first, data[:1024], 0), 202))
    refused(patch(client, first, data[:1024], 0), 416)
    header_is(status(client.registry("GET", first), 204), "Range", "0-1023")
    location = located(status(patch(client, second, data[1024:], 1024), 202))
    pushed(client, finish(client, location, digest_of(data)), digest_of(data), data)
    delete_blob(client, digest_of(data))


@suite.case("blobs: an upload belongs to its repository")
def _(client):
    location = upload_start(client)
    moved = location.replace(REPOSITORY, SOURCE)
    refused(patch(client, moved, b"x"), 404)
    status(client.registry("GET", location), 204)


@suite.case("blobs: names, digests and uploads that cannot exist")
def _(client):
    for text in ("sha256:short", "sha256:" + "A" * 64, "md5:" + "a" * 32):
        refused(client.registry("GET", f"/v2/{REPOSITORY}/blobs/{text}"), 400, 404)
        refused(finish(client, upload_start(client), text, b"x"), 400)
    refused(client.registry("GET", f"/v2/{REPOSITORY}/blobs/uploads/{uuid.uuid4()}"), 404)
    refused(client.registry("PATCH", f"/v2/{REPOSITORY}/blobs/uploads/not-an-upload", b"x", [OCTETS]), 404)


@suite.case("blobs: the same digest in another repository stays hidden")
def _(client):
    data = os.urandom(512)
    digest = push_blob(client, data, SOURCE)
    status(client.registry("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}"), 404)
    refused(client.registry("GET", f"/v2/{REPOSITORY}/blobs/{digest}"), 404)
    delete_blob(client, digest, SOURCE)


# ----------------------------------------------------------------------------------------------------- manifests


@suite.case("manifests: image")
def _(client):
    whole_life(client, *make_image(client), tag=f"image-{rand()}")


@suite.case("manifests: image in Docker's media type")
def _(client):
    manifest, blobs = make_image(client)
    manifest = manifest.replace(OCI_MANIFEST.encode(), DOCKER_MANIFEST.encode())
    whole_life(client, manifest, blobs, tag="docker", media_type=DOCKER_MANIFEST)


@suite.case("manifests: 3.9 MB of annotations")
def _(client):
    notes = {f"org.example.{number}": "a" * 10_000 for number in range(390)}
    whole_life(client, *make_image(client, annotations=notes), tag="large")


@suite.case("manifests: more than 4 MiB is 413")
def _(client):
    data = encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "annotations": {"a": "b" * (5 << 20)}})
    status(put_manifest(client, data, "huge", OCI_INDEX), 413)


@suite.case("manifests: index, nested index, empty index")
def _(client):
    image, blobs = make_image(client)
    push_manifest(client, image)
    index = encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [descriptor(OCI_MANIFEST, image, platform={"architecture": "amd64", "os": "linux"})],
        }
    )
    push_manifest(client, index, "index", OCI_INDEX)
    nested = encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [descriptor(OCI_INDEX, index), descriptor(OCI_MANIFEST, image)],
        }
    )
    push_manifest(client, nested, "nested", OCI_INDEX)
    empty = encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "annotations": {"n": rand()}})
    whole_life(client, empty, [], "empty", OCI_INDEX)
    for data in (nested, index, image):
        delete_manifest(client, digest_of(data))
    for blob in blobs:
        delete_blob(client, blob)


@suite.case("manifests: index whose children are not here")
def _(client):
    absent = encode({"n": rand()})
    index = encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(OCI_MANIFEST, absent)]})
    whole_life(client, index, [], "sparse", OCI_INDEX)


@suite.case("manifests: artifact, artifact without layers, artifact index, image without layers")
def _(client):
    push_blob(client, b"{}")
    empty = descriptor(OCI_EMPTY, b"{}")
    data = os.urandom(512)
    blob = push_blob(client, data)
    head = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.example.thing"}
    artifact = encode({**head, "config": empty, "layers": [descriptor("application/vnd.example.data", data)]})
    whole_life(client, artifact, [blob], "artifact")
    whole_life(client, encode({**head, "config": empty, "layers": [empty], "annotations": {"n": rand()}}), [], "bare")
    index = encode(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "artifactType": "application/vnd.example.set", "manifests": []}
    )
    whole_life(client, index, [], "set", OCI_INDEX)
    manifest, blobs = make_image(client, layers=0)
    whole_life(client, manifest, blobs, "no-layers")


@suite.case("manifests: inline data, foreign layers that were never pushed, unknown members kept byte for byte")
def _(client):
    manifest, blobs = make_image(client)
    document = json.loads(manifest)
    document["org.example.unknown"] = {"kept": [1, 2, 3]}
    document["layers"].append(
        descriptor(
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            os.urandom(99),
            urls=["https://example.com/layer"],
        )
    )
    document["config"]["org.example.more"] = True
    inline = b'{"inline":true}'
    push_blob(client, inline)
    document["layers"].append({**descriptor("application/json", inline), "data": base64.b64encode(inline).decode()})
    whole_life(client, json.dumps(document).encode() + b"\n", [*blobs, digest_of(inline)], "custom")


@suite.case("manifests: image whose digests are all sha512")
def _(client):
    manifest, blobs = make_image(client, "sha512")
    whole_life(client, manifest, blobs, algorithm="sha512")


@suite.case("manifests: several tags with one push, by sha256 and by sha512")
def _(client):
    for algorithm in ("sha256", "sha512"):
        manifest, blobs = make_image(client, algorithm)
        digest = digest_of(manifest, algorithm)
        names = [f"{algorithm}-{number}" for number in range(10)]
        query = "?" + "&".join(f"tag={name}" for name in names)
        answer = status(put_manifest(client, manifest, digest, query=query), 201)
        given = ", ".join(answer.headers.get_all("OCI-Tag") or [])
        equal(sorted(name.strip() for name in given.split(",")), sorted(names), "OCI-Tag")
        check(set(names) <= set(tags(client)), "a tag is missing in the list")
        for name in names:
            manifest_is(client, manifest, name, OCI_MANIFEST, algorithm)
        delete_manifest(client, names[0])
        manifest_is(client, manifest, names[1], OCI_MANIFEST, algorithm)
        delete_manifest(client, digest)
        check(not set(names) & set(tags(client)), "a tag outlived its manifest")
        for blob in blobs:
            delete_blob(client, blob)


@suite.case("manifests: a push under another digest, a digest that is none, missing blobs")
def _(client):
    manifest, _ = make_image(client)
    refused(put_manifest(client, manifest, digest_of(b"something else")), 400)
    refused(put_manifest(client, manifest, "sha256:baddigeststring"), 400)
    refused(client.registry("GET", f"/v2/{REPOSITORY}/manifests/sha256:baddigeststring"), 400, 404)
    document = json.loads(manifest)
    document["layers"][0] = descriptor(OCI_LAYER, os.urandom(8))
    answer = refused(put_manifest(client, encode(document), "missing-blob"), 400, 404)
    check("MANIFEST_BLOB_UNKNOWN" in answer.codes(), f"codes are {answer.codes()}")


@suite.case("manifests: what is not there, and a tag that cannot exist")
def _(client):
    for reference in ("never-pushed", digest_of(rand().encode()), digest_of(rand().encode(), "sha512")):
        status(client.registry("HEAD", f"/v2/{REPOSITORY}/manifests/{reference}"), 404)
        answer = refused(client.registry("GET", f"/v2/{REPOSITORY}/manifests/{reference}"), 404)
        check("MANIFEST_UNKNOWN" in answer.codes(), f"codes are {answer.codes()}")
    refused(client.registry("GET", f"/v2/{REPOSITORY}/manifests/.INVALID_MANIFEST_NAME"), 400, 404)


@suite.case("manifests: body and Content-Type that contradict each other, and no JSON at all")
def _(client):
    manifest, _ = make_image(client)
    refused(put_manifest(client, manifest, "wrong-type", OCI_INDEX), 400)
    refused(put_manifest(client, b"not json", "not-json"), 400)
    both = json.loads(manifest)
    both["manifests"] = []
    refused(put_manifest(client, encode(both), "both"), 400)


@suite.case("manifests: a matching If-None-Match is 304")
def _(client):
    manifest, _ = make_image(client)
    digest = push_manifest(client, manifest)
    target = f"/v2/{REPOSITORY}/manifests/{digest}"
    tag = status(client.registry("GET", target), 200).header("ETag")
    equal(tag, f'"{digest}"', "ETag")
    status(client.registry("GET", target, headers=[("If-None-Match", tag)]), 304)
    delete_manifest(client, digest)


# ------------------------------------------------------------------------------------------- tags and referrers


@suite.case("tags: byte order, n, last with and without n, n=0, Link to the end")
def _(client):
    manifest, _ = make_image(client)
    place = f"conformance/tags-{rand()}"
    document = json.loads(manifest)
    for entry in [document["config"], *document["layers"]]:
        answer = client.registry("POST", f"/v2/{place}/blobs/uploads/?mount={entry['digest']}&from={REPOSITORY}")
        status(answer, 201)
    names = ["B", "a", "_x", "1", "test3", "test1", "test0", "test2", "z-9", "A.1"]
    for name in names:
        status(put_manifest(client, manifest, name, repository=place), 201)
    ordered = sorted(names, key=str.encode)
    equal(tags(client, repository=place), ordered, "the whole list")
    equal(tags(client, "?n=4", place), ordered[:4], "n=4")
    equal(tags(client, f"?n=4&last={ordered[3]}", place), ordered[4:8], "n=4 and last")
    equal(tags(client, "?last=B", place), [name for name in ordered if name.encode() > b"B"], "last alone")
    equal(tags(client, "?last=Bb", place), [name for name in ordered if name.encode() > b"Bb"], "last that is no tag")
    equal(tags(client, "?n=0", place), [], "n=0")
    seen, target = [], f"/v2/{place}/tags/list?n=3"
    while target:
        answer = status(client.registry("GET", target), 200)
        seen += answer.json()["tags"]
        link = answer.header("Link")
        check(link is None or 'rel="next"' in link, f"Link is {link}")
        target = link.split("<")[1].split(">")[0] if link else None
    equal(seen, ordered, "all pages together")
    refused(client.registry("GET", f"/v2/{place}/tags/list?n=-1"), 400)
    digest = digest_of(manifest)
    delete_manifest(client, "a", place)
    equal(tags(client, repository=place), [name for name in ordered if name != "a"], "the list without one")
    delete_manifest(client, digest, place)
    after = client.registry("GET", f"/v2/{place}/tags/list")
    status(after, 200, 404)
    check(after.status == 404 or not after.json()["tags"], f"tags of a deleted manifest: {after}")


@suite.case("tags: a tag moves to another manifest")
def _(client):
    first, _ = make_image(client)
    second, _ = make_image(client)
    push_manifest(client, first, "moving")
    push_manifest(client, second, "moving")
    manifest_is(client, first, digest_of(first), OCI_MANIFEST)
    delete_manifest(client, digest_of(second))
    refused(client.registry("GET", f"/v2/{REPOSITORY}/manifests/moving"), 404)
    delete_manifest(client, digest_of(first))


@suite.case("referrers: by artifactType, by the config's type, of an index, filtered, with annotations")
def _(client):
    subject, _ = make_image(client)
    push_manifest(client, subject)
    about = descriptor(OCI_MANIFEST, subject)
    push_blob(client, b"{}")
    config = encode({"n": rand()})
    push_blob(client, config)
    empty = descriptor(OCI_EMPTY, b"{}")
    head = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "subject": about}
    typed = "application/vnd.example.sbom"
    manifests = {
        typed: encode(
            {**head, "artifactType": typed, "config": empty, "layers": [empty], "annotations": {"org.example.a": "1"}}
        ),
        "application/vnd.example.config": encode(
            {**head, "config": descriptor("application/vnd.example.config", config), "layers": [empty]}
        ),
        "application/vnd.example.index": encode(
            {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "artifactType": "application/vnd.example.index",
                "manifests": [],
                "subject": about,
            }
        ),
        None: encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "subject": about}),
    }
    for kind, data in manifests.items():
        media_type = json.loads(data)["mediaType"]
        push_manifest(client, data, "sbom" if kind == typed else None, media_type, subject=about["digest"])
    answer, found = referrers(client, about["digest"])
    check(answer.header("OCI-Filters-Applied") is None, "a filter was applied without being asked for")
    equal(len(found), len(manifests), "number of referrers")
    for kind, data in manifests.items():
        entry = found[digest_of(data)]
        equal(entry.get("artifactType"), kind, "artifactType of a referrer")
        equal(entry["size"], len(data), "size of a referrer")
        equal(entry["mediaType"], json.loads(data)["mediaType"], "mediaType of a referrer")
        equal(entry.get("annotations"), json.loads(data).get("annotations"), "annotations of a referrer")
    answer, found = referrers(client, about["digest"], f"?artifactType={typed}")
    header_is(answer, "OCI-Filters-Applied", "artifactType")
    equal(list(found), [digest_of(manifests[typed])], "the filtered referrers")
    delete_manifest(client, digest_of(manifests[typed]))
    check(
        digest_of(manifests[typed]) not in referrers(client, about["digest"])[1], "a deleted referrer is still listed"
    )
    for kind, data in manifests.items():
        if kind != typed:
            delete_manifest(client, digest_of(data))
    equal(referrers(client, about["digest"])[1], {}, "referrers after the deletion")
    delete_manifest(client, about["digest"])


@suite.case("referrers: a subject that is not here")
def _(client):
    push_blob(client, b"{}")
    empty = descriptor(OCI_EMPTY, b"{}")
    missing = descriptor(OCI_MANIFEST, rand().encode())
    data = encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "a/b",
            "config": empty,
            "layers": [empty],
            "subject": missing,
        }
    )
    push_manifest(client, data, subject=missing["digest"])
    equal(list(referrers(client, missing["digest"])[1]), [digest_of(data)], "referrers of the missing subject")
    delete_manifest(client, digest_of(data))


@suite.case("referrers: a malformed digest is 400")
def _(client):
    for text in ("sha256:short", "nothing", "md5:" + "a" * 32):
        refused(client.registry("GET", f"/v2/{REPOSITORY}/referrers/{text}"), 400)


# ----------------------------------------------------------------------------------------------------- deletion


@suite.case("deletion: blobs before their manifest, then the manifest, then the blobs again")
def _(client):
    manifest, blobs = make_image(client)
    digest = push_manifest(client, manifest)
    for blob in blobs:
        # Refusing is right while the manifest needs them; removing them is allowed too.
        status(client.registry("DELETE", f"/v2/{REPOSITORY}/blobs/{blob}"), 202, 405)
    delete_manifest(client, digest)
    for blob in blobs:
        status(client.registry("DELETE", f"/v2/{REPOSITORY}/blobs/{blob}"), 202, 404)
        status(client.registry("HEAD", f"/v2/{REPOSITORY}/blobs/{blob}"), 404)


@suite.case("deletion: gone here, still served from another repository, and pushed again")
def _(client):
    data = os.urandom(4096)
    push_blob(client, data)
    digest = digest_of(data)
    push_blob(client, data, SOURCE)
    delete_blob(client, digest)
    blob_is(client, digest, data, SOURCE)
    push_blob(client, data)
    blob_is(client, digest, data)
    delete_blob(client, digest)
    delete_blob(client, digest, SOURCE)
    refused(client.registry("DELETE", f"/v2/{REPOSITORY}/blobs/{digest}"), 404)
