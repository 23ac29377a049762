//! What a manifest and its config say, ready to be shown. Both were pushed by anybody: everything is bounded, and nothing
//! is believed to have the form it should have.

use serde_json::Value;

/// Rows of a table, and entries of a list, that are shown.
const SHOWN_MAX: usize = 200;

/// Characters of a command that stand in its row; the rest unfolds.
const SUMMARY_CHARS: usize = 110;

/// Characters of any text that are shown at all.
const TEXT_CHARS_MAX: usize = 4000;

/// Larger manifests are only offered as a file.
const RAW_BYTES_MAX: usize = 48 * 1024;

/// One step of how an image was made.
#[derive(Debug)]
pub(super) struct Layer {
    /// Nothing for a step that added no bytes.
    pub number: Option<i64>,
    pub summary: String,
    /// The whole command, when the summary is not.
    pub command: Option<String>,
    pub digest: String,
    pub media_type: String,
    pub size: i64,
}

/// A variable of the environment. What looks like a secret is shown only when it is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub name: String,
    pub value: String,
    pub secret: bool,
}

/// How an image runs.
#[derive(Debug, Default)]
pub(super) struct Runtime {
    pub entrypoint: String,
    pub command: String,
    pub workdir: String,
    pub user: String,
    pub stop_signal: String,
    pub healthcheck: String,
    pub ports: String,
    pub volumes: String,
    pub variables: Vec<Variable>,
    pub labels: Vec<(String, String)>,
}

impl Runtime {
    /// Whether it runs with all rights of its container.
    pub fn root(&self) -> bool {
        matches!(self.user.split(':').next(), Some("" | "root" | "0"))
    }
}

/// What is in an artifact.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub layers: Vec<Layer>,
    /// Steps that are not shown.
    pub more: usize,
    /// Bytes of all layers.
    pub total: i64,
    pub runtime: Option<Runtime>,
    /// The manifest, indented.
    pub raw: Option<String>,
}

/// Reads a manifest, and its config where that is the one of an image.
pub(super) fn read(manifest: &[u8], config: Option<&[u8]>) -> Contents {
    let document: Value = serde_json::from_slice(manifest).unwrap_or_default();
    let config: Option<Value> = config.and_then(|bytes| serde_json::from_slice(bytes).ok());
    let descriptors = array(&document, "layers");
    let history = config.as_ref().map(|config| array(config, "history")).unwrap_or_default();
    let filled = history.iter().filter(|step| !empty(step)).count();
    let mut layers: Vec<Layer> = Vec::new();
    if filled == descriptors.len() {
        let mut descriptors = descriptors.iter().enumerate();
        for step in history {
            let command = command(&text(step, "created_by"));
            layers.push(if empty(step) { layer(None, command) } else { layer(descriptors.next(), command) });
        }
    } else {
        layers.extend(descriptors.iter().enumerate().map(|found| layer(Some(found), String::new())));
    }
    let total = descriptors.iter().map(|one| number(one, "size")).fold(0, i64::saturating_add);
    let more = layers.len().saturating_sub(SHOWN_MAX);
    layers.truncate(SHOWN_MAX);
    let raw =
        (manifest.len() <= RAW_BYTES_MAX).then(|| serde_json::to_string_pretty(&document).ok()).flatten();
    let runtime = config.as_ref().and_then(|config| config.get("config")).map(runtime);
    Contents { layers, more, total, runtime, raw }
}

fn layer(found: Option<(usize, &Value)>, command: String) -> Layer {
    let short: String = command.chars().take(SUMMARY_CHARS).collect();
    let cut = short.len() < command.len();
    Layer {
        number: found.map(|(position, _)| position as i64 + 1),
        summary: if cut { format!("{short}…") } else { short },
        command: cut.then_some(command),
        digest: found.map(|(_, one)| text(one, "digest")).unwrap_or_default(),
        media_type: found.map(|(_, one)| text(one, "mediaType")).unwrap_or_default(),
        size: found.map_or(0, |(_, one)| number(one, "size")),
    }
}

/// As it stands in a Dockerfile, as far as builders leave that to be seen.
fn command(created_by: &str) -> String {
    let text = created_by.trim().trim_end_matches("# buildkit").trim();
    if let Some((_, rest)) = text.split_once("#(nop)") {
        return rest.trim().to_owned();
    }
    match text.strip_prefix("/bin/sh -c ") {
        Some(rest) => format!("RUN {}", rest.trim()),
        None => text.to_owned(),
    }
}

