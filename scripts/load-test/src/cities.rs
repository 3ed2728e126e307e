//! The places to ask for: fifteen world cities, or a list from a file.

use std::fmt;

/// The longest city the service accepts, in characters.
const MAX_CITY: usize = 100;
/// The longest location the service accepts, in characters.
const MAX_LOCATION: usize = 200;

const WORLD: [(&str, &str); 15] = [
    ("New York", "Downtown"),
    ("London", "Westminster"),
    ("Tokyo", "Shibuya"),
    ("Paris", "Le Marais"),
    ("Sydney", "Circular Quay"),
    ("Berlin", "Mitte"),
    ("Toronto", "Old Town"),
    ("Singapore", "Marina Bay"),
    ("Dubai", "Deira"),
    ("Mumbai", "Bandra"),
    ("São Paulo", "Pinheiros"),
    ("Cairo", "Zamalek"),
    ("Cape Town", "Sea Point"),
    ("Istanbul", "Beyoğlu"),
    ("Seoul", "Gangnam"),
];

/// A place to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The city, 1 to 100 characters.
    pub city: String,
    /// The place within the city, up to 200 characters.
    pub location: Option<String>,
}

/// At least one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cities(Vec<Place>);

impl Cities {
    /// The fifteen world cities used when no list is given.
    #[must_use]
    pub fn world() -> Self {
        let place = |(city, location): (&str, &str)| Place {
            city: city.to_owned(),
            location: Some(location.to_owned()),
        };
        Self(WORLD.into_iter().map(place).collect())
    }

    /// Reads a list: `City` or `City;Location` a line; blank lines and what follows a `#` do not count.
    ///
    /// # Errors
    /// Names the line that cannot be a place, or says that none is left.
    pub fn parse(text: &str) -> Result<Self, CityListError> {
        let mut places = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let place = place(line).map_err(|problem| CityListError::Line(index + 1, problem))?;
            places.push(place);
        }
        if places.is_empty() {
            return Err(CityListError::Empty);
        }
        Ok(Self(places))
    }

    /// The places, in their order.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.0
    }
}

fn place(line: &str) -> Result<Place, String> {
    let (city, location) = match line.split_once(';') {
        Some((_, rest)) if rest.contains(';') => return Err("has more than one `;`".to_owned()),
        Some((city, location)) => (city.trim(), Some(location.trim())),
        None => (line, None),
    };
    if city.is_empty() {
        return Err("has no city".to_owned());
    }
    check("city", city, MAX_CITY)?;
    // `City;` is `City`: a blank location is none to the service, too.
    let location = location.filter(|location| !location.is_empty());
    location.map_or(Ok(()), |location| check("location", location, MAX_LOCATION))?;
    Ok(Place {
        city: city.to_owned(),
        location: location.map(str::to_owned),
    })
}

fn check(what: &str, text: &str, max: usize) -> Result<(), String> {
    let length = text.chars().count();
    if length > max {
        return Err(format!("has a {what} of {length} characters, accepted are up to {max}"));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("has a control character in its {what}"));
    }
    Ok(())
}

/// A city list that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CityListError {
    /// Which line, counted from 1, and what is wrong with it.
    Line(usize, String),
    /// No place in the whole list.
    Empty,
}

impl fmt::Display for CityListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number, problem) => write!(f, "line {number} {problem}")?,
            Self::Empty => f.write_str("the list names no city")?,
        }
        f.write_str("; accepted is `City` or `City;Location` a line, and `#` for comments")
    }
}

impl std::error::Error for CityListError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn the_world_is_fifteen_different_places_a_list_may_hold() {
        let world = Cities::world();
        assert_eq!(world.places().len(), 15);
        let lines: Vec<_> = WORLD
            .iter()
            .map(|(city, location)| format!("{city};{location}"))
            .collect();
        assert_eq!(Cities::parse(&lines.join("\n")).unwrap(), world);
        let mut names: Vec<_> = WORLD.iter().map(|(city, _)| city).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 15);
    }

    #[test]
    fn a_line_is_a_city_with_or_without_a_location() {
        let cities = Cities::parse("# mine\n\n Oslo ; Frogner # by the park\nRoma\r\nLima;\n").unwrap();
        let places: Vec<_> = cities
            .places()
            .iter()
            .map(|place| (place.city.as_str(), place.location.as_deref()))
            .collect();
        assert_eq!(places, [("Oslo", Some("Frogner")), ("Roma", None), ("Lima", None)]);
    }

    #[rstest]
    #[case("Oslo\n;Frogner", "line 2 has no city")]
    #[case("a;b;c", "line 1 has more than one `;`")]
    #[case("\n\nOs\u{7}lo", "line 3 has a control character in its city")]
    #[case(&"x".repeat(101), "line 1 has a city of 101 characters")]
    #[case(&format!("x;{}", "é".repeat(201)), "line 1 has a location of 201 characters")]
    #[case("# nothing\n", "names no city")]
    #[case("", "names no city")]
    fn a_bad_list_is_refused_by_line(#[case] list: &str, #[case] problem: &str) {
        let error = Cities::parse(list).unwrap_err().to_string();
        assert!(error.contains(problem) && error.contains("City;Location"), "{error}");
    }
}
