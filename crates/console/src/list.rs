//! The state of a list: what is looked for, in which order, which page. All of it is in the address, so that a list can be
//! shared, kept and gone back to.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tenancy::list::{Query, Value};

use crate::view::View;

/// Sizes of a page to choose from; the first is the usual one.
pub(crate) const SIZES: [i64; 3] = [25, 50, 100];

/// Nobody turns so many pages; further ones would only cost.
const PAGE_MAX: i64 = 1_000_000;

/// What the address says about a list.
#[derive(Clone, Debug)]
pub(crate) struct List {
    path: String,
    /// What is looked for; empty for all.
    pub q: String,
    /// The key to sort by, one of those the page offers.
    pub sort: &'static str,
    pub descending: bool,
    pub page: i64,
    pub size: i64,
    /// The size that needs not be said.
    usual: i64,
    /// Other parameters of the page that stay: filters.
    pub filters: Vec<(&'static str, String)>,
    /// Rows over all pages, once they are known.
    pub total: i64,
}

impl List {
    /// `sorts` are the keys offered, the first of which is the usual one; a key with `-` before it descends at first.
    pub fn of(view: &View, sorts: &[&'static str], filters: &[&'static str]) -> Self {
        let asked = view.query("sort").unwrap_or_default();
        let (asked, down) = asked.strip_prefix('-').map_or((asked.as_str(), false), |key| (key, true));
        let usual = sorts.first().copied().unwrap_or_default();
        let (sort, descending) = sorts
            .iter()
            .map(|key| key.trim_start_matches('-'))
            .find(|key| *key == asked)
            .map_or((usual.trim_start_matches('-'), usual.starts_with('-')), |key| (key, down));
        let number = |name: &str| view.query(name).and_then(|text| text.parse::<i64>().ok());
        let chosen = view.page_size();
        let usual = if SIZES.contains(&chosen) { chosen } else { SIZES[0] };
        Self {
            usual,
            path: view.path().to_owned(),
            q: view.query("q").unwrap_or_default(),
            sort,
            descending,
            page: number("page").unwrap_or(1).clamp(1, PAGE_MAX),
            size: number("size").filter(|size| SIZES.contains(size)).unwrap_or(usual),
            filters: filters.iter().filter_map(|name| Some((*name, view.query(name)?))).collect(),
            total: 0,
        }
    }

    /// The query for a domain: names that contain `q`, under the key `name`.
    pub fn query(&self, name: &str) -> Query {
        let mut terms = Vec::new();
        if !self.q.is_empty() {
            terms.push((name.to_owned(), Value::Fuzzy(self.q.clone())));
        }
        Query {
            terms,
            sort: vec![(self.sort.to_owned(), self.descending)],
            page: self.page,
            page_size: self.size,
        }
    }

    /// The value of a filter.
    pub fn filter(&self, name: &str) -> &str {
        self.filters.iter().find(|(filter, _)| *filter == name).map_or("", |(_, value)| value)
    }

    /// Whether something is looked for, so that an empty page is not an empty list.
    pub fn narrowed(&self) -> bool {
        !self.q.is_empty() || !self.filters.is_empty()
    }

    /// Number of the first row on this page, from 1; 0 on an empty one.
    pub fn first(&self) -> i64 {
        if self.total == 0 { 0 } else { (self.page - 1) * self.size + 1 }
    }

    /// Number of the last row on this page.
    pub fn last(&self) -> i64 {
        (self.page * self.size).min(self.total)
    }

    pub fn has_before(&self) -> bool {
        self.page > 1
    }

    pub fn has_after(&self) -> bool {
        self.page * self.size < self.total
    }

    /// This list at another page.
    pub fn at(&self, page: i64) -> String {
        Self { page, ..self.clone() }.address()
    }

    pub fn before(&self) -> String {
        self.at(self.page - 1)
    }

    pub fn after(&self) -> String {
        self.at(self.page + 1)
    }

    /// This list in the order of another column, or the other way round when it has that order.
    pub fn by(&self, sort: &'static str) -> String {
        let descending = sort == self.sort && !self.descending;
        Self { sort, descending, page: 1, ..self.clone() }.address()
    }

    /// This list in this order, whatever it has now.
    pub fn ordered(&self, sort: &'static str, descending: bool) -> String {
        Self { sort, descending, page: 1, ..self.clone() }.address()
    }

    /// This list with another filter of this name; an empty value takes the filter away.
    pub fn with(&self, name: &'static str, value: &str) -> String {
        let mut filters = self.filters.clone();
        filters.retain(|(filter, _)| *filter != name);
        filters.push((name, value.to_owned()));
        Self { filters, page: 1, ..self.clone() }.address()
    }

    /// For `aria-sort`.
    pub fn order(&self, sort: &str) -> &'static str {
        match (sort == self.sort, self.descending) {
            (false, _) => "none",
            (true, false) => "ascending",
            (true, true) => "descending",
        }
    }

    /// This list without what narrows it.
    pub fn cleared(&self) -> String {
        Self { q: String::new(), filters: Vec::new(), page: 1, ..self.clone() }.address()
    }

    /// The parameters as a query.
    fn address(&self) -> String {
        let sort = format!("{}{}", if self.descending { "-" } else { "" }, self.sort);
        let mut pairs = vec![("q", self.q.clone()), ("sort", sort)];
        if self.page > 1 {
            pairs.push(("page", self.page.to_string()));
        }
        if self.size != self.usual {
            pairs.push(("size", self.size.to_string()));
        }
        pairs.extend(self.filters.iter().cloned());
        let query: Vec<String> = pairs
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
            .collect();
        if query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, query.join("&")) }
    }
}
