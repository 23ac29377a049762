//! The REST API against facts of the API it is compatible with: `contract/facts.json` has names, types and statuses
//! of every operation that Hythe has in common with Harbor (`scripts/contract-facts.py` extracts them from Harbor's
//! description). Each operation is used as clients use it, and every answer is compared: status, headers, and each
//! field's name and type. Where Hythe differs by intention, a table here says so; what is in no table fails. Every
//! answer is compared with the server's own description as well.

use std::collections::{BTreeMap, BTreeSet};

use hythe_testbed::{Bed, Client, Options};
use serde_json::{Value, json};

use self::call::{Call, call};
use self::facts::{Fact, facts};
use self::own::Own;
use self::scenario::Scenario;
use self::tables::{ADDITIONS, ALWAYS, STATUSES};

mod call;
mod facts;
pub mod own;
mod scenario;
mod tables;

/// What was found about the operations so far.
struct Contract {
    facts: Vec<Fact>,
    own: Own,
    nobody: Client,
    admin: Client,
    requests: usize,
    /// Operations that answered with a success.
    answered: BTreeSet<String>,
    /// Operations whose lists showed at least one row.
    rows: BTreeSet<String>,
    /// Refusals that nobody documents for the operation, and that all of this API has in common.
    common: BTreeSet<(String, u16)>,
    /// What is wrong, by operation.
    complaints: BTreeMap<String, BTreeSet<String>>,
}

impl Contract {
    fn fact(&self, id: &str) -> Fact {
        let found = self.facts.iter().find(|fact| fact.id == id);
        found.unwrap_or_else(|| panic!("{id} is no operation of the contract")).clone()
    }

    fn complain(&mut self, id: &str, what: impl Into<String>) {
        self.complaints.entry(id.to_owned()).or_default().insert(what.into());
    }

