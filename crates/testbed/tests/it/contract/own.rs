//! The server's own description, and answers compared with it: what it says about itself has to be true.

use hythe_testbed::{Answer, Bed};
use serde_json::{Map, Value};

/// The description as the server hands it out.
pub struct Own(Value);

impl Own {
    pub async fn of(bed: &Bed) -> Self {
        Self(bed.nobody().get("/api/v2.0/openapi.json").await.expect(200).json())
    }

    fn resolved<'a>(&'a self, node: &'a Value) -> &'a Value {
        match node["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
            Some(pointer) => self.0.pointer(pointer).unwrap_or(&Value::Null),
            None => node,
        }
    }

    /// What is wrong with an answer to the operation.
    pub fn complaints(&self, id: &str, answer: &Answer) -> Vec<String> {
        let methods =
            self.0["paths"].as_object().into_iter().flat_map(Map::values).filter_map(Value::as_object);
        let operation = methods.flat_map(Map::values).find(|operation| operation["operationId"] == id);
        let Some(operation) = operation else { return vec![format!("{id} is not described")] };
        let response = self.resolved(&operation["responses"][answer.status.to_string()]);
        if response.is_null() {
            return vec![format!("its description knows no such status: {answer}")];
        }
        let mut wrong = Vec::new();
        for name in response["headers"].as_object().into_iter().flat_map(Map::keys) {
            // There is not always another page.
            if name != "Link" && answer.header(name).is_empty() {
                wrong.push(format!("described header {name} is missing: {answer}"));
            }
        }
        let kind = answer.header("content-type").split(';').next().unwrap_or_default();
        match response["content"].as_object() {
            _ if answer.request.starts_with("HEAD") => {}
            None if answer.body.is_empty() => {}
            _ if answer.body.is_empty() && super::tables::MAY_BE_EMPTY.contains(&id) => {}
            None => wrong.push(format!("a body that is not described: {answer}")),
            Some(content) => match content.get(kind) {
                Some(described) if kind == "application/json" => {
                    let mut found = Vec::new();
                    self.compare(&described["schema"], &answer.json(), "", &mut found);
                    wrong.extend(found.into_iter().map(|what| format!("not as described, {what}: {answer}")));
                }
                Some(_) => {}
                None => wrong.push(format!("media type {kind:?} is not described: {answer}")),
            },
        }
        wrong
    }

    /// Properties of an object's schema, those of its parts included; none when it may have any.
    fn properties<'a>(&'a self, schema: &'a Value) -> Option<Vec<(&'a String, &'a Value)>> {
        let schema = self.resolved(schema);
        if let Some(parts) = schema["allOf"].as_array() {
            let parts: Option<Vec<_>> = parts.iter().map(|part| self.properties(part)).collect();
            return parts.map(|parts| parts.into_iter().flatten().collect());
        }
        Some(schema["properties"].as_object()?.iter().collect())
    }

    fn compare(&self, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        let schema = self.resolved(schema);
        if let Some(choices) = schema["oneOf"].as_array() {
            let fits = |choice: &Value| {
                let mut found = Vec::new();
                self.compare(choice, value, at, &mut found);
                found.is_empty()
            };
            if !choices.iter().any(fits) {
                wrong.push(format!("{at} is none of {choices:?}"));
            }
            return;
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        if !kinds.is_empty() && !kinds.contains(&kind) {
            return wrong.push(format!("{at} is {kind} and not {kinds:?}"));
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.required(self.resolved(part), value, at, wrong);
        }
        self.required(schema, value, at, wrong);
        match value {
            Value::Array(items) if !schema["items"].is_null() => {
                for item in items {
                    self.compare(&schema["items"], item, &format!("{at}/*"), wrong);
                }
            }
            Value::Object(fields) => {
                let known = self.properties(schema);
                let others = &schema["additionalProperties"];
                for (name, field) in fields {
                    let property = known.iter().flatten().find(|(known, _)| *known == name);
                    match property {
                        Some((_, property)) => self.compare(property, field, &format!("{at}/{name}"), wrong),
                        None if others.is_object() => self.compare(others, field, &format!("{at}/*"), wrong),
                        None if known.is_some() => wrong.push(format!("{at}/{name} is unknown")),
                        None => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn required(&self, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if value.get(name).is_none() {
                wrong.push(format!("{at}/{name} is missing"));
            }
        }
    }
}

#[test]
fn the_description_is_compared_to_the_letter() {
    use serde_json::json;
    let own = Own(json!({"components": {"schemas": {
        "Part": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}},
        "Whole": {"allOf": [{"$ref": "#/components/schemas/Part"},
            {"type": "object", "properties": {"tags": {"type": ["array", "null"], "items": {"type": "string"}},
                "more": {"type": "object", "additionalProperties": {"type": "boolean"}},
                "part": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Part"}]}}}]},
    }}}));
    let whole = json!({"$ref": "#/components/schemas/Whole"});
    for (value, expected) in [
        (json!({"id": 1, "tags": null, "more": {"a": true}, "part": {"id": 1}}), vec![]),
        (json!({"tags": ["a"]}), vec!["/id is missing"]),
        (json!({"id": 1, "extra": 1}), vec!["/extra is unknown"]),
        (json!({"id": 1, "tags": [1]}), vec!["/tags/* is integer and not [\"string\"]"]),
        (json!({"id": 1, "more": {"a": 1}}), vec!["/more/* is integer and not [\"boolean\"]"]),
    ] {
        let mut wrong = Vec::new();
        own.compare(&whole, &value, "", &mut wrong);
        assert_eq!(wrong, expected, "{value}");
    }
    let mut wrong = Vec::new();
    own.compare(&whole, &json!({"id": 1, "part": {"id": "1"}}), "", &mut wrong);
    assert_eq!(wrong.len(), 1, "{wrong:?}");
}
