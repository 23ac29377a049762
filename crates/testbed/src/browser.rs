//! A browser without scripts: keeps its cookies, sends the forms of the console with their tokens, follows nothing.

use std::collections::BTreeMap;

use reqwest::Method;

use crate::{Answer, Bed, Client, Request, User};

/// What stands before the token in every form.
const FORM_TOKEN: &str = "name=\"csrf\" value=\"";

/// A browser. A clone has the same cookies, and gets none that the other gets later.
#[derive(Clone)]
pub struct Browser {
    client: Client,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    /// Nobody, who has been nowhere.
    pub fn new(bed: &Bed) -> Browser {
        Browser { client: bed.nobody(), cookies: BTreeMap::new() }
    }

    /// Goes through the form of the sign-in page. Fails unless it leads on.
    pub async fn signed_in(bed: &Bed, user: &User) -> Browser {
        let mut browser = Browser::new(bed);
        browser.sign_in(user).await.expect(303);
        assert!(browser.cookie("hythe").is_some(), "{} has no session", user.name);
        browser
    }

    /// Sends the form of the sign-in page.
    pub async fn sign_in(&mut self, user: &User) -> Answer {
        let fields = [("name", user.name.as_str()), ("password", user.password.as_str()), ("return", "/")];
        self.post("/login", "/login", &fields).await
    }

    /// The value of a cookie that it keeps.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    /// Keeps a cookie that somebody planted.
    pub fn plant(&mut self, name: &str, value: &str) {
        self.cookies.insert(name.to_owned(), value.to_owned());
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        let request = self.request(Method::GET, path);
        self.send(request).await
    }

    /// Sends these fields with the token of the page `from`.
    pub async fn post(&mut self, from: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.token(from).await;
        let mut all = vec![("csrf", token.as_str())];
        all.extend_from_slice(fields);
        self.post_raw(path, &all).await
    }

    /// Sends these fields and no token that is not among them.
    pub async fn post_raw(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let request = self.request(Method::POST, path).form(fields);
        self.send(request).await
    }

    /// The token in the forms of a page.
    pub async fn token(&mut self, from: &str) -> String {
        let page = self.get(from).await;
        let text = page.text();
        let found = text.split_once(FORM_TOKEN).and_then(|(_, rest)| rest.split_once('"'));
        found.unwrap_or_else(|| panic!("no form in {page}")).0.to_owned()
    }

    /// A request with the cookies, and without `Authorization`.
    pub fn request(&self, method: Method, path: &str) -> Request {
        let request = self.client.request(method, path).header("accept-language", "en");
        if self.cookies.is_empty() {
            return request;
        }
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        request.header("cookie", pairs.join("; "))
    }

    /// Sends it and keeps the cookies of the answer.
    pub async fn send(&mut self, request: Request) -> Answer {
        let answer = request.send().await;
        for line in answer.headers.get_all("set-cookie") {
            let line = line.to_str().unwrap_or_default();
            let Some((name, value)) = line.split(';').next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }
}
