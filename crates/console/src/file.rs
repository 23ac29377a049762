//! Lists as files: everything that the filters let through, in the order of the list, read page by page while it is sent.

use actix_web::HttpResponse;
use actix_web::web::Bytes;
use futures_util::stream;
use serde_json::{Map, Value};
use tenancy::list::Query;

use crate::failure::Failure;
use crate::list::List;
use crate::view::View;

/// Rows that are read at once.
const ROWS: i64 = 100;

/// What a file is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Csv,
    Json,
}

impl Format {
    /// The format that the address asks for; without one it is the page that is wanted.
    pub fn asked(view: &View) -> Option<Self> {
        match view.query("format")?.as_str() {
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Json => "application/json",
        }
    }

    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }

    /// These rows, `first` when nothing comes before them and `last` when nothing comes after.
    pub fn write(self, columns: &[&str], rows: Vec<Vec<Value>>, first: bool, last: bool) -> String {
        let mut text = String::new();
        match self {
            Self::Csv => {
                if first {
                    text.push_str(&columns.join(","));
                    text.push_str("\r\n");
                }
                for row in rows {
                    text.push_str(&row.iter().map(cell).collect::<Vec<_>>().join(","));
                    text.push_str("\r\n");
                }
            }
            Self::Json => {
                for (position, row) in rows.into_iter().enumerate() {
                    text.push_str(if first && position == 0 { "[\n" } else { ",\n" });
                    let named = columns.iter().map(|name| (*name).to_owned()).zip(row);
                    text.push_str(&Value::Object(named.collect::<Map<_, _>>()).to_string());
                }
                if last {
                    text.push_str(if first && text.is_empty() { "[]\n" } else { "\n]\n" });
                }
            }
        }
        text
    }
}

/// One value as a cell. Numbers are no formulas; text is kept from being one.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => tenancy::csv_cell(text),
        Value::Array(all) => {
            let texts: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
            tenancy::csv_cell(&texts.join(" "))
        }
        Value::Object(_) => tenancy::csv_cell(&value.to_string()),
    }
}

/// The list as a file. `read` gives the rows of one page of a query, in the order of `columns`. What fails at once is a
/// page; what fails later ends the file without its end.
pub(crate) async fn of<R, F>(
    view: &View,
    format: Format,
    name: &str,
    columns: &'static [&'static str],
    query: Query,
    read: R,
) -> Result<HttpResponse, Failure>
where
    R: Fn(Query) -> F + 'static,
    F: Future<Output = Result<Vec<Vec<Value>>, Failure>> + 'static,
{
    let at = move |page: i64| Query { page, page_size: ROWS, ..query.clone() };
    let last = |rows: &Vec<Vec<Value>>| (rows.len() as i64) < ROWS;
    let rows = read(at(1)).await?;
    let next = (!last(&rows)).then_some(2);
    let first = Bytes::from(format.write(columns, rows, true, next.is_none()));
    let body = stream::try_unfold((Some(first), next), move |(ready, next)| {
        let rows = next.filter(|_| ready.is_none()).map(|page| read(at(page)));
        async move {
            if let Some(text) = ready {
                return Ok::<_, actix_web::Error>(Some((text, (None, next))));
            }
            let (Some(rows), Some(page)) = (rows, next) else { return Ok(None) };
            let broken =
                |_| actix_web::error::ErrorInternalServerError("the list could not be read to its end");
            let rows = rows.await.map_err(broken)?;
            let next = (!last(&rows)).then_some(page + 1);
            let text = format.write(columns, rows, false, next.is_none());
            Ok((!text.is_empty()).then(|| (Bytes::from(text), (None, next))))
        }
    });
    Ok(view.stream(format.media_type(), &format!("{name}.{}", format.extension()), body))
}

impl List {
    /// This list as a file.
    pub fn file(&self, format: &str) -> String {
        let address = self.at(1);
        let joint = if address.contains('?') { '&' } else { '?' };
        format!("{address}{joint}format={format}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_are_whole_whatever_their_length() {
        let columns = ["name", "size", "tags"];
        let rows = || vec![vec![json!("=a,\"b"), json!(-1), json!(["x", "y"])], vec![json!(null); 3]];
        let csv = Format::Csv.write(&columns, rows(), true, true);
        assert_eq!(csv, "name,size,tags\r\n\"'=a,\"\"b\",-1,x y\r\n,,\r\n");
        for (first, second) in [(rows(), rows()), (rows(), Vec::new())] {
            let count = first.len() + second.len();
            let text = Format::Json.write(&columns, first, true, false)
                + &Format::Json.write(&columns, second, false, true);
            let read: Vec<Value> = serde_json::from_str(&text).unwrap_or_default();
            assert_eq!(read.len(), count, "{text}");
            assert_eq!(read[0], json!({"name": "=a,\"b", "size": -1, "tags": ["x", "y"]}));
        }
        assert_eq!(Format::Json.write(&columns, Vec::new(), true, true), "[]\n");
        assert_eq!(Format::Csv.write(&columns, Vec::new(), true, true), "name,size,tags\r\n");
    }
}
