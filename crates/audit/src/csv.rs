//! The trail as a table for spreadsheets.

use crate::Act;

/// The first line.
pub const HEAD: &str = "id,time,actor_type,username,client_address,client,auth_method,action,operation,resource_type,\
                        resource,resource_id,project_id,outcome,changed,request_id,repeated\r\n";

/// A line for each act.
pub fn lines(acts: &[Act]) -> String {
    let mut text = String::new();
    for act in acts {
        let cells = [
            &act.id.to_string(),
            &act.at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            &act.actor_kind,
            &act.actor_name,
            &act.address,
            &act.client,
            &act.auth_method,
            &act.action,
            &act.operation,
            &act.object_kind,
            &act.object_name,
            &act.object_id,
            &act.project_id.map(|id| id.to_string()).unwrap_or_default(),
            &act.outcome,
            &act.changed.join(" "),
            &act.request_id,
            &act.repeated.to_string(),
        ];
        text.push_str(&cells.map(|text| cell(text)).join(","));
        text.push_str("\r\n");
    }
    text
}

/// One cell of a table for spreadsheets. What a spreadsheet would take for a formula begins with an apostrophe instead.
pub fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let guard = if formula { "'" } else { "" };
    if formula || text.contains([',', '"', '\r', '\n']) {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AU-30.
    #[test]
    fn cells_are_text_and_never_formulas() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\nb", "\"a\nb\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@x", "\"'@x\""),
            ("\t=1", "\"'\t=1\""),
            ("\r=1", "\"'\r=1\""),
            ("=\"x\",1", "\"'=\"\"x\"\",1\""),
            ("a=1", "a=1"),
        ] {
            assert_eq!(cell(text), expected);
        }
    }
}