    fn expect(&mut self, id: &str, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.complain(id, what());
        }
    }

    /// Uses an operation as it shall succeed, and tries what else it documents.
    async fn succeeds(&mut self, call: Call) -> hythe_testbed::Answer {
        let fact = self.fact(call.id);
        self.refuses_nobody(&fact, &call).await;
        if fact.request.is_some() {
            self.refuses_no_json(&fact, &call).await;
        }
        self.misses(&fact, &call).await;
        let answer = self.send(&fact, &call).await;
        self.check(&fact, &call, &answer);
        if answer.status == 201 {
            self.repeats(&fact, &call).await;
        }
        if ["GET", "HEAD"].contains(&fact.method.as_str()) && answer.status == 200 {
            self.try_parameters(&fact, &call, &answer).await;
        }
        answer
    }

    /// Sends it under an id of its own, which has to come back.
    async fn send(&mut self, fact: &Fact, call: &Call) -> hythe_testbed::Answer {
        self.requests += 1;
        let id = format!("contract-{}", self.requests);
        let client = call.client.clone().unwrap_or_else(|| self.admin.clone());
        let answer = call.request(&client, fact, &id).send().await;
        self.expect(&fact.id, answer.header("x-request-id") == id, || format!("X-Request-Id of {answer}"));
        self.expect(&fact.id, answer.header("set-cookie").is_empty(), || format!("Set-Cookie of {answer}"));
        let known = fact.statuses.contains(&answer.status)
            || STATUSES.iter().any(|(ids, status, _)| {
                *status == answer.status && (ids.is_empty() || ids.contains(&fact.id.as_str()))
            });
        if known && !fact.statuses.contains(&answer.status) {
            self.common.insert((fact.id.clone(), answer.status));
        }
        self.expect(&fact.id, known, || format!("status nobody documents: {answer}"));
        for complaint in self.own.complaints(&fact.id, &answer) {
            self.complain(&fact.id, complaint);
        }
        if answer.status >= 400 && fact.method != "HEAD" {
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let errors = body["errors"].as_array().is_some_and(|errors| {
                errors.len() == 1 && errors[0]["code"].is_string() && errors[0]["message"].is_string()
            });
            self.expect(&fact.id, errors, || format!("envelope of {answer}"));
        }
        answer
    }

    /// Both forms of the path exist, with this method, and show nothing to who has not signed in.
    async fn refuses_nobody(&mut self, fact: &Fact, call: &Call) {
        let open = call.open || tables::OPEN.contains(&fact.id.as_str());
        for slash in [false, true] {
            let nobody = self.nobody.clone();
            let answer = self.send(fact, &call.clone().by(&nobody).slash(slash)).await;
            let right = if open { answer.status == 200 } else { answer.status == 401 };
            self.expect(&fact.id, right, || format!("without credentials (slash: {slash}): {answer}"));
        }
    }

    async fn refuses_no_json(&mut self, fact: &Fact, call: &Call) {
        let answer = self.send(fact, &call.clone().raw("{")).await;
        self.expect(&fact.id, answer.status == 400, || format!("a body that is no JSON: {answer}"));
    }

    /// What is not there is 404 to the administrator.
    async fn misses(&mut self, fact: &Fact, call: &Call) {
        let last =
            fact.path.rsplit_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(name, _)| name);
        let Some(last) =
            last.filter(|_| call.client.is_none() && !tables::MAKES_ROOM.contains(&fact.id.as_str()))
        else {
            return;
        };
        let (unknown, statuses): (&str, &[u16]) = match last {
            "addition" => ("nothing", &[400, 404, 422]),
            // A body about another key than the path is refused before anybody looks for the key.
            "meta_name" if fact.method == "PUT" => ("nothing", &[400]),
            name if name == "mid"
                || name == "id"
                || name.ends_with("_id") && name != "project_name_or_id" =>
            {
                ("999999999", &[404])
            }
            _ => ("no-such-thing", &[404]),
        };
        let answer = self.send(fact, &call.clone().instead(last, unknown)).await;
        self.expect(&fact.id, statuses.contains(&answer.status), || format!("{last} unknown: {answer}"));
    }

    /// Clients try again when a connection breaks: a second creation makes no second thing.
    async fn repeats(&mut self, fact: &Fact, call: &Call) {
        let answer = self.send(fact, call).await;
        let good =
            answer.status == 409 || tables::REPEATED.contains(&fact.id.as_str()) && answer.status == 201;
        self.expect(&fact.id, good, || format!("repeated: {answer}"));
    }

    /// Compares a success with what is documented.
    fn check(&mut self, fact: &Fact, call: &Call, answer: &hythe_testbed::Answer) {
        let id = fact.id.as_str();
        let Some(success) = fact.success.get(&answer.status) else {
            return self.complain(id, format!("no documented success: {answer}"));
        };
        self.answered.insert(id.to_owned());
        for header in &success.headers {
            match header.as_str() {
                "Location" if tables::NO_LOCATION.contains(&id) => {
                    self.expect(id, answer.header("location").is_empty(), || format!("Location of {answer}"));
                }
                "Location" => {
                    let elsewhere = tables::MADE_ELSEWHERE.iter().find(|(operation, _)| *operation == id);
                    let base =
                        elsewhere.map_or(format!("{}/", call.path(fact)), |(_, base)| (*base).to_owned());
                    let rest = answer.header("location").strip_prefix(&base);
                    let good = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains('/'));
                    self.expect(id, good, || format!("Location {:?} of {answer}", answer.header("location")));
                }
                "X-Total-Count" => {
                    let total = answer.header("x-total-count").parse::<usize>();
                    let rows = answer.json().as_array().map_or(0, Vec::len);
                    self.expect(id, total.is_ok_and(|total| total >= rows), || {
                        format!("X-Total-Count {:?} of {answer}", answer.header("x-total-count"))
                    });
                }
                // `Link` is there when there is another page: `try_parameters` makes one.
                "Link" => {}
                "Content-Type" | "X-Request-Id" => {
                    self.expect(id, !answer.header(header).is_empty(), || format!("no {header}: {answer}"));
                }
                other => self.complain(id, format!("nobody looks at the header {other}")),
            }
        }
        match &success.body {
            None => self.expect(id, answer.body.is_empty(), || format!("a body in {answer}")),
            // Texts, and what is read out of an artifact.
            Some(Value::String(_)) => {
                self.expect(id, !answer.body.is_empty(), || format!("no body in {answer}"));
            }
            Some(shape) => {
                let body = answer.json();
                if body.as_array().is_none_or(|rows| !rows.is_empty()) {
                    self.rows.insert(id.to_owned());
                    for pointer in
                        ALWAYS.iter().filter(|(ids, _)| ids.contains(&id)).flat_map(|(_, all)| *all)
                    {
                        self.expect(id, facts::has(&body, pointer), || format!("no {pointer} in {answer}"));
                    }
                }
                let mut wrong = Vec::new();
                facts::compare(shape, &body, "", &mut wrong);
                for (pointer, what) in wrong {
                    let ours = |(ids, fields): &(&[&str], &[&str])| {
                        ids.contains(&id) && fields.contains(&pointer.as_str())
                    };
                    if what != facts::UNKNOWN || !ADDITIONS.iter().any(ours) {
                        self.complain(id, format!("{pointer}: {what}"));
                    }
                }
            }
        }
    }

    /// Every documented parameter of an operation that reads: with a good value, and with a bad one.
    async fn try_parameters(&mut self, fact: &Fact, call: &Call, plain: &hythe_testbed::Answer) {
        let id = fact.id.as_str();
        let slash = self.send(fact, &call.clone().slash(true)).await;
        self.expect(id, slash.status == 200, || format!("with a slash at the end: {slash}"));
        let mut tried: Vec<(Call, u16, String)> = Vec::new();
        let mut with = |call: Call, status: u16, what: String| tried.push((call, status, what));
        for parameter in fact.parameters.iter().filter(|parameter| parameter.place == "query") {
            let name = parameter.name.as_str();
            if parameter.required {
                with(call.clone().without(name), 422, format!("without {name}"));
            } else {
                let status = if tables::NEEDED.contains(&(id, name)) { 422 } else { 200 };
                with(call.clone().query(name, ""), status, format!("{name} empty"));
            }
            match (name, parameter.kind.as_str()) {
                ("q", _) if parameter.required => {}
                ("q", _) => {
                    let good =
                        tables::FILTERS.iter().find(|(of, _)| *of == id).map_or("id=1", |(_, good)| good);
                    with(call.clone().query(name, good), 200, format!("q={good}"));
                    with(call.clone().query(name, "nothing=1"), 400, "an unknown key in q".to_owned());
                    with(call.clone().query(name, "nothing"), 400, "q without a value".to_owned());
                }
                ("sort", _) => {
                    for sort in ["-id", "creation_time", "nothing"] {
                        with(call.clone().query(name, sort), 200, format!("sort={sort}"));
                    }
                }
                ("page_size", _) => {
                    for (size, status) in [("1", 200), ("100", 200), ("0", 200), ("101", 422), ("x", 422)] {
                        with(call.clone().query(name, size), status, format!("page_size={size}"));
                    }
                }
                ("page", _) => {
                    for (page, status) in [("1", 200), ("0", 200), ("1000", 200), ("x", 422)] {
                        with(call.clone().query(name, page), status, format!("page={page}"));
                    }
                }
                (_, "boolean") => {
                    for (value, status) in
                        [("true", 200), ("false", 200), ("True", 200), ("0", 200), ("maybe", 422)]
                    {
                        // Two flags ask for something else beside them: `scenario.rs` has them.
                        if status == 422 || name != "latest_in_repository" {
                            with(call.clone().query(name, value), status, format!("{name}={value}"));
                        }
                    }
                }
                (_, "integer") => {
                    with(call.clone().query(name, "1x"), 422, format!("{name}=1x"));
                }
                _ => {}
            }
        }
        for header in fact.parameters.iter().filter(|parameter| parameter.place == "header") {
            match header.name.as_str() {
                "X-Request-Id" => {}
                "X-Accept-Vulnerabilities" => {
                    let report = "application/vnd.security.vulnerability.report; version=1.1";
                    with(call.clone().header(&header.name, report), 200, header.name.clone());
                }
                "X-Is-Resource-Name" => {
                    with(call.clone().header(&header.name, "true"), 200, header.name.clone());
                    with(call.clone().header(&header.name, "maybe"), 422, format!("{}: maybe", header.name));
                }
                other => self.complain(id, format!("nobody tries the header {other}")),
            }
        }
        for (call, status, what) in tried {
            let answer = self.send(fact, &call).await;
            if fact.method == "HEAD" || answer.status != status {
                self.expect(id, answer.status == status, || format!("{what}: {answer}"));
                continue;
            }
            if status == 200 {
                self.check(fact, &call, &answer);
            }
        }
        self.try_pages(fact, call, plain).await;
    }

    /// A page of one row says where the next one is, and the next one where this one was.
    async fn try_pages(&mut self, fact: &Fact, call: &Call, plain: &hythe_testbed::Answer) {
        let id = fact.id.as_str();
        let linked =
            fact.success.get(&200).is_some_and(|success| success.headers.iter().any(|name| name == "Link"));
        let total: usize = plain.header("x-total-count").parse().unwrap_or_default();
        if !linked || total < 2 {
            return;
        }
        let first = self.send(fact, &call.clone().query("page_size", "1")).await;
        let next = first.header("link").to_owned();
        let path =
            next.strip_prefix('<').and_then(|rest| rest.split_once('>')).map(|(path, _)| path.to_owned());
        let good = next.ends_with("rel=\"next\"") && next.matches("rel=").count() == 1;
        let Some(path) = path.filter(|path| good && path.starts_with("/api/v2.0/")) else {
            return self.complain(id, format!("Link of the first page: {next:?}"));
        };
        let second = self.admin.get(&path).await;
        self.requests += 1;
        self.expect(id, second.status == 200 && second.header("link").contains("rel=\"prev\""), || {
            format!("the page that Link names: {second}, Link {:?}", second.header("link"))
        });
    }

    /// Every documented field of a body was sent, and came back where it is read, or stands in the list of those that
    /// nobody may set, with the reason.
    fn kept(&mut self, id: &str, sent: &Value, read: &Value, back: &[(&str, &str)], unset: &[(&str, &str)]) {
        let fact = self.fact(id);
        let documented = facts::fields(fact.request.as_ref().unwrap_or(&Value::Null));
        for field in &documented {
            let covers = |named: &str| field == named || field.starts_with(&format!("{named}/"));
            let told =
                back.iter().any(|(from, _)| covers(from)) || unset.iter().any(|(name, _)| covers(name));
            self.expect(id, told, || format!("nobody knows what becomes of {field}"));
        }
        for (from, to) in back {
            let (sent, read) = (sent.pointer(&format!("/{from}")), read.pointer(to));
            self.expect(id, sent.is_some() && sent == read, || {
                format!("{from}: sent {sent:?}, {to} is {read:?}")
            });
        }
    }
}

