//! What an operator says about the bucket, section `storage.s3`.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The smallest part S3 accepts, except as the last one.
const PART_MIB_MIN: u64 = 5;
/// Larger ones would let too few uploads share the memory for parts.
const PART_MIB_MAX: u64 = 16;
/// A signed address may not live longer than this anywhere.
const REDIRECT_MINUTES_MAX: u64 = 7 * 24 * 60;

/// Start-up configuration of the S3 driver, section `storage.s3`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Config {
    pub bucket: Option<String>,
    pub region: String,
    /// Address of the service; unset: Amazon's in the region. Plain HTTP only when it says so.
    pub endpoint: Option<String>,
    pub access_key: Option<Credential>,
    pub secret_key: Option<Credential>,
    /// Everything is kept below this part of the key space, so that a bucket can be shared.
    pub prefix: String,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`.
    pub path_style: bool,
    pub encryption: Encryption,
    /// The key of the key service, for [`Encryption::Kms`].
    pub kms_key_id: Option<String>,
    /// PEM file of the authority that signed the endpoint's certificate, when the system does not know it.
    pub ca_file: Option<PathBuf>,
    pub part_mib: u64,
    /// Whether clients fetch blobs from the bucket themselves, with a signed address.
    pub redirect: bool,
    pub redirect_minutes: u64,
    /// Clients whose `User-Agent` begins like one of these are never sent elsewhere.
    pub redirect_never: Vec<String>,
    /// Whether the first whole reading of a blob by this process checks its digest.
    pub verify_reads: bool,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            bucket: None,
            region: "us-east-1".to_owned(),
            endpoint: None,
            access_key: None,
            secret_key: None,
            prefix: String::new(),
            path_style: false,
            encryption: Encryption::None,
            kms_key_id: None,
            ca_file: None,
            part_mib: 8,
            redirect: false,
            redirect_minutes: 20,
            redirect_never: Vec::new(),
            verify_reads: true,
        }
    }
}

/// What the service is asked to encrypt stored bytes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Encryption {
    /// Whatever the bucket does by itself.
    #[serde(rename = "none")]
    None,
    /// Keys of the storage service.
    #[serde(rename = "AES256")]
    Aes256,
    /// A key of the key service.
    #[serde(rename = "aws:kms")]
    Kms,
}

/// Half of an access key. Never printed.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Credential(String);

impl Credential {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

impl Serialize for Credential {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("…")
    }
}

impl S3Config {
    /// What makes these settings unusable, each as the key within the section and a message.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let given = |credential: &Option<Credential>| {
            credential.as_ref().is_some_and(|credential| !credential.expose().is_empty())
        };
        let mut problems = Vec::new();
        let mut wrong = |key, message: &str| problems.push((key, message.to_owned()));
        if self.bucket.as_deref().is_none_or(str::is_empty) {
            wrong("bucket", "name the bucket");
        }
        if !given(&self.access_key) {
            wrong("access_key", "set the access key");
        }
        if !given(&self.secret_key) {
            wrong("secret_key", "set the secret key");
        }
        if let Some(endpoint) = &self.endpoint {
            let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
            let bare = |host: &str| !host.is_empty() && !host.contains(['@', '?', '#', ' ']);
            if !host.is_some_and(bare) {
                wrong("endpoint", "not an address such as https://s3.example.org");
            }
        }
        if self.prefix.split('/').any(|part| part == "." || part == "..")
            || !self.prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
        {
            wrong("prefix", "letters, digits, '-', '_', '.' and '/' only, and no part that is '.' or '..'");
        }
        match (self.encryption, &self.kms_key_id) {
            (Encryption::Kms, None) => wrong("kms_key_id", "aws:kms needs the id of a key"),
            (Encryption::None | Encryption::Aes256, Some(_)) => {
                wrong("kms_key_id", "only used with encryption: aws:kms");
            }
            _ => {}
        }
        let range = |value: u64, low: u64, high: u64| {
            (!(low..=high).contains(&value)).then(|| format!("{value} is not between {low} and {high}"))
        };
        if let Some(message) = range(self.part_mib, PART_MIB_MIN, PART_MIB_MAX) {
            wrong("part_mib", &message);
        }
        if let Some(message) = range(self.redirect_minutes, 1, REDIRECT_MINUTES_MAX) {
            wrong("redirect_minutes", &message);
        }
        problems
    }

    /// The prefix as it stands in keys: empty, or with one slash at its end.
    pub(super) fn key_prefix(&self) -> String {
        let parts: Vec<&str> = self.prefix.split('/').filter(|part| !part.is_empty()).collect();
        if parts.is_empty() { String::new() } else { format!("{}/", parts.join("/")) }
    }

    pub(super) fn plain_http(&self) -> bool {
        self.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> S3Config {
        S3Config {
            bucket: Some("b".to_owned()),
            access_key: Some(Credential::new("a".to_owned())),
            secret_key: Some(Credential::new("hunter2".to_owned())),
            ..S3Config::default()
        }
    }

    #[test]
    fn every_wrong_setting_is_named() {
        assert_eq!(complete().problems(), []);
        type Change = fn(&mut S3Config);
        let cases: [(&str, Change); 9] = [
            ("bucket", |config| config.bucket = None),
            ("access_key", |config| config.access_key = Some(Credential::new(String::new()))),
            ("secret_key", |config| config.secret_key = None),
            ("endpoint", |config| config.endpoint = Some("s3.example.org".to_owned())),
            ("endpoint", |config| config.endpoint = Some("https://user:pass@s3.example.org".to_owned())),
            ("prefix", |config| config.prefix = "a/../b".to_owned()),
            ("kms_key_id", |config| config.encryption = Encryption::Kms),
            ("part_mib", |config| config.part_mib = 4),
            ("redirect_minutes", |config| config.redirect_minutes = 0),
        ];
        for (key, change) in cases {
            let mut config = complete();
            change(&mut config);
            let named: Vec<_> = config.problems().into_iter().map(|(key, _)| key).collect();
            assert_eq!(named, [key]);
        }
    }

    #[test]
    fn the_secret_key_is_never_shown() {
        assert!(!format!("{:?}", complete()).contains("hunter2"));
    }

    #[test]
    fn a_prefix_ends_with_one_slash() {
        for (given, expected) in [("", ""), ("/", ""), ("a", "a/"), ("/a//b/", "a/b/")] {
            let config = S3Config { prefix: given.to_owned(), ..complete() };
            assert_eq!(config.key_prefix(), expected, "{given}");
        }
    }
}
