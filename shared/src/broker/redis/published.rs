//! The scripts of a worker, published in `examples/lua` for workers in other languages (docs/wire.md). The rule: a
//! published script is what the services send, whole, behind a comment that says how it is called.
//!
//! `PUBLISH=1 cargo test -p roundtrip --lib published` writes them anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::scripts::{self, Script};

/// A script, and the name it is published under.
struct Published {
    name: &'static str,
    script: Script,
}

const ALL: [Published; 11] = [
    published("begin", scripts::START),
    published("settle", scripts::SETTLE),
    published("progress", scripts::PROGRESS),
    published("sweep", scripts::PURGE_EXPIRED),
    published("renew", scripts::RENEW),
    published("release", scripts::RELEASE),
    published("leave", scripts::DEREGISTER),
    published("reclaim", scripts::RECLAIM),
    published("redeliver", scripts::REDELIVER),
    published("level", scripts::LEVEL),
    published("forget", scripts::MAINTAIN),
];

const fn published(name: &'static str, script: Script) -> Published {
    Published { name, script }
}

impl Published {
    fn file(&self) -> String {
        let parts = [
            self.script.does.to_owned(),
            format!("KEYS: {}.", self.script.keys),
            format!("ARGV: {}.", self.script.arguments),
            format!("Returns {}.", self.script.returns),
            "Generated from what Roundtrip's own workers send: see shared/src/broker/redis/published.rs.".to_owned(),
        ];
        let comments: String = parts.iter().map(|part| comment(part)).collect();
        format!("{comments}\n{}\n", self.script.text.trim())
    }
}

/// A sentence as comments of at most 120 columns.
fn comment(text: &str) -> String {
    let mut lines = vec!["--".to_owned()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        match lines[last].len() + 1 + word.len() > 120 {
            true => lines.push(format!("--   {word}")),
            false => lines[last] = format!("{} {word}", lines[last]),
        }
    }
    lines.join("\n") + "\n"
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/lua")
}

#[test]
#[allow(clippy::unwrap_used)]
fn what_is_published_is_what_is_sent() {
    if std::env::var_os("PUBLISH").is_some() {
        fs::create_dir_all(directory()).unwrap();
        for script in &ALL {
            fs::write(directory().join(format!("{}.lua", script.name)), script.file()).unwrap();
        }
    }
    for script in &ALL {
        let file = fs::read_to_string(directory().join(format!("{}.lua", script.name))).unwrap_or_default();
        assert!(
            file == script.file(),
            "examples/lua/{}.lua is not what is sent: PUBLISH=1 cargo test -p roundtrip --lib published",
            script.name
        );
    }
}

#[test]
#[allow(clippy::unwrap_used)]
fn all_that_is_published_is_known_and_documented() {
    let files = fs::read_dir(directory()).unwrap();
    let files: BTreeSet<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let known: BTreeSet<String> = ALL.iter().map(|script| format!("{}.lua", script.name)).collect();
    assert_eq!(files, known);
    let contract = fs::read_to_string(directory().join("../../docs/wire.md")).unwrap();
    for script in &ALL {
        let row = format!("| [`{0}`](../examples/lua/{0}.lua) |", script.name);
        assert!(contract.contains(&row), "docs/wire.md has no row for {}", script.name);
    }
}

#[test]
#[allow(clippy::unwrap_used)]
fn each_script_is_listed_with_what_it_is_called_with() {
    let listed = include_str!("scripts.rs");
    for file in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/broker/redis/scripts")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let is_listed = listed.contains(&format!("\"{name}\"")) || listed.contains(&format!("/{name}\""));
        assert!(is_listed, "{name}");
    }
}
