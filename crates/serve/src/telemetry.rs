//! Logs of the process: JSON lines or text on standard output, and panics as log events.
//!
//! One event is one line. JSON is flat: `ts` (UTC, nanoseconds), `level`, `target`, `msg`, then the event's
//! fields and those of the request it belongs to (`request_id`). Secrets cannot get here: their types have
//! neither `Debug` nor `Display`.

use std::fmt;
use std::io::{self, IsTerminal, Write as _};

use chrono::{SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Json,
    Text,
}

/// The `log` section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub format: Format,
    /// A level, or directives such as `info,hythe_catalog=debug`.
    pub level: String,
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{level:?} is not a log level: {reason}")]
    Level { level: String, reason: String },
    #[error("logging is already set up")]
    AlreadySet,
}

/// Checks a `level` without setting anything up.
pub fn check_level(level: &str) -> Result<(), Error> {
    filter(level).map(drop)
}

/// Sets up the log of this process and turns panics into log events.
pub fn init(config: &Config) -> Result<(), Error> {
    let filter = filter(&config.level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    match config.format {
        Format::Json => builder.fmt_fields(JsonFields::new()).event_format(FlatJson).try_init(),
        Format::Text => builder.with_ansi(io::stdout().is_terminal()).try_init(),
    }
    .map_err(|_| Error::AlreadySet)?;
    log_panics();
    Ok(())
}

/// When a log line is written. It decides nothing, so it needs no clock that tests can move.
#[expect(clippy::disallowed_methods, reason = "a log line tells the time of the machine it is written on")]
fn timestamp() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// Tells the operator something that must be seen whatever the level is, such as the address that is served:
/// a plain line among text, a JSON line among JSON. Written out at once.
pub fn announce(config: &Config, text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match config.format {
        Format::Text => writeln!(output, "{text}")?,
        Format::Json => {
            let ts = timestamp();
            let line = serde_json::json!({ "ts": ts, "level": "INFO", "target": "hythe", "msg": text });
            writeln!(output, "{line}")?;
        }
    }
    output.flush()
}

fn filter(level: &str) -> Result<EnvFilter, Error> {
    EnvFilter::builder()
        .parse(level)
        .map_err(|error| Error::Level { level: level.to_owned(), reason: error.to_string() })
}

/// A panic anywhere is an error event with its place: in a request it carries the request's id, in a
/// background task it is the only trace.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("a panic without a text");
        let place = panic.location().map(ToString::to_string);
        let thread = std::thread::current().name().map(str::to_owned);
        let backtrace = std::backtrace::Backtrace::capture();
        let backtrace =
            (backtrace.status() == std::backtrace::BacktraceStatus::Captured).then(|| backtrace.to_string());
        tracing::error!(target: "panic", place, thread, backtrace, "panic: {message}");
    }));
}

/// The flat JSON line.
struct FlatJson;

impl<S, N> FormatEvent<S, N> for FlatJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        if let Some(scope) = context.event_scope() {
            for span in scope.from_root() {
                let extensions = span.extensions();
                if let Some(formatted) = extensions.get::<FormattedFields<N>>()
                    && let Ok(Value::Object(inherited)) = serde_json::from_str(&formatted.fields)
                {
                    fields.rest.extend(inherited);
                }
            }
        }
        event.record(&mut fields);
        let mut line = Map::new();
        line.insert("ts".to_owned(), timestamp().into());
        let metadata = event.metadata();
        line.insert("level".to_owned(), metadata.level().as_str().into());
        line.insert("target".to_owned(), metadata.target().into());
        line.insert("msg".to_owned(), fields.message.into());
        for (name, value) in fields.rest {
            line.entry(name).or_insert(value);
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// Collects an event's fields as JSON values.
#[derive(Default)]
struct Fields {
    message: String,
    rest: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => {
                self.rest.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn json_lines_are_flat_and_carry_the_request() {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(JsonFields::new())
            .event_format(FlatJson)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let _span = tracing::info_span!("request", request_id = "abc-1").entered();
            tracing::warn!(bytes = 7_u64, level = "not ours", "two\nlines");
        });
        let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1);
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["msg"], "two\nlines");
        assert_eq!(line["request_id"], "abc-1");
        assert_eq!(line["bytes"], 7);
        assert_eq!(line["level"], "WARN");
        assert!(line["ts"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn levels_are_checked() {
        for (level, fine) in [("info", true), ("info,hythe_queue=debug", true), ("hythe=loud", false)] {
            assert_eq!(check_level(level).is_ok(), fine, "{level}");
        }
    }
}