#[tokio::test]
async fn every_operation_of_the_contract_is_answered_as_documented() {
    let bed = Bed::own(Options::default()).await;
    let mut contract = Contract {
        facts: facts(),
        own: Own::of(&bed).await,
        nobody: bed.nobody(),
        admin: bed.admin().client(),
        requests: 0,
        answered: BTreeSet::new(),
        rows: BTreeSet::new(),
        common: BTreeSet::new(),
        complaints: BTreeMap::new(),
    };
    Scenario::new(&bed).await.run(&mut contract).await;
    let ids: Vec<String> = contract.facts.iter().map(|fact| fact.id.clone()).collect();
    for id in &ids {
        let (answered, rows) = (contract.answered.contains(id), contract.rows.contains(id));
        let fact = contract.fact(id);
        let listed =
            fact.success.get(&200).is_some_and(|success| success.body.as_ref().is_some_and(Value::is_array));
        contract.expect(id, answered, || "it was never answered with a success".to_owned());
        contract.expect(id, !listed || rows, || "its list was always empty".to_owned());
    }
    let good = ids.iter().filter(|id| !contract.complaints.contains_key(*id)).count();
    println!(
        "contract: {good} of {} operations, {} requests, {} refusals by the rules of the whole API",
        ids.len(),
        contract.requests,
        contract.common.len()
    );
    for (id, complaints) in &contract.complaints {
        for complaint in complaints {
            println!("  {id}: {complaint}");
        }
    }
    assert_eq!(good, ids.len(), "{:#?}", contract.complaints);
}

