//! One use of an operation.

use hythe_testbed::{Client, Request};
use reqwest::Method;
use serde_json::Value;

use super::facts::Fact;

/// An operation with everything that a request of it says.
#[derive(Clone)]
pub struct Call {
    pub id: &'static str,
    pub client: Option<Client>,
    values: Vec<(String, String)>,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Option<String>,
    slash: bool,
    /// Whether everybody may, signed in or not.
    pub open: bool,
}

/// By the administrator, with nothing said yet.
pub fn call(id: &'static str) -> Call {
    Call {
        id,
        client: None,
        values: Vec::new(),
        query: Vec::new(),
        headers: Vec::new(),
        body: None,
        slash: false,
        open: false,
    }
}

impl Call {
    /// What a placeholder of the path stands for, as it is sent.
    pub fn at(mut self, name: &str, value: impl ToString) -> Call {
        self.values.push((name.to_owned(), value.to_string()));
        self
    }

    /// The same with another value for a placeholder.
    pub fn instead(mut self, name: &str, value: &str) -> Call {
        self.values.retain(|(known, _)| known != name);
        self.at(name, value)
    }

    /// Something that everybody may see.
    pub fn open(mut self) -> Call {
        self.open = true;
        self
    }

    /// A parameter of the query, in place of one of that name.
    pub fn query(self, name: &str, value: impl ToString) -> Call {
        let mut call = self.without(name);
        call.query.push((name.to_owned(), value.to_string()));
        call
    }

    pub fn without(mut self, name: &str) -> Call {
        self.query.retain(|(known, _)| known != name);
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Call {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: &Value) -> Call {
        self.body = Some(body.to_string());
        self
    }

    pub fn raw(mut self, body: &str) -> Call {
        self.body = Some(body.to_owned());
        self
    }

    pub fn by(mut self, client: &Client) -> Call {
        self.client = Some(client.clone());
        self
    }

    pub fn slash(mut self, slash: bool) -> Call {
        self.slash = slash;
        self
    }

    /// The path without a slash at the end.
    pub fn path(&self, fact: &Fact) -> String {
        let mut path = format!("/api/v2.0{}", fact.path);
        for (name, value) in &self.values {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        assert!(!path.contains('{'), "{path} of {} is not filled in", self.id);
        path
    }

    pub fn request(&self, client: &Client, fact: &Fact, request_id: &str) -> Request {
        let method: Method = fact.method.parse().expect("a method");
        let slash = if self.slash { "/" } else { "" };
        let mut request =
            client.request(method, format!("{}{slash}", self.path(fact))).header("x-request-id", request_id);
        for (name, value) in &self.query {
            request = request.query(name, value);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        match &self.body {
            Some(body) => request.header("content-type", "application/json").body(body.clone()),
            None => request,
        }
    }
}
