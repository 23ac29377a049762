"""Signatures and attestations: cosign in its three forms, notation, and how they travel with a copy.

Nothing is sent to a transparency log, and no trust root is fetched: keys and certificates are made on the spot.
"""

import json

from support.suite import Suite, check, equal, run
from world import CREDENTIALS, OCI_INDEX, PASSWORD

suite = Suite("signing")

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
COSIGN_ARTIFACT = "application/vnd.dev.cosign.artifact.sig.v1+json"
NOTATION = "application/vnd.cncf.notary.signature"

OFFLINE = ["--use-signing-config=false", "--tlog-upload=false", "--yes"]
LEGACY = "--new-bundle-format=false"


class Cosign:
    """The `cosign` command of somebody with two key pairs, `right` and `wrong`."""

    def __init__(self, world):
        self.home, self.environment = world.signed_in("cosign", "crane", "oras")
        self.environment["COSIGN_PASSWORD"] = "no secret"
        for name in ("right", "wrong"):
            self("generate-key-pair", "--output-key-prefix", name)

    def __call__(self, *arguments, **how):
        return run("cosign", *arguments, env=self.environment, cwd=self.home, **how)

    def sign(self, reference, *options, key="right", **how):
        return self("sign", "--key", f"{key}.key", "--allow-http-registry", *OFFLINE, *options, reference, **how)

    def verify(self, reference, *options, key="right", **how):
        options = ["--allow-http-registry", "--insecure-ignore-tlog", *options]
        return self("verify", "--key", f"{key}.pub", *options, reference, **how)

    def refused(self, reference, *options):
        """The other key's verification must fail, and because of the signature."""
        text = self.verify(reference, *options, key="wrong", expect=None)
        bad = "failed to verify signature" in text or "invalid signature" in text
        check(bad, f"another failure than a bad signature:\n{text}")

    def tree(self, reference):
        return self("tree", "--allow-http-registry", reference)


def image(world, cosign, repository, tag="1"):
    """Pushes an image; returns its name with the digest, which is what gets signed."""
    world.crane_image(cosign.home, cosign.environment, f"{world.host}/{repository}:{tag}", 2_000)
    return f"{world.host}/{repository}@{world.digest(repository, tag)}"


def tag_of(digest, suffix):
    """The tag under which cosign's older form keeps things for a manifest."""
    return f"{digest.replace(':', '-')}.{suffix}"


@suite.case("cosign sign and verify with a bundle as a referrer; another key is refused")
def _(world):
    cosign = Cosign(world)
    signed = image(world, cosign, "closed/bundle")
    tagged = f"{world.host}/closed/bundle:1"
    cosign.verify(signed, expect=None)
    cosign.sign(signed)
    claim = json.loads(cosign.verify(tagged).splitlines()[-1])
    digest = world.digest("closed/bundle", "1")
    equal(claim[0]["critical"]["image"]["docker-manifest-digest"], digest, "the digest in the verified claim")
    cosign.refused(tagged)
    [held] = world.referrers("closed/bundle", "1")
    equal(held["artifactType"], BUNDLE, "the type of the referrer")
    equal(world.accessories("closed/bundle", "1"), ["signature.cosign"], "what the REST API shows as attached")
    check(held["digest"] in cosign.tree(tagged) or "via OCI referrer" in cosign.tree(tagged), "not in cosign tree")
    cosign.sign(signed, "--annotations", "by=second", key="wrong")
    cosign.verify(tagged, "--annotations", "by=second", key="wrong")
    cosign.verify(tagged)
    equal(len(world.referrers("closed/bundle", "1")), 2, "the number of referrers after the second signature")
    equal(world.tags("closed/bundle"), ["1"], "the tags: none is made for a bundle")


@suite.case("cosign sign and verify with a .sig tag, twice; another key is refused; cosign clean removes it")
def _(world):
    cosign = Cosign(world)
    signed = image(world, cosign, "closed/legacy")
    cosign.sign(signed, LEGACY)
    cosign.verify(signed, LEGACY)
    cosign.refused(signed, LEGACY)
    place = tag_of(world.digest("closed/legacy", "1"), "sig")
    equal(world.tags("closed/legacy"), ["1", place], "the tags")
    held = world.manifest("closed/legacy", place)
    equal([layer["mediaType"] for layer in held["layers"]], [SIMPLE_SIGNING], "the signatures under the tag")
    first = world.digest("closed/legacy", place)
    cosign.sign(signed, LEGACY, key="wrong")
    check(world.digest("closed/legacy", place) != first, "the tag did not move with the second signature")
    equal(len(world.manifest("closed/legacy", place)["layers"]), 2, "the number of signatures under the tag")
    cosign.verify(signed, LEGACY, key="wrong")
    cosign.verify(signed, LEGACY)
    cosign("clean", "--type", "all", "--force", "--allow-http-registry", f"{world.host}/closed/legacy:1")
    equal(world.tags("closed/legacy"), ["1"], "the tags after cosign clean")
    cosign.verify(signed, LEGACY, expect=None)


