//! The description of this API as an OpenAPI document: the operations of the table of routes, with the schemas of
//! the very types that handlers read and write.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use oci::{Algorithm, Digest};
use serde_json::{Map, Value, json};

use crate::context::{Context, Credentials};
use crate::error::Failure;
use crate::operations::{Input, Kind, OPERATIONS, Operation, Parameter, Shape, Success};
use crate::params::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
use crate::routes::{self, Route};

/// The media type of nearly everything.
const JSON: &str = "application/json";

/// Clients may keep it that long without asking; it changes with the version of the server only.
const CACHE: &str = "public, max-age=300";

/// What clients get, without the space between its parts.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| build().to_string());

static TAG: LazyLock<String> =
    LazyLock::new(|| format!("\"{}\"", Digest::of(Algorithm::Sha256, DOCUMENT.as_bytes()).hex()));

/// The description, laid out for people: `docs/openapi.json`.
pub fn document() -> String {
    format!("{:#}\n", build())
}

/// Anybody may read it: it says nothing about this installation but its version.
pub(crate) async fn get(context: Context) -> Result<HttpResponse, Failure> {
    let held = context.header("if-none-match").unwrap_or_default();
    let fresh = held.split(',').map(str::trim).any(|tag| tag.trim_start_matches("W/") == *TAG || tag == "*");
    let mut response = if fresh { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((ETAG, TAG.as_str())).insert_header((CACHE_CONTROL, CACHE));
    if fresh {
        return Ok(response.finish());
    }
    Ok(response.insert_header((CONTENT_TYPE, JSON)).body(DOCUMENT.as_str()))
}

/// Schemas by name, as operations mention them.
#[derive(Default)]
struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    /// Keeps the schema and what it is made of; a reference to it.
    fn reference(&mut self, shape: Shape) -> Value {
        let name = (shape.name)().into_owned();
        let mut parts = vec![(name.clone(), (shape.schema)())];
        (shape.parts)(&mut parts);
        for (name, schema) in parts {
            // A schema is plain data: there is nothing in it that JSON could not say.
            self.0.entry(name).or_insert_with(|| serde_json::to_value(schema).unwrap_or_default());
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }
}

fn build() -> Value {
    let mut schemas = Schemas::default();
    schemas.0.insert("Errors".to_owned(), errors());
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for (route, credentials) in routes::described() {
        // A test holds both tables to the same operations.
        let Some(operation) = OPERATIONS.iter().find(|operation| operation.id == route.id) else { continue };
        paths.entry(route.path).or_default().insert(
            route.method.to_ascii_lowercase(),
            described(route, credentials, operation, &mut schemas),
        );
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Hythe",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE") },
            "description": "The REST API. Clients written for Harbor's API of the same version work unchanged. \
                            Every path also has a form with a slash at its end.",
        },
        "servers": [{ "url": "/" }],
        // Nothing at all is a way to sign in where anybody may ask.
        "security": [{ "basic": [] }, { "bearer": [] }, {}],
        "paths": paths,
        "components": {
            "schemas": schemas.0,
            "securitySchemes": {
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "An account with its password or an access token, or a robot with its secret.",
                },
                "bearer": { "type": "http", "scheme": "bearer", "description": "A personal access token." },
            },
            "headers": {
                "Location": { "description": "Path of what was made", "schema": { "type": "string" } },
                "X-Total-Count": {
                    "description": "How many there are on all pages",
                    "schema": { "type": "integer", "format": "int64" },
                },
                "Link": {
                    "description": "The page before (rel=\"prev\") and behind (rel=\"next\"), those there are",
                    "schema": { "type": "string" },
                },
                "X-Request-Id": {
                    "description": "Name of the request in the log and in the audit trail",
                    "schema": { "type": "string" },
                },
                "Retry-After": {
                    "description": "Seconds to wait before the next try",
                    "schema": { "type": "integer" },
                },
            },
            "responses": refusals(),
        },
    })
}

/// What every refusal says.
fn errors() -> Value {
    json!({
        "type": "object",
        "required": ["errors"],
        "properties": { "errors": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "required": ["code", "message"],
                "properties": { "code": { "type": "string" }, "message": { "type": "string" } },
            },
        } },
    })
}

/// Every status of a refusal, with what it means here.
const REFUSALS: &[(u16, &str)] = &[
    (400, "The body is no JSON, or a value is refused"),
    (401, "Nobody signed in where somebody has to, or the credentials are wrong"),
    (403, "The caller may not, or nobody may for now; also for what may not exist"),
    (404, "There is no such thing, for a caller who may know"),
    (409, "There is one already"),
    (410, "It was there and cannot be brought back"),
    (412, "The state of things does not allow it"),
    (413, "The body is larger than 1 MiB"),
    (415, "The body is not application/json"),
    (422, "A parameter is missing or has the wrong type"),
    (429, "Too many failed attempts to sign in"),
    (500, "Something is wrong with the server; its log says what"),
    (503, "The database or the store does not answer for now"),
];

