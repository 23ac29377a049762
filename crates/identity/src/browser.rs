//! What a browser shows with a session: the name of its cookie, and the token that proves a change was meant.
//!
//! A cookie comes with every request that a browser makes, also when another site caused it. The token is in our pages
//! alone, so a change needs both.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// The header in which clients send the token, where a form has a field for it.
pub const TOKEN_HEADER: &str = "X-Harbor-CSRF-Token";

/// The name of the cookie with the session. Over https browsers keep cookies of this prefix from other hosts and paths.
pub fn session_cookie(secure: bool) -> &'static str {
    if secure { "__Host-hythe" } else { "hythe" }
}

/// The token that belongs to a cookie: of the session, or of a visitor without one. It tells nothing about the cookie, and
/// no other cookie has the same.
pub fn form_token(cookie: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(b"hythe console form\0");
    hash.update(cookie.as_bytes());
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

/// Whether two tokens are the same, in the same time wherever they differ.
pub fn same_token(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// Whether the browser itself says that another site caused the request (`Sec-Fetch-Site`).
pub fn from_another_site(fetch_site: Option<&str>) -> bool {
    fetch_site.is_some_and(|site| site != "same-origin" && site != "none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_belong_to_one_cookie() {
        assert_ne!(form_token("a"), form_token("b"));
        assert!(
            same_token(&form_token("a"), &form_token("a")) && !same_token(&form_token("a"), &form_token("b"))
        );
        assert!(!same_token("", "a"));
    }

    #[test]
    fn other_sites_are_known_by_what_the_browser_says() {
        for (said, other) in [
            (None, false),
            (Some("same-origin"), false),
            (Some("none"), false),
            (Some("same-site"), true),
            (Some("cross-site"), true),
            (Some(""), true),
        ] {
            assert_eq!(from_another_site(said), other, "{said:?}");
        }
    }
}
