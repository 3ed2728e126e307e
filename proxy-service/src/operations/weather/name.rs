//! Texts that name a place. The rule: a name can be seen. What nobody can see is blank, and what makes a name read as
//! another one, or as two lines, is never meant.

use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

use super::contract::{MAX_CITY, MAX_LOCATION};

/// A text without surrounding white space; `None` when nobody can see anything of it.
pub(super) fn text(value: &str, max: usize, required: bool) -> Result<Option<String>, String> {
    // Most names are short and plain: no table is needed for them.
    let is_plain = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let is_blank = match is_plain {
        true => value.bytes().all(|byte| byte == b' '),
        false => value.chars().all(is_unseen),
    };
    if is_blank && required {
        return Err("must not be blank".to_owned());
    }
    // White space around it counts: so a schema can say what is accepted.
    let length = if is_plain { value.len() } else { value.chars().count() };
    if length > max {
        return Err(format!("must have at most {max} characters, has {length}"));
    }
    if !is_plain && value.chars().any(is_control) {
        return Err("must not have control characters".to_owned());
    }
    Ok((!is_blank).then(|| value.trim().to_owned()))
}

/// Control characters, line and paragraph separators, and what turns the direction of the text behind it.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}')
}

/// White space, control characters, what has no width of its own
/// ([Default_Ignorable_Code_Point](https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point)) and what is blank by
/// its very name, such as fillers. Joiners are needed within words of some scripts; alone they are no word.
fn is_unseen(c: char) -> bool {
    c.is_whitespace()
        || is_control(c)
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{13430}'..='\u{13440}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// [`is_control`], for a class of a regular expression.
macro_rules! control {
    () => {
        r"\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u206f\ufff9-\ufffb"
    };
}

/// [`is_unseen`], for a class of a regular expression. What is beyond U+FFFF stands there itself: there is no escape for it
/// that all dialects know.
macro_rules! unseen {
    () => {
        concat!(
            r"\u0000-\u0020\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f",
            r"\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb",
            "\u{13430}-\u{13440}\u{1bca0}-\u{1bca3}\u{1d159}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}",
        )
    };
}

/// The schema of a city: exactly what [`text`] accepts where it is required.
pub(super) fn city_schema() -> Object {
    let pattern = concat!("^[^", control!(), "]*[^", unseen!(), "][^", control!(), "]*$");
    let string = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    string
        .min_length(Some(1))
        .max_length(Some(MAX_CITY))
        .description(Some(
            "The city, 1 to 100 characters, at least one of them visible, without control characters.",
        ))
        .examples(["New York"])
        .build()
}

/// The schema of a location: exactly what [`text`] accepts where it is not required.
pub(super) fn location_schema() -> Object {
    let types = SchemaType::from_iter([Type::String, Type::Null]);
    let string = ObjectBuilder::new().schema_type(types);
    let pattern = concat!("^[^", control!(), "]*$");
    string
        .pattern(Some(pattern))
        .max_length(Some(MAX_LOCATION))
        .description(Some(
            "A place within the city, at most 200 characters, without control characters.",
        ))
        .examples(["Downtown"])
        .build()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("")]
    #[case(" \t\u{3000}")]
    #[case("\u{200b}")]
    #[case("\u{202e}")]
    #[case("\u{3164}")]
    #[case("\u{ffa0}\u{115f}")]
    #[case("\u{200d}")]
    #[case("\u{ad}\u{feff}\u{fe0f}")]
    #[case("\u{2800}")]
    #[case("\u{e0041}\u{1d173}\u{13437}")]
    fn what_nobody_can_see_is_blank(#[case] value: &str) {
        assert_eq!(text(value, 100, true).unwrap_err(), "must not be blank");
        assert!(!matches!(text(value, 100, false), Ok(Some(_))));
    }

    #[rstest]
    #[case("Os\u{202e}lo")]
    #[case("Oslo\u{2066}")]
    #[case("Os\u{2029}lo")]
    #[case("Os\u{85}lo")]
    #[case("Oslo\n")]
    fn what_is_read_as_another_name_is_refused(#[case] value: &str) {
        assert_eq!(text(value, 100, true).unwrap_err(), "must not have control characters");
    }

    #[rstest]
    #[case(" New York ", "New York")]
    #[case("\u{646}\u{6cc}\u{200c}\u{644}", "\u{646}\u{6cc}\u{200c}\u{644}")]
    #[case("Wien\u{ad}Nord", "Wien\u{ad}Nord")]
    fn what_words_need_is_kept(#[case] value: &str, #[case] kept: &str) {
        assert_eq!(text(value, 100, true).unwrap().as_deref(), Some(kept));
    }

    #[test]
    fn the_schema_names_every_character_that_is_refused() {
        /// The characters of a class, its ranges written out.
        fn class(text: &str) -> Vec<char> {
            let mut characters = Vec::new();
            let mut rest = text.chars();
            while let Some(c) = rest.next() {
                let c = match c {
                    '\\' => {
                        assert_eq!(rest.next(), Some('u'));
                        let digits: String = rest.by_ref().take(4).collect();
                        char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap()
                    }
                    other => other,
                };
                characters.push(c);
            }
            let mut all = Vec::new();
            let mut at = 0;
            while let Some(&first) = characters.get(at) {
                // An escape is never a dash here, so a dash is a range.
                if characters.get(at + 1) == Some(&'-') {
                    all.extend(first..=characters[at + 2]);
                    at += 3;
                } else {
                    all.push(first);
                    at += 1;
                }
            }
            all
        }
        let (controls, unseen) = (class(control!()), class(unseen!()));
        for c in '\0'..=char::MAX {
            assert_eq!(controls.binary_search(&c).is_ok(), is_control(c), "{:x}", u32::from(c));
            assert_eq!(unseen.binary_search(&c).is_ok(), is_unseen(c), "{:x}", u32::from(c));
        }
    }
}
