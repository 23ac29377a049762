//! The reference of the REST API, from the description that the service itself makes.

use std::sync::{Arc, OnceLock};

use actix_web::HttpResponse;
use askama::Template;
use serde_json::Value;

use crate::failure::Failure;
use crate::shell::Shell;
use crate::view::View;

/// Deeper schemas are named instead of shown.
const DEPTH_MAX: usize = 4;

/// The description of the API, read at first use.
#[derive(Clone)]
pub struct Api {
    make: fn() -> String,
    read: Arc<OnceLock<Vec<Operation>>>,
}

impl Api {
    /// `make` writes an OpenAPI document.
    pub fn new(make: fn() -> String) -> Self {
        Self { make, read: Arc::default() }
    }

    fn operations(&self) -> &[Operation] {
        self.read.get_or_init(|| {
            let document = serde_json::from_str((self.make)().as_str()).unwrap_or_else(|error| {
                tracing::error!(error = %error, "the description of the API cannot be read");
                Value::Null
            });
            operations(&document)
        })
    }
}

/// A method at a path.
struct Operation {
    id: String,
    method: String,
    path: String,
    group: String,
    summary: String,
    description: String,
    parameters: Vec<Parameter>,
    /// What to send, as an example of its form.
    body: Option<String>,
    answers: Vec<Answer>,
}

struct Parameter {
    name: String,
    /// `path`, `query` or `header`.
    place: String,
    kind: String,
    required: bool,
    description: String,
}

struct Answer {
    status: String,
    description: String,
    body: Option<String>,
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// The value itself, or what its `$ref` names.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    value["$ref"].as_str().and_then(|path| document.pointer(path.strip_prefix('#')?)).unwrap_or(value)
}

/// The form of a schema, with types in place of values.
fn form(document: &Value, schema: &Value, depth: usize) -> Value {
    let named = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    if let (Some(name), true) = (named, depth >= DEPTH_MAX) {
        return name.into();
    }
    let schema = resolved(document, schema);
    for several in ["allOf", "oneOf", "anyOf"] {
        if let Some(parts) = schema[several].as_array() {
            let mut whole = serde_json::Map::new();
            let mut other = Value::Null;
            for part in parts {
                match form(document, part, depth + 1) {
                    Value::Object(fields) => whole.extend(fields),
                    value => other = value,
                }
            }
            return if whole.is_empty() { other } else { whole.into() };
        }
    }
    if let Some(fields) = schema["properties"].as_object() {
        return fields
            .iter()
            .map(|(name, field)| (name.clone(), form(document, field, depth + 1)))
            .collect::<serde_json::Map<_, _>>()
            .into();
    }
    let kind = kind(schema);
    if kind == "array" {
        return vec![form(document, &schema["items"], depth + 1)].into();
    }
    kind.into()
}

/// The type of a schema, without `null`.
fn kind(schema: &Value) -> String {
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        kind => kind.as_str(),
    };
    let kind = kind.unwrap_or("object");
    match schema["format"].as_str() {
        Some(format) if kind == "string" => format.to_owned(),
        _ => kind.to_owned(),
    }
}

/// What a body looks like, when there is one.
fn body(document: &Value, content: &Value) -> Option<String> {
    let (media_type, content) = content.as_object()?.iter().next()?;
    let form = form(document, &content["schema"], 0);
    if media_type.contains("json") {
        serde_json::to_string_pretty(&form).ok()
    } else {
        Some(media_type.clone())
    }
}

