"""Automation that speaks the REST API: what infrastructure-as-code tools send, in their order, and read back."""

import json
import secrets

from support.server import ADMIN
from support.suite import Suite, check, equal
from world import OCI_INDEX

suite = Suite("automation")


class Api:
    """Requests as one account, each with the status that it must have."""

    def __init__(self, client):
        self.client = client

    def __call__(self, status, method, path, **body):
        answer = self.client.api(method, path, body or None)
        equal(answer.status, status, f"{method} {path}: {answer}")
        return answer

    def create(self, path, **body):
        """Creates something; returns its path below the API's root, from Location."""
        answer = self(201, "POST", path, **body)
        location = answer.header("location")
        check(location and location.startswith("/api/v2.0/"), f"Location of POST {path}: {location}")
        return location.removeprefix("/api/v2.0")

    def read(self, path):
        return self(200, "GET", path).json()


@suite.case("a plan is applied, read back, changed and destroyed, as infrastructure-as-code tools do it")
def _(world):
    api = Api(world.server.client(*ADMIN))
    name = f"plan-{secrets.token_hex(3)}"
    person = f"plan-{secrets.token_hex(3)}"

    # Applied.
    project = api.create("/projects", project_name=name, metadata={"public": "false"}, storage_limit=5 * 2**30)
    number = api.read(project)["project_id"]
    equal(api.read(f"/projects/{name}")["project_id"], number, "the project by name")
    user = api.create("/users", username=person, email=f"{person}@example.org", realname="P", password="Lantern-Quay-77a")
    member = api.create(f"/projects/{number}/members", role_id=2, member_user={"username": person})
    permissions = [{"kind": "project", "namespace": name, "access": [{"resource": "repository", "action": "pull"}]}]
    made = api(201, "POST", "/robots", name="ci", level="project", duration=30, permissions=permissions).json()
    robot = f"/robots/{made['id']}"
    equal(made["name"], f"robot${name}+ci", "the robot's whole name")
    label = api.create("/labels", name="stable", color="#00ff00", scope="p", project_id=number)
    [quota] = api.read(f"/quotas?reference=project&reference_id={number}")
    rule = {
        "disabled": False,
        "action": "immutable",
        "template": "immutable_template",
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "v*"}],
        "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]},
    }
    immutable = api.create(f"/projects/{number}/immutabletagrules", **rule)

    # Read back: a second plan would change nothing.
    equal(api.read(f"/projects/{number}")["metadata"]["public"], "false", "public")
    equal(quota["hard"]["storage"], 5 * 2**30, "the limit")
    equal(api.read(user)["username"], person, "the user")
    equal(api.read(member)["role_id"], 2, "the member's role")
    equal(api.read(robot)["permissions"][0]["access"][0]["action"], "pull", "the robot's right")
    equal(api.read(label)["color"], "#00ff00", "the label")
    [held] = api.read(f"/projects/{number}/immutabletagrules")
    equal(held["tag_selectors"][0]["pattern"], "v*", "the rule")

    # Changed.
    api(200, "PUT", f"/projects/{number}", metadata={"public": "true"})
    api(200, "PUT", member, role_id=3)
    access = [{"resource": "repository", "action": action} for action in ("pull", "push")]
    permissions[0]["access"] = access
    api(200, "PUT", robot, name=made["name"], level="project", duration=60, disable=False, permissions=permissions)
    api(200, "PUT", label, name="stable", color="#0000ff", scope="p", project_id=number)
    api(200, "PUT", f"/quotas/{quota['id']}", hard={"storage": 2**30})
    rule["tag_selectors"][0]["pattern"] = "release-*"
    api(200, "PUT", immutable, id=held["id"], **rule)
    equal(api.read(f"/projects/{number}")["metadata"]["public"], "true", "public")
    equal(api.read(member)["role_id"], 3, "the member's role")
    equal(len(api.read(robot)["permissions"][0]["access"]), 2, "the robot's rights")
    equal(api.read(label)["color"], "#0000ff", "the label")
    equal(api.read(f"/quotas/{quota['id']}")["hard"]["storage"], 2**30, "the limit")
    [held] = api.read(f"/projects/{number}/immutabletagrules")
    equal(held["tag_selectors"][0]["pattern"], "release-*", "the rule")

    # Destroyed, in the other direction.
    for path in (immutable, label, robot, member, project, user):
        api(200, "DELETE", path)
    for path in (robot, label, user):
        api(404, "GET", path)
    # Unknown and forbidden are told apart for administrators only.
    api(404, "GET", f"/projects/{number}")


@suite.case("a tag under an immutable rule stays what it is for docker, crane and the API, and others move")
def _(world):
    client = world.server.client(*ADMIN)
    api = Api(client)
    name = f"fixed-{secrets.token_hex(3)}"
    project = api.create("/projects", project_name=name, metadata={"public": "false"})
    number = api.read(project)["project_id"]
    rule = {
        "disabled": False,
        "action": "immutable",
        "template": "immutable_template",
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "v*"}],
        "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]},
    }
    def push(tag):
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [],
            "annotations": {"n": secrets.token_hex(4)},
        }
        target = f"/v2/{name}/app/manifests/{tag}"
        headers = [("Content-Type", manifest["mediaType"])]
        return client.registry("PUT", target, json.dumps(manifest).encode(), headers)

    equal(push("v1").status, 201, "the first push")
    equal(push("latest").status, 201, "the first push of another tag")
    api.create(f"/projects/{number}/immutabletagrules", **rule)
    refused = push("v1")
    equal(refused.status, 412, f"a second push of the tag: {refused}")
    equal(push("latest").status, 201, "another tag moves")
    equal(push("v2").status, 201, "a new tag under the rule")
    api(412, "DELETE", f"/projects/{name}/repositories/app/artifacts/v1/tags/v1")
    api(412, "DELETE", f"/projects/{name}/repositories/app/artifacts/v1")
    shown = api.read(f"/projects/{name}/repositories/app/artifacts?with_tag=true&with_immutable_status=true")
    tags = {tag["name"]: tag.get("immutable", False) for artifact in shown for tag in artifact.get("tags") or []}
    equal(tags, {"v1": True, "v2": True, "latest": False}, "what the list says of its tags")
