//! The facts, and values compared with them.

use std::collections::BTreeMap;

use serde_json::Value;

/// An operation.
#[derive(Clone, Debug)]
pub struct Fact {
    pub id: String,
    pub method: String,
    /// Below `/api/v2.0`, without a slash at the end.
    pub path: String,
    pub parameters: Vec<Parameter>,
    /// Type of the body; none when it takes none.
    pub request: Option<Value>,
    pub statuses: Vec<u16>,
    pub success: BTreeMap<u16, Success>,
}

#[derive(Clone, Debug)]
pub struct Parameter {
    pub name: String,
    /// `path`, `query` or `header`.
    pub place: String,
    pub kind: String,
    pub required: bool,
}

#[derive(Clone, Debug)]
pub struct Success {
    pub headers: Vec<String>,
    pub body: Option<Value>,
}

pub fn facts() -> Vec<Fact> {
    let facts: Value = serde_json::from_str(include_str!("facts.json")).expect("the facts are JSON");
    facts.as_array().expect("a list of operations").iter().map(fact).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn fact(value: &Value) -> Fact {
    let list = |key: &str| value[key].as_array().expect("a list").clone();
    let success = value["success"].as_object().expect("an object").iter();
    Fact {
        id: text(&value["id"]),
        method: text(&value["method"]),
        path: text(&value["path"]),
        parameters: list("parameters")
            .iter()
            .map(|parameter| Parameter {
                name: text(&parameter["name"]),
                place: text(&parameter["in"]),
                kind: text(&parameter["type"]),
                required: parameter["required"] == true,
            })
            .collect(),
        request: value.get("request").cloned(),
        statuses: list("statuses").iter().filter_map(|status| u16::try_from(status.as_u64()?).ok()).collect(),
        success: success
            .map(|(status, shown)| {
                let headers = shown["headers"].as_array().expect("a list").iter().map(text).collect();
                (status.parse().expect("a status"), Success { headers, body: shown.get("body").cloned() })
            })
            .collect(),
    }
}

/// Said of a field that the documented type does not have.
pub const UNKNOWN: &str = "is not documented";

/// Everything in `value` that is not of the type, by pointer; `*` stands for any item or key.
pub fn compare(kind: &Value, value: &Value, at: &str, wrong: &mut Vec<(String, String)>) {
    let fits = match (kind, value) {
        (Value::String(word), _) => match word.as_str() {
            "string" => value.is_string(),
            "integer" => value.is_i64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            // Anything goes where only "object" is said: clients read texts there as well.
            _ => !value.is_null(),
        },
        (Value::Array(items), Value::Array(values)) => {
            for value in values {
                compare(&items[0], value, &format!("{at}/*"), wrong);
            }
            true
        }
        // These two may be null, and clients know it.
        (Value::Array(_), Value::Null) => at.ends_with("/tags") || at.ends_with("/accessories"),
        (Value::Object(fields), Value::Object(values)) => {
            for (name, value) in values {
                match fields.get(name).or_else(|| fields.get("*")) {
                    Some(kind) if fields.contains_key(name) => {
                        compare(kind, value, &format!("{at}/{name}"), wrong)
                    }
                    Some(kind) => compare(kind, value, &format!("{at}/*"), wrong),
                    None => wrong.push((format!("{at}/{name}"), UNKNOWN.to_owned())),
                }
            }
            true
        }
        _ => false,
    };
    if !fits {
        wrong.push((at.to_owned(), format!("{value} is not of the type {kind}")));
    }
}

/// Whether every item that `*` stands for has the field at the pointer. Without items there is none that lacks it.
pub fn has(value: &Value, pointer: &str) -> bool {
    match pointer.split_once("/*") {
        None => value.pointer(pointer).is_some(),
        Some((list, rest)) => match value.pointer(list) {
            Some(Value::Array(items)) => items.iter().all(|item| has(item, rest)),
            Some(Value::Object(items)) => items.values().all(|item| has(item, rest)),
            _ => false,
        },
    }
}

/// Pointers of the fields of a type, without a slash before the first: `metadata/public`. Lists are one field.
pub fn fields(kind: &Value) -> Vec<String> {
    let Value::Object(fields) = kind else { return Vec::new() };
    let named = fields.iter().filter(|(name, _)| *name != "*");
    named
        .flat_map(|(name, kind)| {
            let inner = self::fields(kind);
            if inner.is_empty() {
                vec![name.clone()]
            } else {
                inner.iter().map(|rest| format!("{name}/{rest}")).collect()
            }
        })
        .collect()
}

/// Equal but for the names of placeholders.
pub fn same_path(one: &str, other: &str) -> bool {
    let plain = |path: &str| -> Vec<String> {
        let segments = path.split('/');
        segments.map(|part| if part.starts_with('{') { "{}".to_owned() } else { part.to_owned() }).collect()
    };
    plain(one) == plain(other)
}
