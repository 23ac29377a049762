//! The little that all success answers share: JSON bodies, empty bodies, and the form of times.

use actix_web::http::header::{HeaderValue, LOCATION, WARNING};
use actix_web::{HttpResponse, HttpResponseBuilder};
use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// 200 with a JSON body.
pub(crate) fn json(value: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().json(value)
}

/// 200 with an empty body, as updates and deletions answer.
pub(crate) fn done() -> HttpResponse {
    HttpResponse::Ok().finish()
}

/// 201 with an empty body and the path of what was made.
pub(crate) fn created(location: String) -> HttpResponse {
    let mut response: HttpResponseBuilder = HttpResponse::Created();
    response.insert_header((LOCATION, location)).finish()
}

/// The answer, with what the client is to be told beside it.
pub(crate) fn warned(mut response: HttpResponse, warnings: &[String]) -> HttpResponse {
    for value in oci::warning::header_values(warnings) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().append(WARNING, value);
        }
    }
    response
}

/// A moment as this API writes it: UTC, milliseconds, `Z`.
#[derive(Clone, Copy)]
pub(crate) struct Time(pub DateTime<Utc>);

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("UTC with milliseconds; 0001-01-01T00:00:00.000Z is never"))
            .into()
    }
}

impl ToSchema for Time {}

/// How a moment that never came is written.
pub(crate) const NEVER: &str = "0001-01-01T00:00:00.000Z";

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.format("%Y-%m-%dT%H:%M:%S%.3fZ"))
    }
}

/// A moment, or that it never came.
pub(crate) fn or_never<S: Serializer>(time: &Option<Time>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => time.serialize(serializer),
        None => serializer.serialize_str(NEVER),
    }
}

/// For `skip_serializing_if`: numbers that are zero are left out.
pub(crate) fn zero(value: &i64) -> bool {
    *value == 0
}

/// For `skip_serializing_if`: nothing worth sending, absent or an empty object.
pub(crate) fn nothing(value: &serde_json::Value) -> bool {
    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds() {
        for (text, expected) in [
            ("2026-01-15T09:30:00.123456Z", "\"2026-01-15T09:30:00.123Z\""),
            ("2026-01-15T09:30:00Z", "\"2026-01-15T09:30:00.000Z\""),
            ("2026-01-15T10:30:00.5+01:00", "\"2026-01-15T09:30:00.500Z\""),
        ] {
            let time = Time(DateTime::parse_from_rfc3339(text).unwrap().to_utc());
            assert_eq!(serde_json::to_string(&time).unwrap(), expected);
        }
    }
}
