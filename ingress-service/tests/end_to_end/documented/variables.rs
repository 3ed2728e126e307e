//! Variables: README's table, `.env.example` and `docker-compose.yml` beside what the programs read.

use std::collections::{BTreeMap, BTreeSet};

use clap::CommandFactory;

use super::{assert_same, code, read, section, table};

/// Names with their defaults.
type Variables = BTreeMap<String, Option<String>>;

fn of_program<C: CommandFactory>() -> Variables {
    let command = C::command();
    command.clone().debug_assert();
    let arguments = command.get_arguments();
    let text = |value: &std::ffi::OsStr| value.to_str().unwrap().to_owned();
    arguments
        .filter_map(|argument| {
            let default = argument.get_default_values().first();
            Some((text(argument.get_env()?), default.map(|default| text(default))))
        })
        .collect()
}

fn of_ingress() -> Variables {
    of_program::<ingress_service::config::Config>()
}

fn of_proxy() -> Variables {
    of_program::<proxy_service::config::Config>()
}

fn names<T>(variables: &BTreeMap<String, T>) -> impl Iterator<Item = &str> {
    variables.keys().map(String::as_str)
}

/// What README says of a variable.
struct Row {
    default: String,
    of: String,
}

fn of_readme() -> BTreeMap<String, Row> {
    let readme = read("README.md");
    let rows = table(section(&readme, "Variables")).lines().skip(2);
    let rows = rows.flat_map(|row| {
        let cells: Vec<_> = row.trim_matches(['|', ' ']).split(" | ").collect();
        let row = |name: &str| {
            let (default, of) = (cells[1].to_owned(), cells[2].to_owned());
            (name.to_owned(), Row { default, of })
        };
        code(cells[0]).map(row).collect::<Vec<_>>()
    });
    rows.collect()
}

#[test]
fn readme_has_every_variable_with_its_default_and_no_other() {
    let (table, ingress, proxy) = (of_readme(), of_ingress(), of_proxy());
    let known = names(&ingress).chain(names(&proxy)).collect();
    assert_same("README's table", &names(&table).collect(), &known);
    for (name, row) in &table {
        for default in [&ingress, &proxy].into_iter().filter_map(|program| program.get(name)) {
            match default {
                Some(default) => assert!(
                    row.default.contains(&format!("`{default}`")),
                    "README says {} of {name}, which is {default}",
                    row.default
                ),
                None => assert!(
                    !row.default.starts_with('`'),
                    "README says {} of {name}, which has no default",
                    row.default
                ),
            }
        }
        let is_the_ingress_alone = !proxy.contains_key(name);
        assert_eq!(
            row.of.starts_with("ingress"),
            is_the_ingress_alone,
            "{name} is for {}",
            row.of
        );
    }
}

/// Each line of `.env.example`: a name, its value, and whether it is set.
fn of_example() -> BTreeMap<String, (String, bool)> {
    let text = read(".env.example");
    let lines = text.lines().filter_map(|line| {
        let plain = line.trim_start_matches("# ");
        let (name, value) = plain.split_once('=')?;
        let is_name = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        is_name.then(|| (name.to_owned(), (value.to_owned(), plain == line)))
    });
    lines.collect()
}

/// The variables that compose puts in, with what it puts where they are not set.
fn in_compose(compose: &str) -> BTreeMap<&str, &str> {
    let places = compose
        .split("${")
        .skip(1)
        .map(|place| place.split('}').next().unwrap());
    places.map(|place| place.split_once(":-").unwrap()).collect()
}

/// The variables that compose gives to a service.
fn given_to<'a>(compose: &'a str, service: &str) -> BTreeSet<&'a str> {
    let (_, rest) = compose.split_once(&format!("\n  {service}:\n")).unwrap();
    let lines = rest
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("    "));
    let entries = lines.filter_map(|line| line.trim().strip_prefix("- "));
    entries.map(|entry| entry.split('=').next().unwrap()).collect()
}

#[test]
fn the_example_for_compose_has_every_variable_with_its_default_and_no_other() {
    let compose = read("docker-compose.yml");
    let (example, in_compose) = (of_example(), in_compose(&compose));
    let mut programs = of_ingress();
    programs.extend(of_proxy());
    // The image's, so that ports can be published; and of an ingress without Redis.
    for name in ["LISTEN_ADDR", "MEMORY_LIMIT"] {
        programs.remove(name);
    }
    let known = names(&programs).chain(in_compose.keys().copied()).collect();
    assert_same(".env.example", &names(&example).collect(), &known);
    for (name, (value, is_set)) in &example {
        match (in_compose.get(name.as_str()), programs.get(name)) {
            (Some(default), _) if *is_set => assert_eq!(value, default, "{name} in docker-compose.yml"),
            // It must be set together with another.
            (Some(_), _) => {}
            (None, default) => {
                let default = default.cloned().flatten().unwrap_or_default();
                assert_eq!((value, *is_set), (&default, false), "{name}, which compose passes on");
            }
        }
    }
}

#[test]
fn compose_gives_each_service_its_variables() {
    let compose = read("docker-compose.yml");
    let rows = of_readme();
    for (service, variables, owner) in [
        ("ingress-service", of_ingress(), "ingress"),
        ("proxy-service", of_proxy(), "workers"),
    ] {
        let is_its = |name: &&str| rows.get(*name).is_some_and(|row| row.of == "both" || row.of == owner);
        let mut expected: BTreeSet<_> = names(&variables).filter(is_its).collect();
        expected.remove("LISTEN_ADDR");
        assert_same(
            &format!("{service} in docker-compose.yml"),
            &given_to(&compose, service),
            &expected,
        );
    }
}
