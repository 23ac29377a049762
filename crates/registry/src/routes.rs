//! The table of endpoints, and the function that finds one for a path.
//!
//! Repository names hold slashes and may end in words such as `blobs` or `tags`, so a path is matched from the
//! right. Every segment is percent-decoded exactly once, and one that hides a slash or a control character is
//! no path of ours. There is no route outside this table.

use actix_web::http::Method;
use percent_encoding::percent_decode_str;

/// One endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Name of the operation.
    pub id: &'static str,
    pub method: &'static str,
    /// Path with placeholders. `{name}` is a repository name and spans segments.
    pub path: &'static str,
}

/// What a request wants, before any of its values are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Base,
    Catalog,
    Extensions,
    TagsList,
    ManifestGet,
    ManifestHead,
    ManifestPut,
    ManifestDelete,
    BlobGet,
    BlobHead,
    BlobDelete,
    UploadStart,
    UploadStatus,
    UploadAppend,
    UploadFinish,
    UploadCancel,
    ReferrersList,
}

macro_rules! table {
    ($($id:literal $method:literal $path:literal $operation:ident;)*) => {
        /// All endpoints under `/v2`.
        pub const ROUTES: &[Route] = &[$(Route { id: $id, method: $method, path: $path },)*];
        const OPERATIONS: &[Operation] = &[$(Operation::$operation,)*];
    };
}

table! {
    "registry_base"            "GET"    "/v2/"                                  Base;
    "registry_base_head"       "HEAD"   "/v2/"                                  Base;
    "registry_catalog"         "GET"    "/v2/_catalog"                          Catalog;
    "registry_extensions"      "GET"    "/v2/_oci/ext/discover"                 Extensions;
    "registry_tag_list"        "GET"    "/v2/{name}/tags/list"                  TagsList;
    "registry_manifest_get"    "GET"    "/v2/{name}/manifests/{reference}"      ManifestGet;
    "registry_manifest_head"   "HEAD"   "/v2/{name}/manifests/{reference}"      ManifestHead;
    "registry_manifest_put"    "PUT"    "/v2/{name}/manifests/{reference}"      ManifestPut;
    "registry_manifest_delete" "DELETE" "/v2/{name}/manifests/{reference}"      ManifestDelete;
    "registry_upload_start"    "POST"   "/v2/{name}/blobs/uploads/"             UploadStart;
    "registry_upload_status"   "GET"    "/v2/{name}/blobs/uploads/{upload}"     UploadStatus;
    "registry_upload_append"   "PATCH"  "/v2/{name}/blobs/uploads/{upload}"     UploadAppend;
    "registry_upload_finish"   "PUT"    "/v2/{name}/blobs/uploads/{upload}"     UploadFinish;
    "registry_upload_cancel"   "DELETE" "/v2/{name}/blobs/uploads/{upload}"     UploadCancel;
    "registry_blob_get"        "GET"    "/v2/{name}/blobs/{digest}"             BlobGet;
    "registry_blob_head"       "HEAD"   "/v2/{name}/blobs/{digest}"             BlobHead;
    "registry_blob_delete"     "DELETE" "/v2/{name}/blobs/{digest}"             BlobDelete;
    "registry_referrers_list"  "GET"    "/v2/{name}/referrers/{digest}"         ReferrersList;
}

/// A path that is one of ours.
#[derive(Debug, PartialEq, Eq)]
pub struct Matched {
    pub operation: Operation,
    /// The repository name as sent, decoded; empty where the path has none.
    pub name: String,
    /// The last placeholder: reference, digest or upload id.
    pub last: String,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// No endpoint has this path.
    Unknown,
    /// The path has endpoints, for these methods.
    Method(Vec<&'static str>),
}

/// Finds the endpoint for a raw request path (as received, still encoded).
pub fn find(method: &Method, path: &str) -> Result<Matched, Mismatch> {
    let segments = decode(path).ok_or(Mismatch::Unknown)?;
    let mut methods = Vec::new();
    let mut template = "";
    for (route, operation) in ROUTES.iter().zip(OPERATIONS) {
        // The first template that fits a path is its only one: `uploads/{upload}` stands before `{digest}`.
        if !template.is_empty() && route.path != template {
            continue;
        }
        let Some((name, last)) = fit(route.path, &segments) else {
            continue;
        };
        template = route.path;
        if method.as_str() == route.method {
            return Ok(Matched { operation: *operation, name, last });
        }
        methods.push(route.method);
    }
    if methods.is_empty() { Err(Mismatch::Unknown) } else { Err(Mismatch::Method(methods)) }
}

/// Segments after `/v2`, each decoded once. An empty last segment (trailing slash) is dropped.
fn decode(path: &str) -> Option<Vec<String>> {
    let rest = path.strip_prefix("/v2")?;
    if rest.is_empty() || rest == "/" {
        return Some(Vec::new());
    }
    let rest = rest.strip_prefix('/')?;
    rest.strip_suffix('/')
        .unwrap_or(rest)
        .split('/')
        .map(|segment| {
            let decoded = percent_decode_str(segment).decode_utf8().ok()?;
            let clean = !decoded.is_empty()
                && !decoded.contains(['/', '\\'])
                && !decoded.chars().any(char::is_control);
            clean.then(|| decoded.into_owned())
        })
        .collect()
}

/// Matches a template against segments, from the right. Returns the name and the last placeholder's value.
fn fit(template: &str, segments: &[String]) -> Option<(String, String)> {
    let template = template.strip_prefix("/v2/")?;
    let template = template.strip_suffix('/').unwrap_or(template);
    let mut rest = segments;
    let mut last = String::new();
    if template.is_empty() {
        return segments.is_empty().then(Default::default);
    }
    for part in template.rsplit('/') {
        if part == "{name}" {
            return (!rest.is_empty()).then(|| (rest.join("/"), last));
        }
        let (segment, before) = rest.split_last()?;
        if part.starts_with('{') {
            last.clone_from(segment);
        } else if part != segment {
            return None;
        }
        rest = before;
    }
    rest.is_empty().then_some((String::new(), last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, path: &str, expected: Result<(Operation, &str, &str), Mismatch>) {
        let found = find(&method, path);
        let expected = expected.map(|(operation, name, last)| Matched {
            operation,
            name: name.to_owned(),
            last: last.to_owned(),
        });
        assert_eq!(found, expected, "{method} {path}");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            cases: 1024, failure_persistence: None, ..Default::default()
        })]

