//! Query strings with repeated keys, read by hand: `?tag=a&tag=b` and "two digests are one too many" need all
//! values of a key in order.

use percent_encoding::percent_decode_str;

/// All pairs of a query string, decoded as a form is: `+` means a space.
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(query: &str) -> Self {
        let decode =
            |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        Self(
            query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key), decode(value))
                })
                .collect(),
        )
    }

    /// Every value of the key.
    pub fn all(&self, key: &str) -> Vec<&str> {
        self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str()).collect()
    }

    /// The value, when the key occurs exactly once; an error when it occurs more often.
    pub fn one(&self, key: &str) -> Result<Option<&str>, ()> {
        match self.all(key)[..] {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_order_and_number() {
        let query = Query::parse("tag=a&tag=b%2Bc&n=1&&flag&digest=x&digest=y&s=a+b");
        assert_eq!(query.all("tag"), ["a", "b+c"]);
        assert_eq!(query.one("n"), Ok(Some("1")));
        assert_eq!(query.one("flag"), Ok(Some("")));
        assert_eq!(query.one("digest"), Err(()));
        assert_eq!(query.one("none"), Ok(None));
        assert_eq!(query.one("s"), Ok(Some("a b")));
    }
}