fn runtime(config: &Value) -> Runtime {
    let names = |key: &str| {
        let map = config.get(key).and_then(Value::as_object);
        let names: Vec<String> =
            map.into_iter().flat_map(|map| map.keys()).take(SHOWN_MAX).map(|name| cut(name)).collect();
        names.join(", ")
    };
    let labels = config.get("Labels").and_then(Value::as_object);
    Runtime {
        entrypoint: words(config.get("Entrypoint")),
        command: words(config.get("Cmd")),
        workdir: text(config, "WorkingDir"),
        user: text(config, "User"),
        stop_signal: text(config, "StopSignal"),
        healthcheck: words(config.pointer("/Healthcheck/Test")),
        ports: names("ExposedPorts"),
        volumes: names("Volumes"),
        variables: array(config, "Env")
            .iter()
            .take(SHOWN_MAX)
            .filter_map(Value::as_str)
            .map(variable)
            .collect(),
        labels: labels
            .into_iter()
            .flatten()
            .take(SHOWN_MAX)
            .filter_map(|(name, value)| Some((cut(name), cut(value.as_str()?))))
            .collect(),
    }
}

fn variable(line: &str) -> Variable {
    let (name, value) = line.split_once('=').unwrap_or((line, ""));
    let upper = name.to_ascii_uppercase();
    let secret = [
        "TOKEN",
        "PASSWORD",
        "PASSWD",
        "SECRET",
        "CREDENTIAL",
        "APIKEY",
        "API_KEY",
        "PRIVATE_KEY",
        "ACCESS_KEY",
    ]
    .iter()
    .any(|word| upper.contains(word));
    Variable { name: cut(name), value: cut(value), secret: secret && !value.is_empty() }
}

/// A command line as JSON writes it, because its words may hold spaces.
fn words(value: Option<&Value>) -> String {
    value.filter(|value| !value.is_null()).map(|value| cut(&value.to_string())).unwrap_or_default()
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value, key: &str) -> String {
    cut(value.get(key).and_then(Value::as_str).unwrap_or_default())
}

fn number(value: &Value, key: &str) -> i64 {
    value.get(key).and_then(Value::as_i64).unwrap_or_default().max(0)
}

fn empty(step: &Value) -> bool {
    step.get("empty_layer").and_then(Value::as_bool).unwrap_or_default()
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_find_their_layers() {
        let manifest = json!({"layers": [
            {"digest": "sha256:a", "size": 5, "mediaType": "x"}, {"digest": "sha256:b", "size": 7, "mediaType": "x"}
        ]});
        let config = json!({"history": [
            {"created_by": "/bin/sh -c #(nop) ADD file:1 in / "},
            {"created_by": "/bin/sh -c #(nop)  CMD [\"sh\"]", "empty_layer": true},
            {"created_by": format!("RUN /bin/sh -c {} # buildkit", "x".repeat(300))},
        ]});
        let contents = read(manifest.to_string().as_bytes(), Some(config.to_string().as_bytes()));
        let rows: Vec<_> =
            contents.layers.iter().map(|layer| (layer.number, layer.digest.as_str(), layer.size)).collect();
        assert_eq!(rows, [(Some(1), "sha256:a", 5), (None, "", 0), (Some(2), "sha256:b", 7)]);
        assert_eq!(contents.layers[0].summary, "ADD file:1 in /");
        assert!(contents.layers[2].command.as_ref().is_some_and(|command| !command.contains("buildkit")));
        assert_eq!((contents.total, contents.more), (12, 0));
    }

    #[test]
    fn a_history_of_something_else_is_left_out() {
        let manifest = br#"{"layers":[{"digest":"sha256:a","size":5}]}"#;
        let contents = read(manifest, Some(br#"{"history":[]}"#));
        assert_eq!((contents.layers.len(), contents.layers[0].summary.as_str()), (1, ""));
    }

    #[test]
    fn what_looks_like_a_secret_is_one() {
        for (line, secret) in [
            ("PATH=/bin", false),
            ("DB_PASSWORD=x", true),
            ("github_token=x", true),
            ("AWS_SECRET_ACCESS_KEY=x", true),
            ("API_TOKEN=", false),
            ("KEYBOARD=de", false),
        ] {
            assert_eq!(variable(line).secret, secret, "{line}");
        }
    }

    #[test]
    fn nothing_of_what_was_pushed_breaks_the_page() {
        for (manifest, config) in [
            (&b""[..], None),
            (b"[]", Some(&b"[]"[..])),
            (b"{\"layers\":{}}", Some(b"{\"config\":null,\"history\":3}")),
            (
                b"{\"layers\":[1,{\"size\":-4}]}",
                Some(b"{\"config\":{\"Env\":[1],\"Labels\":[],\"Cmd\":\"x\"}}"),
            ),
            (b"{\"layers\":[{\"size\":9223372036854775807},{\"size\":9223372036854775807}]}", None),
        ] {
            let contents = read(manifest, config);
            assert!(contents.total >= 0);
        }
    }

    #[test]
    fn users_with_all_rights_are_told() {
        for (user, root) in [("", true), ("root", true), ("0:0", true), ("app", false), ("1000", false)] {
            assert_eq!(Runtime { user: user.to_owned(), ..Runtime::default() }.root(), root, "{user}");
        }
    }
}
