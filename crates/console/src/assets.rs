//! Style sheets, scripts and pictures, embedded in the program (see `build.rs`).

use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse};

/// One file, in the three forms that clients take.
struct Asset {
    name: &'static str,
    /// Holds a hash of the content.
    path: &'static str,
    media_type: &'static str,
    raw: &'static [u8],
    gzip: &'static [u8],
    brotli: &'static [u8],
}

const ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Where the file of this name is served. An unknown name is a defect that the first look at a page shows.
pub(crate) fn path(name: &str) -> &'static str {
    ASSETS.iter().find(|asset| asset.name == name).map_or("/assets/missing", |asset| asset.path)
}

/// Answers everything below `/assets`.
pub(crate) async fn serve(request: HttpRequest) -> HttpResponse {
    let Some(asset) = ASSETS.iter().find(|asset| asset.path == request.path()) else {
        return HttpResponse::NotFound()
            .content_type("text/plain; charset=utf-8")
            .body("There is no such file.\n");
    };
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, asset.media_type))
        .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((VARY, "Accept-Encoding"));
    if takes(request.headers(), "br") {
        return response.insert_header((CONTENT_ENCODING, "br")).body(asset.brotli);
    }
    if takes(request.headers(), "gzip") {
        return response.insert_header((CONTENT_ENCODING, "gzip")).body(asset.gzip);
    }
    response.body(asset.raw)
}

/// Whether the client names the coding without refusing it.
fn takes(headers: &HeaderMap, coding: &str) -> bool {
    let accept = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|part| {
        let mut words = part.split(';').map(str::trim);
        words.next() == Some(coding)
            && !words.any(|word| matches!(word, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    #[test]
    fn names_hold_the_hash_of_what_is_served() {
        assert!(!ASSETS.is_empty());
        for asset in ASSETS {
            let hash: String = Sha256::digest(asset.raw).iter().take(8).map(|b| format!("{b:02x}")).collect();
            assert!(asset.path.contains(&hash), "{}", asset.path);
            assert_eq!(path(asset.name), asset.path);
        }
    }

    /// What is served of others is what they published: the record of it, hashed again.
    #[test]
    #[expect(clippy::unwrap_used, reason = "a test")]
    fn files_of_others_are_as_they_came() {
        let record = include_str!("../../../web/vendor/VENDOR.toml");
        let values = |key: &str| -> Vec<&str> {
            let lines = record.lines().filter_map(|line| line.split_once(" = "));
            lines.filter(|(found, _)| *found == key).map(|(_, value)| value.trim_matches('"')).collect()
        };
        let [file] = values("file")[..] else { panic!("one file: {record}") };
        let served = ASSETS.iter().find(|asset| asset.name == file).unwrap().raw;
        let hash =
            |bytes: &[u8]| Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
        let lengths: Vec<usize> = values("bytes").iter().map(|text| text.parse().unwrap()).collect();
        let (first, second) = (&served[..lengths[0]], &served[lengths[0] + 1..]);
        assert_eq!(second.len(), lengths[1]);
        assert_eq!(values("sha256"), [hash(served), hash(first), hash(second)]);
    }

    #[actix_web::test]
    async fn clients_get_the_form_they_take() {
        let asset = &ASSETS[0];
        for (accept, coding) in
            [("gzip, br", Some("br")), ("gzip", Some("gzip")), ("br;q=0", None), ("", None)]
        {
            let request = actix_web::test::TestRequest::get()
                .uri(asset.path)
                .insert_header((ACCEPT_ENCODING, accept))
                .to_http_request();
            let response = serve(request).await;
            let got = response.headers().get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
            assert_eq!(got, coding, "{accept}");
        }
    }
}
