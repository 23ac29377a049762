//! Tokens as an attacker would make them: signed with the wrong key, with the wrong algorithm or not
//! at all, under headers that ask the verifier to trust something of the attacker's.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// A token taken apart, so that parts of it can be forged.
#[derive(Clone)]
pub struct Parts {
    pub header: Value,
    pub claims: Value,
    pub signature: String,
}

impl Parts {
    /// Splits a real token. Fails unless it is a JWS of three parts.
    pub fn of(token: &str) -> Parts {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, signature] = parts[..] else { panic!("not a JWS: {token}") };
        Parts { header: decode(header), claims: decode(claims), signature: signature.to_owned() }
    }

    /// The id of the key that signed the real token.
    pub fn key_id(&self) -> &str {
        self.header["kid"].as_str().expect("our tokens name their key")
    }

    /// `access` of the token, as `(name, actions)`.
    pub fn access(&self) -> Vec<(String, Vec<String>)> {
        let entries = self.claims["access"].as_array().expect("access is a list");
        entries
            .iter()
            .map(|entry| {
                let actions = entry["actions"].as_array().expect("actions is a list").iter();
                let actions =
                    actions.map(|action| action.as_str().expect("an action is text").to_owned()).collect();
                (entry["name"].as_str().expect("a name is text").to_owned(), actions)
            })
            .collect()
    }

    /// The part that is signed.
    pub fn message(&self) -> String {
        format!("{}.{}", encode(&self.header), encode(&self.claims))
    }

    /// The token with this signature.
    pub fn with_signature(&self, signature: &str) -> String {
        format!("{}.{signature}", self.message())
    }

    /// The token signed with HMAC-SHA-256 under `secret`.
    pub fn signed_hs256(&self, secret: &[u8]) -> String {
        self.signed(&EncodingKey::from_secret(secret), Algorithm::HS256)
    }

    /// The token signed by the attacker.
    pub fn signed_by(&self, attacker: &Attacker) -> String {
        self.signed(&EncodingKey::from_ec_der(&attacker.key.serialize_der()), Algorithm::ES256)
    }

    /// The token signed with a key of the platform itself (see [`crate::Inside::signing_key`]).
    pub fn signed_es256(&self, key: &EncodingKey) -> String {
        self.signed(key, Algorithm::ES256)
    }

    fn signed(&self, key: &EncodingKey, algorithm: Algorithm) -> String {
        let message = self.message();
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).expect("the key fits");
        format!("{message}.{signature}")
    }

    /// A copy with one header member set.
    pub fn header(&self, name: &str, value: Value) -> Parts {
        let mut copy = self.clone();
        copy.header[name] = value;
        copy
    }

    /// A copy with one claim set, or removed by null.
    pub fn claim(&self, name: &str, value: Value) -> Parts {
        let mut copy = self.clone();
        match value {
            Value::Null => drop(copy.claims.as_object_mut().expect("claims are an object").remove(name)),
            value => copy.claims[name] = value,
        }
        copy
    }
}

/// Somebody with a key pair of their own.
pub struct Attacker {
    key: rcgen::KeyPair,
}

impl Default for Attacker {
    fn default() -> Self {
        Attacker { key: rcgen::KeyPair::generate().expect("P-256 keys can be made") }
    }
}

impl Attacker {
    /// The attacker's public key as a JWK under this id.
    pub fn jwk(&self, key_id: &str) -> Value {
        // 0x04, then both coordinates.
        let point = self.key.public_key_raw();
        json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": key_id,
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..65]),
        })
    }

    /// A self-signed certificate of the key, DER in standard base64 as `x5c` wants it.
    pub fn certificate(&self) -> String {
        let parameters =
            rcgen::CertificateParams::new(vec!["attacker.test".to_owned()]).expect("a plain name");
        let certificate = parameters.self_signed(&self.key).expect("the key signs");
        base64::engine::general_purpose::STANDARD.encode(certificate.der())
    }
}

/// A token of these very texts, signed with a key of the platform itself: for JSON that no library writes.
pub fn sign_text(header: &str, claims: &str, key: &EncodingKey) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), key, Algorithm::ES256).expect("the key fits");
    format!("{message}.{signature}")
}

/// A JSON value as a token part.
pub fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn decode(part: &str) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("token parts are URL-safe base64");
    serde_json::from_slice(&bytes).expect("token parts are JSON")
}
