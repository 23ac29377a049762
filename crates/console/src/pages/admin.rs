//! Administration of the installation. Everything here is for system administrators; for everybody else it does not
//! exist.

pub(crate) mod audit;
pub(crate) mod groups;
pub(crate) mod health;
pub(crate) mod overview;
pub(crate) mod quotas;
pub(crate) mod settings;
pub(crate) mod storage;
pub(crate) mod users;

use crate::shell::Shell;
use crate::view::View;

/// Bytes of the unit that limits are typed in.
const GIB: f64 = 1_073_741_824.0;

/// The frame of a page of administrators.
pub(crate) fn admin_shell(view: &View, section: &'static str, title: impl Into<String>) -> Shell {
    view.shell(section, title).crumb(view.t("admin-title"), "/admin")
}

/// A limit in bytes as people type it, in GiB; empty without one.
fn gib(bytes: i64) -> String {
    if bytes < 0 {
        return String::new();
    }
    let text = format!("{:.3}", bytes as f64 / GIB);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The limit that was typed, in bytes: -1 for none. Nothing when it is no number, or none that a limit can be.
fn typed_limit(text: &str, unlimited: bool) -> Option<i64> {
    if unlimited {
        return Some(-1);
    }
    let bytes = text.replace(',', "").parse::<f64>().ok()? * GIB;
    (bytes.is_finite() && (1.0..9.0e18).contains(&bytes)).then_some(bytes.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_typed_in_gib() {
        for (bytes, text) in [(-1, ""), (0, "0"), (10_737_418_240, "10"), (1_610_612_736, "1.5")] {
            assert_eq!(gib(bytes), text);
        }
        for (text, unlimited, bytes) in [
            ("10", false, Some(10_737_418_240)),
            ("1.5", false, Some(1_610_612_736)),
            ("1,024", false, Some(1_099_511_627_776)),
            ("ignored", true, Some(-1)),
            ("", false, None),
            ("-1", false, None),
            ("0", false, None),
            ("1e300", false, None),
            ("NaN", false, None),
        ] {
            assert_eq!(typed_limit(text, unlimited), bytes, "{text}");
        }
    }
}