fn refusals() -> Value {
    let described = REFUSALS.iter().map(|(status, meaning)| {
        let mut headers = json!({ "X-Request-Id": header("X-Request-Id") });
        if [429, 503].contains(status) {
            headers["Retry-After"] = header("Retry-After");
        }
        let content = json!({ JSON: { "schema": { "$ref": "#/components/schemas/Errors" } } });
        (status.to_string(), json!({ "description": meaning, "headers": headers, "content": content }))
    });
    Value::Object(described.collect())
}

fn header(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

fn described(route: Route, credentials: Credentials, operation: &Operation, schemas: &mut Schemas) -> Value {
    let parameters = parameters(route, operation);
    let mut statuses = vec![500, 503];
    if credentials == Credentials::Checked {
        statuses.extend([401, 403, 429]);
    }
    if parameters
        .iter()
        .any(|parameter| parameter["in"] == "query" || parameter["schema"]["type"] != "string")
    {
        statuses.push(422);
    }
    if operation.filtered {
        statuses.push(400);
    }
    if route.path.contains('{') {
        statuses.push(404);
    }
    let body = request(operation.input, schemas);
    if body.is_some() {
        statuses.extend([400, 413, 415]);
    }
    statuses.extend(operation.refusals);
    let mut responses: Map<String, Value> = statuses
        .iter()
        .map(|status| (status.to_string(), json!({ "$ref": format!("#/components/responses/{status}") })))
        .collect();
    for (status, success) in successes(operation, schemas) {
        responses.insert(status.to_string(), success);
    }
    let mut shown = json!({
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if credentials == Credentials::Ignored {
        shown["security"] = json!([]);
    }
    if let Some(body) = body {
        shown["requestBody"] = body;
    }
    shown
}

fn parameters(route: Route, operation: &Operation) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path.map(path_parameter).collect();
    let listed = matches!(operation.success, Success::Page(_) | Success::PageOrCsv(_));
    if operation.filtered {
        parameters.extend([
            json!({
                "name": "q", "in": "query", "schema": { "type": "string" },
                "description": "Filter: key=value, key=~part, key=[min~max], key={a b}, several with a comma",
            }),
            json!({
                "name": "sort", "in": "query", "schema": { "type": "string" },
                "description": "Keys with a comma between them; - before a key turns it round",
            }),
        ]);
    }
    if listed {
        parameters.extend([
            json!({
                "name": "page", "in": "query", "description": "Number of the page, from 1",
                "schema": { "type": "integer", "format": "int64", "default": 1 },
            }),
            json!({
                "name": "page_size", "in": "query",
                "description": "Rows of a page; 0 and below is as many as can be had",
                "schema": {
                    "type": "integer", "format": "int64",
                    "default": PAGE_SIZE_DEFAULT, "maximum": PAGE_SIZE_MAX,
                },
            }),
        ]);
    }
    parameters.extend(operation.query.iter().map(|query| parameter("query", query)));
    parameters.extend(operation.headers.iter().map(|header| parameter("header", header)));
    if route.path.contains("{project_name_or_id}") {
        parameters.push(json!({
            "name": "X-Is-Resource-Name", "in": "header", "schema": { "type": "boolean", "default": false },
            "description": "The project in the path is a name, even where it looks like an id",
        }));
    }
    parameters.push(json!({
        "name": "X-Request-Id", "in": "header",
        "schema": { "type": "string", "pattern": "^[A-Za-z0-9-]{1,64}$" },
        "description": "Name of the request in the log and in the answer; one is made when there is none",
    }));
    parameters
}

fn parameter(place: &str, parameter: &Parameter) -> Value {
    let schema = match parameter.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Integer => json!({ "type": "integer", "format": "int64" }),
        Kind::Boolean => json!({ "type": "boolean" }),
    };
    json!({
        "name": parameter.name, "in": place, "required": parameter.required,
        "description": parameter.about, "schema": schema,
    })
}

fn path_parameter(name: &str) -> Value {
    let (kind, about) = match name {
        "project_name_or_id" => ("string", "Name or id of the project"),
        "project_name" => ("string", "Name of the project"),
        "repository_name" => {
            ("string", "Name of the repository without the project; slashes in it are encoded twice: a%252Fb")
        }
        "reference" => ("string", "A tag or a digest"),
        "digest" => ("string", "A digest"),
        "tag_name" => ("string", "A tag"),
        "meta_name" => ("string", "A key"),
        "addition" => ("string", "One of the names in the artifact's addition_links"),
        _ => ("integer", "Its id"),
    };
    let mut schema = json!({ "type": kind });
    if kind == "integer" {
        schema["format"] = "int64".into();
    }
    json!({ "name": name, "in": "path", "required": true, "description": about, "schema": schema })
}

fn request(input: Input, schemas: &mut Schemas) -> Option<Value> {
    let schema = match input {
        Input::Nothing => return None,
        Input::One(shape) => schemas.reference(shape),
        Input::Texts => texts(),
        Input::Any => json!({ "type": "object", "additionalProperties": true }),
    };
    Some(json!({ "required": true, "content": { JSON: { "schema": schema } } }))
}

fn texts() -> Value {
    json!({ "type": "object", "additionalProperties": { "type": "string" } })
}

/// What the operation answers when all is well: each status with its body and headers.
fn successes(operation: &Operation, schemas: &mut Schemas) -> Vec<(u16, Value)> {
    let as_json = |schema: Value| json!({ JSON: { "schema": schema } });
    let array = |item: Value| json!({ "type": "array", "items": item });
    let paged: &[&str] = &["X-Total-Count", "Link"];
    let (status, about, content, headers): (u16, &str, Value, &[&str]) = match operation.success {
        Success::Done => (200, "Done", Value::Null, &[]),
        Success::One(shape) => (200, "It", as_json(schemas.reference(shape)), &[]),
        Success::All(shape) => (200, "All of them", as_json(array(schemas.reference(shape))), &[]),
        Success::Page(shape) => (200, "A page of them", as_json(array(schemas.reference(shape))), paged),
        Success::Walk(shape) => (200, "Some of them", as_json(array(schemas.reference(shape))), &["Link"]),
        Success::PageOrCsv(shape) => {
            let mut content = as_json(array(schemas.reference(shape)));
            content["text/csv"] = json!({ "schema": { "type": "string" } });
            (200, "A page of them; all of them as CSV where that is asked for", content, paged)
        }
        Success::Named(shape) => {
            let schema = json!({ "type": "object", "additionalProperties": schemas.reference(shape) });
            (200, "All of them by name", as_json(schema), &[])
        }
        Success::Texts => (200, "Texts by name", as_json(texts()), &[]),
        Success::Content(types) => {
            let schema = |kind: &str| if kind == JSON { json!({}) } else { json!({ "type": "string" }) };
            let content: Map<String, Value> =
                types.iter().map(|kind| ((*kind).to_owned(), json!({ "schema": schema(kind) }))).collect();
            (200, "The content", Value::Object(content), &[])
        }
        Success::Created { location } => {
            (201, "Created", Value::Null, if location { &["Location"] } else { &[] })
        }
        Success::CreatedWith(shape) => (201, "Created", as_json(schemas.reference(shape)), &["Location"]),
    };
    let mut all = vec![(status, response(about, content, headers))];
    if let Some((status, shape)) = operation.also {
        let content = as_json(schemas.reference(shape));
        all.push((status, response("It was begun", content, &[])));
    }
    all
}

fn response(about: &str, content: Value, headers: &[&str]) -> Value {
    let headers: Map<String, Value> =
        headers.iter().chain(&["X-Request-Id"]).map(|name| ((*name).to_owned(), header(name))).collect();
    let mut response = json!({ "description": about, "headers": headers });
    if !content.is_null() {
        response["content"] = content;
    }
    response
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ROUTES;

    fn parsed() -> Value {
        serde_json::from_str(&DOCUMENT).unwrap()
    }

    /// Every operation with its method and path.
    fn operations(document: &Value) -> Vec<(String, String, Value)> {
        let paths = document["paths"].as_object().unwrap();
        paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap();
                methods.iter().map(|(method, operation)| (method.clone(), path.clone(), operation.clone()))
            })
            .collect()
    }

    fn walk(value: &Value, visit: &mut impl FnMut(&Map<String, Value>)) {
        match value {
            Value::Object(map) => {
                visit(map);
                map.values().for_each(|value| walk(value, visit));
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, visit)),
            _ => {}
        }
    }

    #[test]
    fn the_routes_are_in_it_and_nothing_else() {
        let document = parsed();
        let shown: BTreeSet<_> = operations(&document)
            .into_iter()
            .map(|(method, path, operation)| {
                (operation["operationId"].as_str().unwrap().to_owned(), method.to_ascii_uppercase(), path)
            })
            .collect();
        let routes: BTreeSet<_> = ROUTES
            .iter()
            .map(|route| (route.id.to_owned(), route.method.to_owned(), route.path.to_owned()))
            .collect();
        assert_eq!(shown, routes);
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_used() {
        let document = parsed();
        let mut used = BTreeSet::new();
        walk(&document, &mut |map| {
            if let Some(reference) = map.get("$ref") {
                let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
                used.insert(pointer.to_owned());
            }
        });
        for part in ["schemas", "headers", "responses"] {
            for name in document["components"][part].as_object().unwrap().keys() {
                assert!(used.contains(&format!("/components/{part}/{name}")), "nobody uses {part}/{name}");
            }
        }
    }

    /// What OpenAPI 3.1 demands of each part, as far as this document has it.
    #[test]
    fn it_is_well_formed() {
        let document = parsed();
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["info"]["title"], "Hythe");
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let schemes: BTreeSet<_> =
            document["components"]["securitySchemes"].as_object().unwrap().keys().collect();
        let types = ["string", "integer", "number", "boolean", "object", "array", "null"];
        for (method, path, operation) in operations(&document) {
            let at = format!("{method} {path}");
            assert!(["get", "head", "post", "put", "patch", "delete"].contains(&method.as_str()), "{at}");
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{at}");
            let mut seen = BTreeSet::new();
            for parameter in operation["parameters"].as_array().unwrap() {
                let (name, place) = (parameter["name"].as_str().unwrap(), parameter["in"].as_str().unwrap());
                assert!(seen.insert((place, name)), "{at} has {name} twice");
                assert!(["path", "query", "header"].contains(&place), "{at}: {name}");
                assert_eq!(place == "path", path.contains(&format!("{{{name}}}")), "{at}: {name}");
                assert!(place != "path" || parameter["required"] == true, "{at}: {name}");
                assert!(types.contains(&parameter["schema"]["type"].as_str().unwrap()), "{at}: {name}");
            }
            let placeholders = path.matches('{').count();
            assert_eq!(seen.iter().filter(|(place, _)| *place == "path").count(), placeholders, "{at}");
            assert!(
                !["get", "head", "delete"].contains(&method.as_str()) || operation["requestBody"].is_null()
            );
            for requirement in operation["security"].as_array().into_iter().flatten() {
                assert!(requirement.as_object().unwrap().keys().all(|name| schemes.contains(name)), "{at}");
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                let status: u16 = status.parse().unwrap();
                assert!((200..600).contains(&status), "{at}");
                assert!(response["$ref"].is_string() || response["description"].is_string(), "{at} {status}");
            }
        }
        walk(&document["components"]["schemas"], &mut |map| match map.get("type") {
            Some(Value::String(kind)) => assert!(types.contains(&kind.as_str()), "{map:?}"),
            // A property may be called type.
            Some(Value::Object(_)) | None => {}
            Some(kinds) => {
                let kinds = kinds.as_array().unwrap();
                assert!(kinds.iter().all(|kind| types.contains(&kind.as_str().unwrap())), "{map:?}");
            }
        });
    }

    #[test]
    fn every_operation_has_a_success_and_tells_of_refused_credentials() {
        let document = parsed();
        for (route, credentials) in routes::described() {
            let method = route.method.to_ascii_lowercase();
            let operation = &document["paths"][route.path][method.as_str()];
            let responses = operation["responses"].as_object().unwrap();
            let has = |status: &str| responses.contains_key(status);
            assert!(responses.keys().any(|status| status.starts_with('2')), "{}", route.id);
            let checked = credentials == Credentials::Checked;
            assert_eq!((has("401"), has("403")), (checked, checked), "{}", route.id);
            assert_eq!(operation["security"] == json!([]), !checked, "{}", route.id);
            if responses.contains_key("201") {
                let located = responses["201"]["headers"].get("Location").is_some();
                assert_eq!(located, !["createTag", "restoreTag"].contains(&route.id), "{}", route.id);
            }
        }
    }

    #[test]
    fn schemas_are_those_of_the_types() {
        let document = parsed();
        let schemas = &document["components"]["schemas"];
        let project = &schemas["Project"];
        assert_eq!(project["properties"]["creation_time"]["$ref"], "#/components/schemas/Time");
        let required = project["required"].as_array().unwrap();
        assert!(required.contains(&"repo_count".into()) && !required.contains(&"owner_name".into()));
        // No type of input has room for what nobody may set.
        for (name, schema) in schemas.as_object().unwrap() {
            if name.ends_with("Input") && name != "SysAdminInput" {
                let properties = schema["properties"].as_object();
                for secret in ["sysadmin_flag", "owner_id", "creator_ref", "creator_type"] {
                    assert!(properties.is_none_or(|all| !all.contains_key(secret)), "{name} takes {secret}");
                }
            }
        }
    }
}