        /// Whatever the path, it is read without a panic; what is found of it is whole segments that hide nothing, and
        /// the same path has one meaning.
        #[test]
        fn any_path(path in "/v2(/([a-z0-9]{1,3}|blobs|uploads|manifests|tags|list|referrers|_catalog|%2[fe5]|%[0-9a-f]{0,2}|[.]{1,2}|sha256:[0-9a-f]{0,3}|\\PC{0,3}|)){0,8}|\\PC{0,30}") {
            for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                let Ok(matched) = find(&method, &path) else { continue };
                proptest::prop_assert!(path.starts_with("/v2"), "{}", path);
                proptest::prop_assert!(!matched.last.contains(['/', '\\']), "{:?}", matched);
                let hidden = |segment: &str| segment.is_empty() || segment.contains('\\') || segment.chars().any(char::is_control);
                proptest::prop_assert!(matched.name.is_empty() || !matched.name.split('/').any(hidden), "{:?}", matched);
                proptest::prop_assert_eq!(find(&method, &path), Ok(matched));
            }
        }
    }

    #[test]
    fn paths_match_from_the_right() {
        use Operation::*;
        let get = Method::GET;
        check(get.clone(), "/v2/", Ok((Base, "", "")));
        check(get.clone(), "/v2", Ok((Base, "", "")));
        check(get.clone(), "/v2/_catalog", Ok((Catalog, "", "")));
        check(get.clone(), "/v2/_catalog/", Ok((Catalog, "", "")));
        check(get.clone(), "/v2/%5fcatalog", Ok((Catalog, "", "")));
        check(get.clone(), "/v2/a/b/tags/list", Ok((TagsList, "a/b", "")));
        check(get.clone(), "/v2/a/tags/list/tags/list", Ok((TagsList, "a/tags/list", "")));
        check(get.clone(), "/v2/a/blobs/blobs/sha256:1", Ok((BlobGet, "a/blobs", "sha256:1")));
        check(get.clone(), "/v2/a/b/blobs/sha256%3A1", Ok((BlobGet, "a/b", "sha256:1")));
        check(get.clone(), "/v2/a/blobs/uploads/manifests/x", Ok((ManifestGet, "a/blobs/uploads", "x")));
        check(get.clone(), "/v2/a/b/blobs/uploads/id", Ok((UploadStatus, "a/b", "id")));
        check(Method::POST, "/v2/a/b/blobs/uploads/", Ok((UploadStart, "a/b", "")));
        check(Method::POST, "/v2/a/b/blobs/uploads", Ok((UploadStart, "a/b", "")));
        check(get, "/v2/a/b/referrers/sha256:1", Ok((ReferrersList, "a/b", "sha256:1")));
    }

    #[test]
    fn what_hides_something_is_no_path() {
        for path in [
            "/v2/a%2fb/c/tags/list",
            "/v2/a/%00/tags/list",
            "/v2//_catalog",
            "/v2/a//tags/list",
            "/v2x",
            "/v2/a\\b/tags/list",
        ] {
            check(Method::GET, path, Err(Mismatch::Unknown));
        }
    }

    #[test]
    fn a_known_path_names_its_methods() {
        check(Method::POST, "/v2/a/b/tags/list", Err(Mismatch::Method(vec!["GET"])));
        check(
            Method::POST,
            "/v2/a/b/blobs/uploads/x",
            Err(Mismatch::Method(vec!["GET", "PATCH", "PUT", "DELETE"])),
        );
        check(Method::PUT, "/v2/a/b/blobs/sha256:1", Err(Mismatch::Method(vec!["GET", "HEAD", "DELETE"])));
    }
}