@suite.case("cosign sign and verify in the experimental referrer form")
def _(world):
    cosign = Cosign(world)
    cosign.environment["COSIGN_EXPERIMENTAL"] = "1"
    signed = image(world, cosign, "closed/experimental")
    cosign.sign(signed, LEGACY, "--registry-referrers-mode=oci-1-1")
    cosign.verify(signed, LEGACY, "--experimental-oci11")
    # In this form cosign does not tell a signature of another key from none.
    cosign.verify(signed, LEGACY, "--experimental-oci11", key="wrong", expect=None)
    [held] = world.referrers("closed/experimental", "1")
    equal(held["artifactType"], COSIGN_ARTIFACT, "the type of the referrer")
    equal(world.accessories("closed/experimental", "1"), ["signature.cosign"], "what the REST API shows as attached")
    equal(world.tags("closed/experimental"), ["1"], "the tags")


@suite.case("cosign attest and verify-attestation, as a referrer and under an .att tag")
def _(world):
    cosign = Cosign(world)
    attested = image(world, cosign, "closed/attested")
    (cosign.home / "predicate.json").write_text('{"tested": true}')
    claim = ["--predicate", "predicate.json", "--type", "custom", "--allow-http-registry"]
    look = ["--type", "custom", "--allow-http-registry", "--insecure-ignore-tlog"]
    for form in ([], [LEGACY]):
        cosign("attest", "--key", "right.key", *claim, *OFFLINE, *form, attested)
        payload = cosign("verify-attestation", "--key", "right.pub", *look, *form, attested)
        check("application/vnd.in-toto+json" in payload, f"no attestation in:\n{payload}")
        cosign("verify-attestation", "--key", "wrong.pub", *look, *form, attested, expect=None)
    equal([one["artifactType"] for one in world.referrers("closed/attested", "1")], [BUNDLE], "the referrers")
    place = tag_of(world.digest("closed/attested", "1"), "att")
    equal(world.tags("closed/attested"), ["1", place], "the tags")


@suite.case("a guest verifies a signature but cannot sign")
def _(world):
    cosign = Cosign(world)
    signed = image(world, cosign, "closed/guarded")
    cosign.sign(signed)
    cosign("login", "--username", "guest", "--password-stdin", world.host, stdin=PASSWORD)
    cosign.verify(signed)
    text = cosign.sign(signed, expect=None)
    check("DENIED" in text or "UNAUTHORIZED" in text, f"neither denied nor unauthorized in:\n{text}")
    equal(len(world.referrers("closed/guarded", "1")), 1, "the number of signatures")


@suite.case("signatures travel: oras cp -r takes a bundle along, cosign copy and skopeo the .sig tag")
def _(world):
    cosign = Cosign(world)
    signed = image(world, cosign, "closed/travel")
    cosign.sign(signed)
    cosign.sign(signed, LEGACY)
    digest = world.digest("closed/travel", "1")
    source = f"{world.host}/closed/travel:1"
    place = tag_of(digest, "sig")

    copy = ["oras", "cp", "-r", "--from-plain-http", "--to-plain-http"]
    run(*copy, source, f"{world.host}/other/travel-oras:1", env=cosign.environment)
    cosign.verify(f"{world.host}/other/travel-oras:1")
    equal(world.accessories("other/travel-oras", "1"), ["signature.cosign"], "what is attached to the copy of oras")

    cosign("copy", "--allow-http-registry", source, f"{world.host}/other/travel-cosign:1")
    cosign.verify(f"{world.host}/other/travel-cosign:1", LEGACY)
    check(place in world.tags("other/travel-cosign"), "cosign copy left the tag of the signature behind")

    (cosign.home / "registries.d").mkdir()
    attachments = "default-docker:\n  use-sigstore-attachments: true\n"
    (cosign.home / "registries.d" / "default.yaml").write_text(attachments)
    skopeo = ["skopeo", "--registries.d", cosign.home / "registries.d", "copy"]
    skopeo += ["--src-tls-verify=false", "--dest-tls-verify=false"]
    skopeo += ["--src-creds", CREDENTIALS, "--dest-creds", CREDENTIALS]
    target = f"{world.host}/other/travel-skopeo:1"
    run(*skopeo, f"docker://{source}", f"docker://{target}", env=cosign.environment)
    equal(world.digest("other/travel-skopeo", "1"), digest, "the digest of skopeo's copy")
    cosign.verify(target, LEGACY)
    cosign.refused(target, LEGACY)


