//! A place as the bytes of its request, and what its answer must hold. Made once, before the clock starts.

use memchr::memmem::Finder;
use serde::Serialize;

use crate::cities::Place;
use crate::target::Target;

/// The call that is measured.
const PATH: &str = "/WeatherForecast/city";

/// A place to ask for, ready to be sent and recognised.
#[derive(Debug, Clone)]
pub struct Question {
    place: Place,
    request: Vec<u8>,
    city: Finder<'static>,
    location: Option<Finder<'static>>,
}

#[derive(Serialize)]
struct Body<'a> {
    city: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<&'a str>,
}

impl Question {
    /// The question for `place`, as it goes to `target`.
    #[must_use]
    pub fn new(target: &Target, place: Place) -> Self {
        let body = Body {
            city: &place.city,
            location: place.location.as_deref(),
        };
        let json = serde_json::to_string(&body).expect("text is always JSON");
        Self {
            request: target.encode("POST", PATH, Some(&json)),
            city: member("city", &place.city),
            location: place.location.as_deref().map(|location| member("location", location)),
            place,
        }
    }

    /// The place asked for.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The whole HTTP request.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Whether `body` holds the city and the location just as they are usually written. `false` decides nothing:
    /// the same JSON can be written differently.
    #[must_use]
    pub fn recognises(&self, body: &[u8]) -> bool {
        let holds = |finder: &Finder<'_>| finder.find(body).is_some();
        holds(&self.city) && self.location.as_ref().is_none_or(holds)
    }
}

fn member(name: &str, value: &str) -> Finder<'static> {
    let value = serde_json::to_string(value).expect("text is always JSON");
    Finder::new(format!("\"{name}\":{value}").as_bytes()).into_owned()
}
