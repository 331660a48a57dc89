//! The one reserved prefix: which paths are ours.

use crate::web::path::PathReadings;

/// Knows the reserved prefix.
#[derive(Clone, Debug)]
pub struct OwnPaths {
    prefix: String,
}

/// Whose a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnPath<'a> {
    /// Ours; what follows the prefix: empty, or starting with `/`.
    Own(&'a str),
    /// An upstream's.
    Other,
    /// Ours in one reading and not in another: refuse.
    Ambiguous,
}

impl OwnPaths {
    /// Paths below `prefix`, which starts with `/` and does not end with one.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// Where the endpoint `name` (starting with `/`) is.
    pub fn of(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Reads a path. Ours must be ours in every reading.
    pub fn read<'a>(&self, path: &'a PathReadings<'_>) -> OwnPath<'a> {
        let others = path.others.iter().filter(|other| self.below(other).is_some()).count();
        match self.below(&path.primary) {
            Some(rest) if others == path.others.len() => OwnPath::Own(rest),
            None if others == 0 => OwnPath::Other,
            _ => OwnPath::Ambiguous,
        }
    }

    fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.prefix.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::path::read_path;

    fn read(path: &str) -> String {
        format!("{:?}", OwnPaths::new("/_auth").read(&read_path(path).unwrap()))
    }

    #[test]
    fn own_paths_are_ours_in_every_spelling_or_refused() {
        assert_eq!(read("/_auth/login"), "Own(\"/login\")");
        assert_eq!(read("/_auth"), "Own(\"\")");
        assert_eq!(read("/%5fauth/login"), "Own(\"/login\")");
        assert_eq!(read("/_authx"), "Other");
        assert_eq!(read("/_AUTH/login"), "Other", "case counts");
        assert_eq!(read("/x/_auth/login"), "Other");
        for path in ["//_auth/login", "/_auth;x/login", "/_auth%2flogin"] {
            assert_eq!(read(path), "Ambiguous", "{path}");
        }
    }
}
