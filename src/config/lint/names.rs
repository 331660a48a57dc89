//! Users and groups that a route names and that the user file does not: a rule that cannot match.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use super::super::reader::{Report, nearest};
use crate::login::directory::UserDirectory;
use crate::login::read_users;

/// A name in an `access`.
pub(in crate::config) struct Named {
    /// A group, not a user.
    pub(in crate::config) group: bool,
    /// The name.
    pub(in crate::config) name: Box<str>,
    /// Where it stands.
    pub(in crate::config) span: Range<usize>,
}

/// Warns of each name that nobody has. An empty user file says nothing yet, and a damaged one is reported when it is opened.
pub(in crate::config) fn of_names(named: &[Named], users: &Path, report: &Report) {
    if named.is_empty() {
        return;
    }
    let Ok(directory) = read_users(users) else { return };
    if directory.is_empty() {
        return;
    }
    let groups = all_groups(&directory);
    for Named { group, name, span } in named {
        let known = if *group { groups.contains(&**name) } else { directory.user(name).is_some() };
        if known {
            continue;
        }
        let (what, near) = if *group {
            let all: Vec<&str> = groups.iter().copied().collect();
            (format!("nobody is in a group {name:?}"), nearest(name, &all))
        } else {
            let all: Vec<&str> = directory.users().map(|(name, _)| name).collect();
            (format!("there is no user {name:?}"), nearest(name, &all))
        };
        let mend = near.map_or_else(
            || "names are compared exactly: check its spelling, or add it to the user file".to_owned(),
            |near| format!("did you mean {near:?}? names are compared exactly"),
        );
        report.warn(span.clone(), what, mend);
    }
}

fn all_groups(directory: &UserDirectory) -> BTreeSet<&str> {
    directory.users().flat_map(|(_, user)| user.subject().identity.groups()).collect()
}
