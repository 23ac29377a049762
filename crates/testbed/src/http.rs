//! A client of the public listener that sends what it is told and follows nothing.

use std::fmt::Display;

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::{Answer, Bed};

/// What a client presents with every request.
#[derive(Clone)]
pub enum Credentials {
    Nobody,
    Basic { name: String, password: String },
    Bearer(String),
}

/// A client. Paths are relative to the server, percent-encoded as they shall be sent.
#[derive(Clone)]
pub struct Client {
    bed: Bed,
    credentials: Credentials,
}

impl Client {
    pub fn new(bed: Bed, credentials: Credentials) -> Client {
        Client { bed, credentials }
    }

    pub fn bed(&self) -> &Bed {
        &self.bed
    }

    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub async fn get(&self, path: impl Display) -> Answer {
        self.request(Method::GET, path).send().await
    }

    pub async fn head(&self, path: impl Display) -> Answer {
        self.request(Method::HEAD, path).send().await
    }

    pub async fn delete(&self, path: impl Display) -> Answer {
        self.request(Method::DELETE, path).send().await
    }

    pub async fn post(&self, path: impl Display, body: Value) -> Answer {
        self.request(Method::POST, path).json(body).send().await
    }

    pub async fn put(&self, path: impl Display, body: Value) -> Answer {
        self.request(Method::PUT, path).json(body).send().await
    }

    pub fn request(&self, method: Method, path: impl Display) -> Request {
        let mut headers = HeaderMap::new();
        let authorization = match &self.credentials {
            Credentials::Nobody => None,
            Credentials::Basic { name, password } => {
                use base64::Engine;
                let pair = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
                Some(format!("Basic {pair}"))
            }
            Credentials::Bearer(token) => Some(format!("Bearer {token}")),
        };
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(&value).expect("credentials are printable"));
        }
        Request {
            client: self.clone(),
            method,
            path: path.to_string(),
            headers,
            body: reqwest::Body::from(""),
            query: Vec::new(),
        }
    }

    /// Asks the token service for `scopes` with these credentials. Fails unless it answers 200.
    pub async fn token(&self, scopes: &[&str]) -> String {
        let answer = self.token_answer(scopes).await.expect(200).json();
        let token = answer["token"].as_str().unwrap_or_default().to_owned();
        assert!(!token.is_empty() && answer["access_token"] == answer["token"], "{answer}");
        token
    }

    pub async fn token_answer(&self, scopes: &[&str]) -> Answer {
        let mut request = self.request(Method::GET, "/service/token").query("service", "harbor-registry");
        for scope in scopes {
            request = request.query("scope", scope);
        }
        request.send().await
    }
}

/// A request being put together.
pub struct Request {
    client: Client,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: reqwest::Body,
    query: Vec<(String, String)>,
}

impl Request {
    /// Adds a header line; several of one name are sent as several.
    pub fn header(mut self, name: &str, value: impl Display) -> Request {
        let name: HeaderName = name.parse().expect("a header name");
        self.headers.append(name, value.to_string().parse().expect("a header value"));
        self
    }

    /// Adds a query parameter, percent-encoded here.
    pub fn query(mut self, name: &str, value: impl Display) -> Request {
        self.query.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn body(mut self, body: impl Into<reqwest::Body>) -> Request {
        self.body = body.into();
        self
    }

    pub fn json(self, body: Value) -> Request {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub fn form(self, fields: &[(&str, &str)]) -> Request {
        let encode = |text: &str| -> String {
            text.bytes()
                .map(|byte| match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                        char::from(byte).to_string()
                    }
                    other => format!("%{other:02X}"),
                })
                .collect()
        };
        let body: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        self.header("content-type", "application/x-www-form-urlencoded").body(body.join("&"))
    }

    /// Sends it and reads the whole answer. A request that gets no answer fails the test.
    pub async fn send(self) -> Answer {
        let request = format!("{} {}", self.method, self.path);
        self.try_send().await.unwrap_or_else(|err| panic!("{request}: no answer: {err}"))
    }

    /// As `send`, but a broken connection or body is a value: some tests break them.
    pub async fn try_send(self) -> Result<Answer, String> {
        let request = format!("{} {}", self.method, self.path);
        let explain = |err: reqwest::Error| {
            let mut text = err.to_string();
            let mut source = std::error::Error::source(&err);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            text
        };
        let url = format!("{}{}", self.client.bed.url(), self.path);
        let mut builder =
            self.client.bed.http().request(self.method, url).headers(self.headers).body(self.body);
        if !self.query.is_empty() {
            builder = builder.query(&self.query);
        }
        let answer = builder.send().await.map_err(explain)?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.map_err(explain)?;
        Ok(Answer { request, status, headers, body })
    }

    /// Sends it and throws the body away as it comes, for answers that nobody should hold: status and length.
    pub async fn send_discarding(self) -> Result<(u16, u64), String> {
        let url = format!("{}{}", self.client.bed.url(), self.path);
        let builder = self.client.bed.http().request(self.method, url).headers(self.headers).body(self.body);
        let mut answer = builder.query(&self.query).send().await.map_err(|err| err.to_string())?;
        let mut length = 0;
        while let Some(chunk) = answer.chunk().await.map_err(|err| err.to_string())? {
            length += chunk.len() as u64;
        }
        Ok((answer.status().as_u16(), length))
    }
}
