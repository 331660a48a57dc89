//! Header fields that a route takes out, sets or adds, of a request or of a response (P6). Which names may stand here is for the
//! configuration to check: none that the gateway decides, frames or identifies by.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The rules of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderRules {
    /// Taken out first.
    pub remove: Vec<HeaderName>,
    /// Then set, in place of any that were there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Then added beside those that are there.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl HeaderRules {
    /// Changes `headers`.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_taken_out_then_set_then_added() {
        let name = HeaderName::from_static;
        let value = HeaderValue::from_static;
        let rules = HeaderRules {
            remove: vec![name("x-a"), name("x-none")],
            set: vec![(name("x-b"), value("new"))],
            add: vec![(name("x-a"), value("1")), (name("x-c"), value("more"))],
        };
        let mut headers = HeaderMap::new();
        for (field, content) in [("x-a", "old"), ("x-a", "older"), ("x-b", "old"), ("x-c", "old")] {
            headers.append(name(field), value(content));
        }
        rules.apply(&mut headers);
        let all =
            |field: &str| headers.get_all(field).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((all("x-a"), all("x-b"), all("x-c")), (vec!["1"], vec!["new"], vec!["old", "more"]));
    }
}
