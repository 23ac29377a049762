//! Markdown of people as HTML that is safe to show inside a page.
//!
//! Invariant: what comes out has no scripts, styles, forms or pictures, and its links lead nowhere but to http, https and
//! mail addresses. HTML inside the Markdown goes through the same filter.

use std::collections::HashSet;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Renders a text. Headings begin at the third level, because the page has its own.
pub(crate) fn render(text: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    // Headings follow one another without a level left out, whatever levels were written.
    let mut level = 2;
    let events = Parser::new_ext(text, options).filter_map(|event| match event {
        // Pictures would come from elsewhere; the text in their place stays.
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => None,
        Event::Start(Tag::Heading { level: written, .. }) => {
            level = (written as usize + 2).min(level + 1).min(6);
            Some(Event::Start(Tag::Heading {
                level: heading(level),
                id: None,
                classes: Vec::new(),
                attrs: Vec::new(),
            }))
        }
        Event::End(TagEnd::Heading(_)) => Some(Event::End(TagEnd::Heading(heading(level)))),
        other => Some(other),
    });
    let mut html = String::with_capacity(text.len() * 2);
    pulldown_cmark::html::push_html(&mut html, events);
    ammonia::Builder::default()
        .rm_tags(["img", "h1", "h2"])
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .url_relative(ammonia::UrlRelative::Deny)
        .link_rel(Some("nofollow noopener noreferrer"))
        .clean(&html)
        .to_string()
}

fn heading(level: usize) -> HeadingLevel {
    HeadingLevel::try_from(level).unwrap_or(HeadingLevel::H6)
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn what_people_write_is_shown() {
        let html = render("# API\n\nSee [docs](https://example.com/a?b=1).\n\n|a|\n|-|\n|1|\n");
        assert!(html.contains("<h3>API</h3>") && html.contains("<th>a</th>"), "{html}");
        assert_eq!(render("#### a\n\n# b\n\n### c"), "<h3>a</h3>\n<h3>b</h3>\n<h4>c</h4>\n");
        assert!(
            html.contains(
                r#"<a href="https://example.com/a?b=1" rel="nofollow noopener noreferrer">docs</a>"#
            )
        );
    }

    #[test]
    fn nothing_runs_and_nothing_is_fetched() {
        for text in [
            "<script>alert(1)</script>",
            "\"><img src=x onerror=alert(1)>",
            "![x](https://evil.example/pixel.png)",
            "[x](javascript:alert(1))",
            "[x](//evil.example)",
            "<a href=\"/logout\" onclick=\"x()\">x</a>",
            "<form action=/logout><button>x</button></form>",
            "<p style=\"position:fixed\" class=\"bar\">x</p>",
            "<h1>second heading</h1>",
            "<iframe src=https://evil.example></iframe>",
        ] {
            let html = render(text);
            for bad in [
                "<script",
                "<img",
                "onerror=",
                "javascript:",
                "href=\"/",
                "onclick",
                "<form",
                "style=",
                "class=",
                "<h1",
                "<iframe",
            ] {
                assert!(!html.contains(bad) || html.contains("&lt;"), "{text}: {html}");
            }
            assert!(!html.contains("src="), "{html}");
        }
    }
}
