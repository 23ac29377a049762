//! Notices to clients beside a success, as values of `Warning` headers.

/// All notices of one answer together have at most this many bytes.
const BYTES_MAX: usize = 4096;

/// One header value for each text, as long as there is room. A header is ASCII: every other character becomes a `?`.
pub fn header_values<T: AsRef<str>>(texts: &[T]) -> Vec<String> {
    let mut room = BYTES_MAX;
    texts
        .iter()
        .map(|text| format!("299 - \"{}\"", quoted(text.as_ref())))
        .take_while(|value| {
            let fits = value.len() <= room;
            room = room.saturating_sub(value.len());
            fits
        })
        .collect()
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            _ => quoted.push('?'),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_the_quotes() {
        assert_eq!(header_values(&["a \"b\" \\ c\r\nd: e ü"]), [r#"299 - "a \"b\" \\ c??d: e ?""#]);
        assert!(header_values::<&str>(&[]).is_empty());
    }

    #[test]
    fn together_they_are_bounded() {
        let texts = vec!["x".repeat(1000); 9];
        let values = header_values(&texts);
        assert_eq!(values.len(), 4);
        assert!(values.iter().map(String::len).sum::<usize>() <= BYTES_MAX);
        assert!(header_values(&["x".repeat(5000)]).is_empty());
    }
}
