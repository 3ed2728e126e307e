//! What the documents list is what the programs have: variables, metrics and routes. Tables that are generated are
//! written with `PUBLISH=1 cargo test -p ingress-service --test end_to_end documented`.

mod metrics;
mod routes;
mod variables;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

/// All documents of users and operators, by name.
fn documents() -> impl Iterator<Item = (String, String)> {
    let names = |directory: &'static str| {
        let files = fs::read_dir(path(directory)).unwrap();
        let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        files.filter(|name| name.ends_with(".md") || name.ends_with(".http"))
    };
    let outside = names(".").chain(names("docs").map(|name| format!("docs/{name}")));
    outside.map(|name| (name.clone(), read(&name)))
}

/// The text below a heading, to the next of its kind.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let heading = format!("\n## {heading}\n");
    let (_, below) = document.split_once(&heading).expect("the heading is there");
    below.split("\n## ").next().unwrap()
}

/// The first table of a section, as it is written.
fn table(section: &str) -> &str {
    let from = section.find("\n|").expect("a table is there") + 1;
    let rest = &section[from..];
    &rest[..rest.find("\n\n").map_or(rest.len(), |end| end + 1)]
}

/// What stands in `backticks` on a line.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Checks that a list has these names and no others.
fn assert_same(list: &str, found: &BTreeSet<&str>, expected: &BTreeSet<&str>) {
    let missing: Vec<_> = expected.difference(found).collect();
    let superfluous: Vec<_> = found.difference(expected).collect();
    assert!(found == expected, "{list} lacks {missing:?} and has {superfluous:?}");
}

/// Checks that the first table below a heading is this one, which is written where that was asked for.
fn assert_published(name: &str, heading: &str, expected: &str) {
    let document = read(name);
    let found = table(section(&document, heading));
    if std::env::var_os("PUBLISH").is_some() {
        fs::write(path(name), document.replacen(found, expected, 1)).unwrap();
        return;
    }
    let missing: Vec<_> = expected.lines().filter(|row| !found.contains(row)).collect();
    let superfluous: Vec<_> = found.lines().filter(|row| !expected.contains(row)).collect();
    assert!(
        found == expected,
        "{name}, \"{heading}\", lacks {missing:#?} and has {superfluous:#?}: PUBLISH=1 cargo test -p ingress-service --test \
         end_to_end documented"
    );
}