/// The facts are about routes that exist, so that an operation that is renamed or goes away is missed at once.
#[test]
fn every_operation_of_the_contract_has_its_route() {
    let routes: BTreeSet<_> = cli::routes().into_iter().map(|route| (route.method, route.path)).collect();
    let missing: Vec<String> = facts()
        .iter()
        .filter(|fact| {
            !routes.iter().any(|(method, path)| {
                *method == fact.method && facts::same_path(path, &format!("/api/v2.0{}", fact.path))
            })
        })
        .map(|fact| format!("{} {}", fact.method, fact.path))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
    let listed: BTreeSet<String> = include_str!("contract/operations.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.trim_end_matches('/').to_owned())
        .collect();
    let extracted: BTreeSet<String> =
        facts().iter().map(|fact| format!("{} {}", fact.method, fact.path)).collect();
    assert_eq!(listed, extracted, "run scripts/contract-facts.py after a change of operations.txt");
}

/// A comparison that finds nothing would prove nothing.
#[test]
fn the_comparison_finds_what_is_wrong() {
    let shape = json!([{"id": "integer", "name": "string", "tags": ["string"], "more": {"*": "integer"}}]);
    for (body, expected) in [
        (json!([{"id": 1, "name": "a", "tags": ["b"], "more": {"x": 1}}]), vec![]),
        (json!([{"id": 1, "tags": null}]), vec![]),
        (json!([{"id": "1"}]), vec!["/*/id"]),
        (json!([{"id": 1, "extra": 2}]), vec!["/*/extra"]),
        (json!([{"id": 1}, {"name": 2}]), vec!["/*/name"]),
        (json!([{"more": {"x": "1"}}]), vec!["/*/more/*"]),
        (json!([{"name": null}]), vec!["/*/name"]),
        (json!({"id": 1}), vec![""]),
    ] {
        let mut wrong = Vec::new();
        facts::compare(&shape, &body, "", &mut wrong);
        let found: Vec<_> = wrong.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(found, expected, "{body}");
    }
}
