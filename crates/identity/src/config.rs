//! What an operator may set about identity (section `identity` of the configuration file).

use serde::{Deserialize, Serialize};

/// How registry tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SigningAlgorithm {
    /// ECDSA over P-256: small tokens, the default.
    ES256,
    /// RSA 2048 with PKCS#1 v1.5, for verifiers that know nothing else.
    RS256,
}

impl SigningAlgorithm {
    /// The name in a token header and in `identity.signing_keys.algorithm`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::RS256 => "RS256",
        }
    }
}

/// Section `identity`. The defaults here are those of the shipped file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `iss` of registry tokens.
    pub token_issuer: String,
    /// `aud` of registry tokens and the only `service` the token endpoint knows.
    pub token_service: String,
    /// Lifetime of registry tokens in minutes, 1 to 240.
    pub token_minutes: u32,
    /// Algorithm of newly made signing keys.
    pub signing_algorithm: SigningAlgorithm,
    /// Days until a signing key is replaced.
    pub signing_key_days: u32,
    /// Seconds between making a key and signing with it, so that every process has seen it before.
    pub signing_key_delay_seconds: u32,
    /// Days until a refresh token ends; 0 switches refresh tokens off.
    pub refresh_token_days: u32,
    /// Failed logins of one account from one address inside the window, before that pair is blocked.
    pub login_failures: u32,
    /// Failed logins from one address inside the window, before the address is blocked.
    pub login_failures_per_address: u32,
    /// Length of the window in seconds.
    pub login_window_seconds: u32,
    /// First block in seconds; every further one is twice as long, up to an hour.
    pub login_block_seconds: u32,
    /// Seconds a positive password check is remembered, at most 60; 0 remembers nothing.
    pub remember_seconds: u32,
    /// Password checks that may wait for a processor core before logins are answered with 429.
    pub password_queue: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            token_issuer: "harbor-token-issuer".to_owned(),
            token_service: "harbor-registry".to_owned(),
            token_minutes: 30,
            signing_algorithm: SigningAlgorithm::ES256,
            signing_key_days: 90,
            signing_key_delay_seconds: 60,
            refresh_token_days: 30,
            login_failures: 5,
            login_failures_per_address: 100,
            login_window_seconds: 300,
            login_block_seconds: 300,
            remember_seconds: 60,
            password_queue: 128,
        }
    }
}

impl Config {
    /// Every value outside its range, as text that names the key. Empty when all is well.
    pub fn problems(&self) -> Vec<String> {
        let ranges = [
            ("token_minutes", self.token_minutes, 1, 240),
            ("signing_key_days", self.signing_key_days, 1, 3650),
            ("signing_key_delay_seconds", self.signing_key_delay_seconds, 0, 86_400),
            ("refresh_token_days", self.refresh_token_days, 0, 3650),
            ("login_failures", self.login_failures, 1, 1000),
            ("login_failures_per_address", self.login_failures_per_address, 2, 1_000_000),
            ("login_window_seconds", self.login_window_seconds, 1, 86_400),
            ("login_block_seconds", self.login_block_seconds, 1, 3600),
            ("remember_seconds", self.remember_seconds, 0, 60),
            ("password_queue", self.password_queue, 1, 10_000),
        ];
        let mut problems: Vec<String> = ranges
            .iter()
            .filter(|(_, value, low, high)| value < low || value > high)
            .map(|(key, value, low, high)| format!("identity.{key}: {value} is not between {low} and {high}"))
            .collect();
        for (key, value) in [("token_issuer", &self.token_issuer), ("token_service", &self.token_service)] {
            if value.is_empty() || value.len() > 255 {
                problems.push(format!("identity.{key}: between 1 and 255 characters"));
            }
        }
        problems
    }

    /// Lifetime of registry tokens in seconds, never below 60.
    pub fn token_seconds(&self) -> i64 {
        i64::from(self.token_minutes.max(1)) * 60
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_in_range_and_problems_name_the_key() {
        assert_eq!(Config::default().problems(), Vec::<String>::new());
        let config = Config { token_minutes: 0, token_service: String::new(), ..Config::default() };
        let problems = config.problems().join("\n");
        assert!(problems.contains("identity.token_minutes") && problems.contains("identity.token_service"));
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"token_minutes":5}"#).is_ok());
        assert!(serde_json::from_str::<Config>(r#"{"token_minute":5}"#).is_err());
    }
}
