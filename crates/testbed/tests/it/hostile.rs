//! What every reading route of the REST API does with input that was made to harm (AU-20, AU-23 to AU-26). The routes
//! come from the table, so that a new one is tried without anybody thinking of it.

use hythe_testbed::Answer;
use serde_json::Value;

use crate::roles::{Reading, reading};

/// Values for `q`, `sort`, `page` and `page_size` that reach for the statement behind them, or over its edges.
const QUERIES: &[&str] = &[
    "q=name%3D~%27%20or%201%3D1%20--",
    "q=name%3D%27%3Bdrop%20table%20tenancy.projects%3B--",
    "q=name%29%20or%20%28select%20pg_sleep%285%29%3D1",
    "q=%27%3D1",
    "q=id%3D1%20union%20select%201",
    "q=id%3D%5B1~%27%3Bselect%201%5D",
    "q=name%3D%7Ba%20%27b%27%7D",
    "q=name%3D%00",
    "q=name%3D%F0%9F%92%A9%27",
    "q=name%3D~%5C",
    "q=%2C%2C%2C%3D%3D~~",
    "q=creation_time%3D%5B2020~%27",
    "sort=name%3Bselect%20pg_sleep%285%29",
    "sort=%28select%20password%20from%20identity.users%20limit%201%29",
    "sort=name%20desc%2C%281%29",
    "sort=-%27",
    "page=-1",
    "page=9223372036854775807",
    "page=99999999999999999999",
    "page=1%20or%201%3D1",
    "page_size=-1",
    "page_size=0",
    "page_size=100000",
    "page_size=%27",
];

/// Columns that no filter and no order may know.
const SECRET_FIELDS: &[&str] = &[
    "password",
    "password_hash",
    "salt",
    "secret",
    "secret_hash",
    "secret_digest",
    "user.password",
    "private_sealed",
    "access_secret",
];

fn with(path: &str, query: &str) -> String {
    let mark = if path.contains('?') { '&' } else { '?' };
    format!("{path}{mark}{query}")
}

/// The routes that answer with a list, and what they say unasked.
async fn lists(reading: &Reading) -> Vec<(String, Answer)> {
    let mut lists = Vec::new();
    for (_, path) in reading.routes() {
        let answer = reading.admin.get(&path).await;
        if answer.status == 200 && answer.text().starts_with('[') {
            lists.push((path, answer));
        }
    }
    assert!(lists.len() > 5, "only {} lists", lists.len());
    lists
}

/// One world for all of them: it takes longer to make than to look at.
#[tokio::test]
async fn au_20_au_23_au_24_au_25_au_26_reading_withstands_hostile_input() {
    let reading = reading().await;
    nothing_in_a_query_reaches_the_statement(&reading).await;
    no_list_is_filtered_or_ordered_by_a_secret(&reading).await;
    wildcards_of_the_database_are_plain_characters(&reading).await;
    no_answer_shows_a_secret(&reading).await;
    what_belongs_to_one_project_is_not_found_under_another(&reading).await;
}

/// AU-26.
async fn nothing_in_a_query_reaches_the_statement(reading: &Reading) {
    let mut wrong = Vec::new();
    for (id, path) in reading.routes() {
        for query in QUERIES {
            let answer = reading.admin.get(&with(&path, query)).await;
            if answer.status >= 500 || (answer.status >= 400 && answer.text().contains("syntax error")) {
                wrong.push(format!("{id} {query}: {answer}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// AU-25.
async fn no_list_is_filtered_or_ordered_by_a_secret(reading: &Reading) {
    let mut wrong = Vec::new();
    for (path, unasked) in lists(reading).await {
        for field in SECRET_FIELDS {
            for query in
                [format!("q={field}%3D~a"), format!("q={field}%3D~%24argon"), format!("sort={field}")]
            {
                let answer = reading.admin.get(&with(&path, &query)).await;
                // Refused, or without any difference; some lists, like that of the trail, grow by themselves.
                let same = answer.status == 200 && (answer.text() == unasked.text() || path.contains("log"));
                if answer.status != 400 && !same {
                    wrong.push(format!("{path} {query}: {answer}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// AU-24.
async fn wildcards_of_the_database_are_plain_characters(reading: &Reading) {
    let mut wrong = Vec::new();
    for (path, unasked) in lists(reading).await {
        let Ok(Value::Array(rows)) = serde_json::from_str(&unasked.text()) else { continue };
        for field in ["name", "username", "path", "group_name", "resource", "tag"] {
            for wildcard in ["%25", "%5C", "%25%25", "_%25_"] {
                let answer = reading.admin.get(&with(&path, &format!("q={field}%3D~{wildcard}"))).await;
                let found = serde_json::from_str::<Value>(&answer.text()).ok();
                let none = found.as_ref().and_then(Value::as_array).is_some_and(Vec::is_empty);
                // Refused, nothing, or no difference: some lists know no filters.
                let same = answer.status == 200 && (answer.text() == unasked.text() || path.contains("log"));
                let empty = answer.status == 200 && none;
                if !(answer.status == 400 || empty || same || rows.is_empty()) {
                    wrong.push(format!("{path} {field} {wildcard}: {answer}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// AU-23.
async fn no_answer_shows_a_secret(reading: &Reading) {
    fn visit(value: &Value, at: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let secret = ["password", "secret", "salt", "token", "private_key"].iter().any(|word| {
                        name == word || name.ends_with(&format!("_{word}")) || name.ends_with("_hash")
                    });
                    let shown = value.as_str().is_some_and(|text| !text.is_empty());
                    if secret && shown {
                        found.push(format!("{at}.{name}"));
                    }
                    visit(value, &format!("{at}.{name}"), found);
                }
            }
            Value::Array(rows) => rows.iter().for_each(|row| visit(row, at, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for (id, path) in reading.routes() {
        let answer = reading.admin.get(&path).await;
        // The description of the API names the fields of requests too.
        if id != "getOpenapi"
            && let Ok(value) = serde_json::from_str::<Value>(&answer.text())
        {
            visit(&value, id, &mut found);
        }
    }
    assert!(found.is_empty(), "secrets in {found:?}");
}

/// AU-20.
async fn what_belongs_to_one_project_is_not_found_under_another(reading: &Reading) {
    let mut wrong = Vec::new();
    let mut tried = 0;
    for (id, path) in reading.elsewhere() {
        let answer = reading.admin.get(&path).await;
        tried += 1;
        if answer.status != 404 {
            wrong.push(format!("{id} {path}: {answer}"));
        }
    }
    assert!(tried > 0 && wrong.is_empty(), "{tried} tried\n{}", wrong.join("\n"));
}
