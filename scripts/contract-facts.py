#!/usr/bin/python3
"""Extracts facts from an API description in the form of Swagger 2.0: names, places, types and statuses, nothing that
anybody wrote as prose.

    scripts/contract-facts.py SWAGGER.yaml > crates/testbed/tests/it/contract/facts.json

Only the operations of contract/operations.txt are looked at, one line of JSON each. The contract test compares a
running server with them. Needs Debian's python3-yaml.

A type is a word (`string`, `integer`, `number`, `boolean`, `object` for one with any keys), `[type]` for a list, an
object of types for an object, `{"*": type}` for one with any keys and values of one type.
"""

import json
import sys
from pathlib import Path

import yaml

CONTRACT = Path(__file__).resolve().parent.parent / "crates/testbed/tests/it/contract"


class Description:
    def __init__(self, root):
        self.root = root

    def resolve(self, node):
        """The node, or what it refers to."""
        while "$ref" in node:
            _, *names = node["$ref"].split("/")
            node = self.root
            for name in names:
                node = node[name]
        return node

    def type(self, schema, above=()):
        reference = schema.get("$ref")
        if reference in above:
            return "object"
        above = (*above, reference) if reference else above
        schema = self.resolve(schema)
        if "allOf" in schema:
            return {key: value for part in schema["allOf"] for key, value in self.type(part, above).items()}
        kind = schema.get("type", "object")
        if kind == "array":
            return [self.type(schema["items"], above)]
        if kind != "object":
            return kind
        if "properties" in schema:
            return {name: self.type(inner, above) for name, inner in sorted(schema["properties"].items())}
        inner = schema.get("additionalProperties")
        return {"*": self.type(inner, above)} if inner else "object"

    def parameters(self, path, operation):
        return map(self.resolve, [*path.get("parameters", []), *operation.get("parameters", [])])

    def facts(self, method, path):
        item = self.root["paths"].get(path) or self.root["paths"][path + "/"]
        operation = item[method.lower()]
        facts = {"id": operation["operationId"], "method": method, "path": path, "parameters": [], "success": {}}
        for parameter in self.parameters(item, operation):
            if parameter["in"] == "body":
                facts["request"] = self.type(parameter["schema"])
                continue
            shown = {key: parameter[key] for key in ("name", "in", "type", "enum", "maximum") if key in parameter}
            facts["parameters"].append({**shown, "required": parameter.get("required", False)})
        facts["statuses"] = sorted(int(status) for status in operation["responses"])
        for status in (status for status in facts["statuses"] if status < 300):
            response = self.resolve(operation["responses"].get(str(status)) or operation["responses"][status])
            shown = {"headers": sorted(response.get("headers", {}))}
            if "schema" in response:
                shown["body"] = self.type(response["schema"])
            facts["success"][str(status)] = shown
        return facts


def main():
    description = Description(yaml.safe_load(Path(sys.argv[1]).read_text()))
    lines = (CONTRACT / "operations.txt").read_text().splitlines()
    wanted = [line.split() for line in lines if line and not line.startswith("#")]
    facts = [json.dumps(description.facts(method, path.rstrip("/")), sort_keys=True) for method, path in wanted]
    print("[\n" + ",\n".join(facts) + "\n]")


main()