fn operations(document: &Value) -> Vec<Operation> {
    let none = serde_json::Map::new();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap_or(&none) {
        for (method, operation) in methods.as_object().unwrap_or(&none) {
            if operation["operationId"].is_null() {
                continue;
            }
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let parameters =
                parameters.map(|parameter| resolved(document, parameter)).map(|parameter| Parameter {
                    name: text(parameter, "name"),
                    place: text(parameter, "in"),
                    kind: kind(&parameter["schema"]),
                    required: parameter["required"] == true || parameter["in"] == "path",
                    description: text(parameter, "description"),
                });
            let answers =
                operation["responses"].as_object().unwrap_or(&none).iter().map(|(status, answer)| {
                    let answer = resolved(document, answer);
                    let body =
                        if status.starts_with('2') { body(document, &answer["content"]) } else { None };
                    Answer { status: status.clone(), description: text(answer, "description"), body }
                });
            operations.push(Operation {
                id: text(operation, "operationId"),
                method: method.to_uppercase(),
                path: path.clone(),
                group: operation["tags"][0].as_str().unwrap_or_default().to_owned(),
                summary: text(operation, "summary"),
                description: text(operation, "description"),
                parameters: parameters.collect(),
                body: body(document, &operation["requestBody"]["content"]),
                answers: answers.collect(),
            });
        }
    }
    operations.sort_by(|one, other| {
        (&one.group, &one.path, &one.method).cmp(&(&other.group, &other.path, &other.method))
    });
    operations
}

#[derive(Template)]
#[template(path = "docs/api.html")]
struct ListPage<'a> {
    s: Shell,
    q: String,
    groups: Vec<(&'a str, Vec<&'a Operation>)>,
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    let platform = view.state.platform.clone().ok_or_else(Failure::hidden)?;
    let q = view.query("q").unwrap_or_default();
    let wanted = q.to_lowercase();
    let hit = |operation: &&Operation| {
        [&operation.id, &operation.method, &operation.path, &operation.summary, &operation.group]
            .iter()
            .any(|text| text.to_lowercase().contains(&wanted))
    };
    let mut groups: Vec<(&str, Vec<&Operation>)> = Vec::new();
    for operation in platform.api.operations().iter().filter(hit) {
        match groups.last_mut() {
            Some((group, held)) if *group == operation.group => held.push(operation),
            _ => groups.push((&operation.group, vec![operation])),
        }
    }
    let s = view.shell("docs", view.t("docs-api-title")).crumb(view.t("docs-title"), "/docs");
    view.page(&ListPage { s, q, groups })
}

#[derive(Template)]
#[template(path = "docs/operation.html")]
struct OperationPage<'a> {
    s: Shell,
    operation: &'a Operation,
    curl: String,
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let platform = view.state.platform.clone().ok_or_else(Failure::hidden)?;
    let id = view.segment("operation");
    let operation = platform.api.operations().iter().find(|operation| operation.id == id);
    let operation = operation.ok_or_else(Failure::hidden)?;
    let user = view.signed_in.as_ref().map_or("USER", |signed_in| signed_in.user.name.as_str());
    let method = if operation.method == "GET" { String::new() } else { format!("-X {} ", operation.method) };
    let body =
        if operation.body.is_some() { " -H 'Content-Type: application/json' -d @body.json" } else { "" };
    let url = view.external_url();
    let curl = format!("curl -u {user} {method}'{url}{}'{body}", operation.path);
    let s = view
        .shell("docs", operation.summary.clone())
        .crumb(view.t("docs-title"), "/docs")
        .crumb(view.t("docs-api-title"), "/docs/api");
    view.page(&OperationPage { s, operation, curl })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_are_read_with_what_they_name() {
        let document = json!({
            "paths": {"/a/{id}": {"put": {
                "operationId": "putA", "summary": "Put it", "tags": ["a"],
                "parameters": [{"$ref": "#/components/parameters/id"}],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/A"}}}},
                "responses": {"200": {"description": "Done"}, "404": {"$ref": "#/components/responses/404"}},
            }}},
            "components": {
                "parameters": {"id": {"name": "id", "in": "path", "schema": {"type": "integer"}}},
                "responses": {"404": {"description": "Nothing there"}},
                "schemas": {"A": {"properties": {"name": {"type": ["string", "null"]}, "more": {"type": "array",
                    "items": {"$ref": "#/components/schemas/A"}}}}},
            },
        });
        let read = operations(&document);
        assert_eq!(read.len(), 1);
        let (parameter, answers) = (&read[0].parameters[0], &read[0].answers);
        assert_eq!(
            (parameter.name.as_str(), parameter.kind.as_str(), parameter.required),
            ("id", "integer", true)
        );
        assert_eq!(answers[1].description, "Nothing there");
        let body = read[0].body.clone().unwrap_or_default();
        assert!(body.contains("\"name\": \"string\"") && body.contains("\"A\""), "{body}");
    }
}
