//! User names: their bounds, and the fold under which all spellings of one name share a throttle bucket (X13).

use unicode_normalization::UnicodeNormalization;

/// Longest user name, in bytes.
pub const MAX_NAME: usize = 256;

/// Why a text cannot be a user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No characters, or blanks only.
    #[error("a user name is not empty")]
    Empty,
    /// More bytes than [`MAX_NAME`].
    #[error("a user name has at most {MAX_NAME} bytes")]
    TooLong,
    /// A control character, NUL among them.
    #[error("a user name holds no control characters")]
    Control,
    /// Blanks at an end, which nobody sees.
    #[error("a user name does not start or end with blanks")]
    Blank,
}

/// Checks a name that is to stand in the user file.
///
/// # Errors
/// The first bound it breaks.
pub fn check(name: &str) -> Result<(), NameError> {
    if name.trim().is_empty() {
        Err(NameError::Empty)
    } else if name.len() > MAX_NAME {
        Err(NameError::TooLong)
    } else if name.chars().any(char::is_control) {
        Err(NameError::Control)
    } else if name.trim() != name {
        Err(NameError::Blank)
    } else {
        Ok(())
    }
}

/// One form for all spellings of a name: NFKC (UAX #15), case folded, trimmed. Case goes up and then down, so that `ß` and
/// `SS`, or the two small sigmas, meet.
pub fn fold(name: &str) -> String {
    let upper: String = name.nfkc().flat_map(char::to_uppercase).collect();
    let lower: String = upper.chars().flat_map(char::to_lowercase).nfkc().collect();
    lower.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn case_width_and_trailing_blanks_fold_to_one() {
        for spelling in ["ada", "ADA", "Ada ", "\u{a0}ada", "ａｄａ", "ᴬda"] {
            assert_eq!(fold(spelling), "ada", "{spelling:?}");
        }
        assert_eq!(fold("STRASSE"), fold("straße"));
        assert_eq!(fold("o\u{308}"), fold("Ö"));
    }

    #[test]
    fn names_nobody_could_type_or_see_are_refused() {
        assert_eq!(check(" "), Err(NameError::Empty));
        assert_eq!(check("a\0"), Err(NameError::Control));
        assert_eq!(check("ada "), Err(NameError::Blank));
        assert_eq!(check(&"a".repeat(257)), Err(NameError::TooLong));
        assert_eq!(check("ada@example.com"), Ok(()));
    }

    proptest! {
        #[test]
        fn ascii_case_and_blanks_never_matter(name in "[a-zA-Z0-9.@-]{1,40}") {
            let spelled = format!(" {}\t", name.to_ascii_uppercase());
            prop_assert_eq!(fold(&name), fold(&spelled));
        }

        #[test]
        fn no_name_makes_the_fold_panic(name in "\\PC{0,80}") {
            let _ = fold(&name);
        }
    }
}
