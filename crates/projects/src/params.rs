//! Query parameters and paging, as every list shares them.
//!
//! An empty parameter is an absent one. Wrong types are 422, because the request is well-formed and a value is
//! not; a bad `q` is 400.

use actix_web::HttpResponseBuilder;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tenancy::list::Query;

use crate::error::Failure;
use crate::q;

pub(crate) const PAGE_SIZE_DEFAULT: i64 = 10;
pub(crate) const PAGE_SIZE_MAX: i64 = 100;

/// What stays readable in a query that this service writes.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The decoded parameters of a request, in the order they came.
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads a query string as a form: `+` is a space.
    pub fn parse(query: &str) -> Result<Self, Failure> {
        query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decode(key)?, decode(value)?))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The last value sent for the key, unless it is empty.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
            .filter(|v| !v.is_empty())
    }

    pub fn required(&self, key: &str) -> Result<&str, Failure> {
        self.text(key).ok_or_else(|| Failure::unprocessable(format!("{key} in query is required")))
    }

    pub fn flag(&self, key: &str) -> Result<Option<bool>, Failure> {
        self.text(key)
            .map(|value| {
                boolean(value).ok_or_else(|| {
                    Failure::unprocessable(format!("{key} in query must be of type boolean: {value:?}"))
                })
            })
            .transpose()
    }

    pub fn integer(&self, key: &str) -> Result<Option<i64>, Failure> {
        self.text(key)
            .map(|value| {
                value.parse().map_err(|_| {
                    Failure::unprocessable(format!("{key} in query must be of type int64: {value:?}"))
                })
            })
            .transpose()
    }

    /// `page` and `page_size`.
    pub fn paging(&self) -> Result<Paging, Failure> {
        let page = self.integer("page")?.unwrap_or(1).max(1);
        let size = match self.integer("page_size")?.unwrap_or(PAGE_SIZE_DEFAULT) {
            size if size > PAGE_SIZE_MAX => {
                return Err(Failure::unprocessable(format!(
                    "page_size in query should be less than or equal to {PAGE_SIZE_MAX}"
                )));
            }
            size if size <= 0 => PAGE_SIZE_MAX,
            size => size,
        };
        Ok(Paging { page, size })
    }

    /// `q`, `sort` and paging, for lists that take them.
    pub fn list_query(&self) -> Result<Query, Failure> {
        let paging = self.paging()?;
        Ok(Query {
            terms: q::parse(self.text("q").unwrap_or(""))?,
            sort: q::parse_sort(self.text("sort").unwrap_or("")),
            page: paging.page,
            page_size: paging.size,
        })
    }
}

/// Which page, of how many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paging {
    pub page: i64,
    pub size: i64,
}

impl Paging {
    /// Sets `X-Total-Count` and `Link` on the answer of a list.
    pub fn headers(self, response: &mut HttpResponseBuilder, path: &str, params: &Params, total: i64) {
        response.insert_header(("X-Total-Count", total.to_string()));
        if let Some(link) = self.link(path, params, total) {
            response.insert_header(("Link", link));
        }
    }

    fn link(self, path: &str, params: &Params, total: i64) -> Option<String> {
        let mut links = Vec::new();
        // Past the end there is a page before only if that page has rows.
        if self.page > 1 && (self.page - 2).saturating_mul(self.size) < total {
            links.push(self.relation(path, params, self.page - 1, "prev"));
        }
        if self.page.saturating_mul(self.size) < total {
            links.push(self.relation(path, params, self.page + 1, "next"));
        }
        if links.is_empty() { None } else { Some(links.join(" , ")) }
    }

    fn relation(self, path: &str, params: &Params, page: i64, relation: &str) -> String {
        let mut query = String::new();
        for (key, value) in &params.0 {
            if key != "page" && key != "page_size" && !value.is_empty() {
                let key = utf8_percent_encode(key, QUERY);
                query.push_str(&format!("{key}={}&", utf8_percent_encode(value, QUERY)));
            }
        }
        format!("<{path}?{query}page={page}&page_size={}>; rel=\"{relation}\"", self.size)
    }
}

/// A boolean as clients of all languages spell it.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "1" => Some(true),
        "false" | "False" | "FALSE" | "0" => Some(false),
        _ => None,
    }
}

fn decode(text: &str) -> Result<String, Failure> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced)
        .decode_utf8()
        .map_err(|_| Failure::bad_request("a query parameter is not UTF-8"))?;
    if decoded.contains('\0') {
        return Err(Failure::bad_request("a query parameter holds a NUL character"));
    }
    Ok(decoded.into_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        for (query, expected) in [
            ("", Some((1, 10))),
            ("page=&page_size=", Some((1, 10))),
            ("page=3&page_size=7", Some((3, 7))),
            ("page=0", Some((1, 10))),
            ("page=-4&page_size=0", Some((1, 100))),
            ("page_size=-1", Some((1, 100))),
            ("page_size=100", Some((1, 100))),
            ("page_size=101", None),
            ("page=x", None),
            ("page=1.5", None),
            ("page=99999999999999999999", None),
        ] {
            let got = Params::parse(query).unwrap().paging().ok();
            assert_eq!(got.map(|paging| (paging.page, paging.size)), expected, "{query}");
        }
    }

    #[test]
    fn links() {
        let check = |query: &str, total: i64, expected: Option<&str>| {
            let params = Params::parse(query).unwrap();
            let link = params.paging().unwrap().link("/api/v2.0/projects", &params, total);
            assert_eq!(link.as_deref(), expected, "{query} of {total}");
        };
        check("", 10, None);
        check("", 0, None);
        check("", 11, Some("</api/v2.0/projects?page=2&page_size=10>; rel=\"next\""));
        check(
            "page=2&page_size=10&q=name%3D~a+b&sort=",
            30,
            Some(
                "</api/v2.0/projects?q=name%3D~a%20b&page=1&page_size=10>; rel=\"prev\" , \
                 </api/v2.0/projects?q=name%3D~a%20b&page=3&page_size=10>; rel=\"next\"",
            ),
        );
        check("page=2", 20, Some("</api/v2.0/projects?page=1&page_size=10>; rel=\"prev\""));
        check("page=3", 20, Some("</api/v2.0/projects?page=2&page_size=10>; rel=\"prev\""));
        check("page=9", 20, None);
        check("page=9223372036854775807&page_size=100", 20, None);
        // Nothing a client sends can end the header or the angle brackets.
        check(
            "name=%0D%0AX:%3E",
            11,
            Some("</api/v2.0/projects?name=%0D%0AX%3A%3E&page=2&page_size=10>; rel=\"next\""),
        );
    }

    #[test]
    fn values() {
        let params = Params::parse("a=1&b=&a=True&c=a%2Bb+c&d").unwrap();
        assert_eq!(params.text("a"), Some("True"));
        assert_eq!(params.flag("a").unwrap(), Some(true));
        assert_eq!(params.flag("b").unwrap(), None);
        assert!(params.flag("c").is_err());
        assert_eq!(params.text("c"), Some("a+b c"));
        assert_eq!(params.text("d"), None);
        assert!(params.required("d").is_err());
        assert!(Params::parse("a=%ff").is_err());
        assert!(Params::parse("a=%00").is_err());
    }
}