class Notation:
    """The `notation` command with a certificate of its own, which is the only one it trusts."""

    def __init__(self, world, name="dev"):
        self.home, self.environment = world.home()
        self.environment |= {"NOTATION_USERNAME": name, "NOTATION_PASSWORD": PASSWORD}
        self("cert", "generate-test", "--default", "hythe.example")
        policy = {
            "name": "everything",
            "registryScopes": ["*"],
            "signatureVerification": {"level": "strict"},
            "trustStores": ["ca:hythe.example"],
            "trustedIdentities": ["*"],
        }
        (self.home / "policy.json").write_text(json.dumps({"version": "1.0", "trustPolicies": [policy]}))
        self("policy", "import", self.home / "policy.json")

    def __call__(self, *arguments, **how):
        return run("notation", *arguments, env=self.environment, **how)


@suite.case("notation sign, list, inspect and verify through the referrers endpoint; another certificate is refused")
def _(world):
    home, environment = world.signed_in("crane")
    world.crane_image(home, environment, f"{world.host}/closed/notation:1", 2_000)
    digest = world.digest("closed/notation", "1")
    signed = f"{world.host}/closed/notation@{digest}"
    notation, stranger = Notation(world), Notation(world, "guest")
    text = notation("verify", "--insecure-registry", signed, expect=None)
    check("no signature is associated" in text, f"another failure than a missing signature:\n{text}")
    for form in ("jws", "cose"):
        options = ["--insecure-registry", "--force-referrers-tag=false", "--signature-format", form]
        notation("sign", *options, signed)
    notation("verify", "--insecure-registry", signed)
    text = stranger("verify", "--insecure-registry", signed, expect=None)
    check("signature verification failed" in text, f"another failure than a bad signature:\n{text}")
    held = world.referrers("closed/notation", "1")
    equal([one["artifactType"] for one in held], [NOTATION] * 2, "the referrers")
    kinds = ["signature.notation"] * 2
    equal(world.accessories("closed/notation", "1"), kinds, "what the REST API shows as attached")
    listed = notation("ls", "--insecure-registry", signed)
    check(all(one["digest"] in listed for one in held), f"not all signatures are in:\n{listed}")
    shown = notation("inspect", "--insecure-registry", signed)
    check("application/jose+json" in shown and "application/cose" in shown, f"not both envelopes in:\n{shown}")
    equal(world.tags("closed/notation"), ["1"], "the tags")
    text = stranger("sign", "--insecure-registry", "--force-referrers-tag=false", signed, expect=None)
    check("denied" in text.lower() or "unauthorized" in text.lower(), f"the guest's signature was not denied:\n{text}")


@suite.case("notation's default, a list of referrers under a tag, works beside the registry's own list")
def _(world):
    home, environment = world.signed_in("crane")
    world.crane_image(home, environment, f"{world.host}/closed/notation-tag:1", 2_000)
    digest = world.digest("closed/notation-tag", "1")
    signed = f"{world.host}/closed/notation-tag@{digest}"
    notation = Notation(world)
    for _ in range(2):
        notation("sign", "--insecure-registry", signed)
    notation("verify", "--insecure-registry", signed)
    place = digest.replace(":", "-")
    equal(world.tags("closed/notation-tag"), ["1", place], "the tags")
    listed = world.manifest("closed/notation-tag", place)
    equal(listed["mediaType"], OCI_INDEX, "the type of the list under the tag")
    held = {one["digest"] for one in world.referrers("closed/notation-tag", "1")}
    equal({one["digest"] for one in listed["manifests"]}, held, "the list under the tag, against the registry's")
    equal(len(held), 2, "the number of signatures")
