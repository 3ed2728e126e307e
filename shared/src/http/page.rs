//! Pages of a list, newest first. The rule: a page says `next` exactly where there is another one, and whoever passes
//! that as `cursor` goes on behind it.

use utoipa::IntoParams;

use crate::http::problem::FieldError;

/// Entries of a page whose size is not given, and at most.
const DEFAULT_LIMIT: usize = 20;
const MAX_LIMIT: usize = 100;

/// The size of a page, for documents.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageSize {
    /// How many at most, 1 to 100; 20 by default
    #[param(value_type = u32, required = false, minimum = 1, maximum = 100)]
    pub limit: Option<u32>,
}

/// Which page is asked for, of entries with ids of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<Id> {
    /// How many entries at most.
    pub limit: usize,
    /// Older than this one; from the newest where it is `None`.
    pub before: Option<Id>,
}

impl<Id: Ord> Page<Id> {
    /// Reads the size of a page and its cursors, each a parameter's name and value; of several the oldest counts. Adds
    /// what is not accepted to `errors`.
    pub fn read<const N: usize>(
        limit: Option<String>,
        cursors: [(&'static str, Option<String>); N],
        id: impl Fn(&str) -> Option<Id>,
        errors: &mut Vec<FieldError>,
    ) -> Self {
        let limit = limit.map_or(Some(DEFAULT_LIMIT), |text| text.parse().ok());
        let limit = limit
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .unwrap_or_else(|| {
                let expected = format!("a whole number from 1 to {MAX_LIMIT} is expected");
                errors.push(FieldError::in_query("limit", expected));
                DEFAULT_LIMIT
            });
        let given = cursors.into_iter().filter_map(|(name, text)| Some((name, text?)));
        let read = given.filter_map(|(name, text)| {
            let read = id(&text);
            if read.is_none() {
                errors.push(FieldError::in_query(name, "the next of a page before is expected"));
            }
            read
        });
        Self {
            before: read.min(),
            limit,
        }
    }
}

impl<Id> Page<Id> {
    /// How many entries to look for: one more than is shown says whether there is another page.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.limit + 1
    }

    /// Leaves what is shown of what was found; returns the last entry where there is another page.
    pub fn cut<'a, T>(&self, found: &'a mut Vec<T>) -> Option<&'a T> {
        let is_last = found.len() <= self.limit;
        found.truncate(self.limit);
        found.last().filter(|_| !is_last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(limit: Option<&str>, cursors: [Option<&str>; 2]) -> (Page<u32>, Vec<FieldError>) {
        let (mut errors, [one, other]) = (Vec::new(), cursors.map(|text| text.map(str::to_owned)));
        let cursors = [("cursor", one), ("before", other)];
        let page = Page::read(limit.map(str::to_owned), cursors, |text| text.parse().ok(), &mut errors);
        (page, errors)
    }

    #[test]
    fn a_page_has_a_size_and_a_beginning() {
        for (limit, cursors, expected) in [
            (None, [None, None], (20, None)),
            (Some("1"), [Some("7"), None], (1, Some(7))),
            (Some("100"), [None, Some("7")], (100, Some(7))),
            (None, [Some("7"), Some("6")], (20, Some(6))),
        ] {
            let (page, errors) = read(limit, cursors);
            assert_eq!(
                ((page.limit, page.before), errors.len()),
                (expected, 0),
                "{limit:?} {cursors:?}"
            );
        }
    }

    #[test]
    fn all_that_is_not_accepted_is_named_at_once() {
        for limit in ["0", "101", "-1", "", "ten", "1.5", "99999999999999999999999"] {
            let (_, errors) = read(Some(limit), [Some("x"), Some("")]);
            let said = format!("{errors:?}");
            for name in [
                "limit",
                "cursor",
                "before",
                "from 1 to 100 is expected",
                "the next of a page before",
            ] {
                assert!(said.contains(name), "{limit}: {said}");
            }
            assert_eq!(errors.len(), 3, "{said}");
        }
    }

    #[test]
    fn a_page_names_its_last_entry_exactly_where_there_is_another_page() {
        let (page, _) = read(Some("2"), [None, None]);
        for (found, shown, next) in [
            (vec![], 0, None),
            (vec![9], 1, None),
            (vec![9, 8], 2, None),
            (vec![9, 8, 7], 2, Some(8)),
        ] {
            let mut left = found.clone();
            assert_eq!(page.cut(&mut left).copied(), next, "{found:?}");
            assert_eq!(left.len(), shown);
            assert!(found.len() <= page.wanted());
        }
    }
}
