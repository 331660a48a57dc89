//! Header fields that a route takes out, sets or adds, of a request or of a response (P6). Which names may stand here is for the
//! configuration to check: none that the gateway decides, frames or identifies by.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::gateway::identity_headers::reads_alike;
use crate::web::fields::remove_all;

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
    /// Changes the fields of a request, where no look-alike that the client sent stands in for a field taken out or beside one that
    /// was set.
    pub fn apply_to_request(&self, headers: &mut HeaderMap) {
        if self.remove.is_empty() && self.set.is_empty() {
            return self.apply(headers);
        }
        let look_alike = |name: &HeaderName| self.decided().any(|own| own != name && reads_alike(own, name));
        remove_all(headers, look_alike);
        self.apply(headers);
    }

    /// Whether what a request says by `name` is for the rules to say: it is a field that they take out or set, or reads like one.
    pub fn decide(&self, name: &HeaderName) -> bool {
        self.decided().any(|own| reads_alike(own, name))
    }

    fn decided(&self) -> impl Iterator<Item = &HeaderName> {
        self.remove.iter().chain(self.set.iter().map(|(name, _)| name))
    }

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

    #[test]
    fn no_look_alike_stands_beside_a_field_that_was_set_or_in_for_one_taken_out() {
        let name = HeaderName::from_static;
        let rules = HeaderRules {
            remove: vec![name("x-debug")],
            set: vec![
                (name("x-role"), HeaderValue::from_static("guest")),
                (name("x_tenant"), HeaderValue::from_static("a")),
            ],
            add: vec![(name("x-tag"), HeaderValue::from_static("b"))],
        };
        let sent = ["x_role", "x.role", "x_debug", "x-debug", "x-tenant", "x.tenant", "x_tag", "x-roles"];
        let mut headers =
            HeaderMap::from_iter(sent.map(|sent| (name(sent), HeaderValue::from_static("sent"))));
        rules.apply_to_request(&mut headers);
        let mut left: Vec<_> = headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        left.sort();
        assert_eq!(left, ["x-role: guest", "x-roles: sent", "x-tag: b", "x_tag: sent", "x_tenant: a"]);
    }
}
