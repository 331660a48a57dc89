//! Layer 2: who may. Pure: facts in, decision out; no I/O, no clock, no logging. Imports `base`, `web`.

use std::sync::Arc;

use crate::base::identity::Identity;

/// Who may use a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everyone; a session's identity is passed on when there is one.
    Public,
    /// Everyone with a live session. The default.
    Authenticated,
    /// Users that are named, or that are in a named group. Both lists empty allows nobody.
    Members {
        /// User names, compared exactly.
        users: Vec<Box<str>>,
        /// Group names, compared exactly.
        groups: Vec<Box<str>>,
    },
}

/// What a decision is made of: nothing else of the request counts.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Whose live session the request carries.
    pub identity: Option<&'a Arc<Identity>>,
}

/// The outcome.
#[derive(Debug)]
pub enum Decision {
    /// Forward, with this permit.
    Allow(Permit),
    /// Not logged in, and the route needs it.
    Challenge,
    /// Logged in, but not allowed.
    Deny(Reason),
}

/// Why a signed-in user was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Neither the user nor one of their groups is named by the route.
    NotAMember,
}

impl Reason {
    /// The stable code for logs.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotAMember => "not_a_member",
        }
    }
}

/// Proof that a request may be forwarded, and as whom. Only [`decide`] makes one.
#[derive(Debug)]
pub struct Permit {
    identity: Option<Arc<Identity>>,
}

impl Permit {
    /// Whom the request is forwarded as; `None` is anonymous on a public route.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }
}

/// Decides.
pub fn decide(access: &Access, facts: &Facts<'_>) -> Decision {
    match (access, facts.identity) {
        (Access::Public, identity) => Decision::Allow(Permit { identity: identity.cloned() }),
        (Access::Authenticated, Some(identity)) => {
            Decision::Allow(Permit { identity: Some(identity.clone()) })
        }
        (Access::Members { users, groups }, Some(identity)) => {
            let named =
                users.iter().any(|u| **u == *identity.user()) || groups.iter().any(|g| identity.in_group(g));
            if named {
                Decision::Allow(Permit { identity: Some(identity.clone()) })
            } else {
                Decision::Deny(Reason::NotAMember)
            }
        }
        (Access::Authenticated | Access::Members { .. }, None) => Decision::Challenge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> Arc<Identity> {
        Arc::new(Identity::new("ada", None, None, &["staff"]))
    }

    fn members(users: &[&str], groups: &[&str]) -> Access {
        Access::Members {
            users: users.iter().map(|u| (*u).into()).collect(),
            groups: groups.iter().map(|g| (*g).into()).collect(),
        }
    }

    #[test]
    fn anonymous_is_challenged_everywhere_but_on_public_routes() {
        let anonymous = Facts { identity: None };
        assert!(matches!(decide(&Access::Public, &anonymous), Decision::Allow(p) if p.identity().is_none()));
        assert!(matches!(decide(&Access::Authenticated, &anonymous), Decision::Challenge));
        assert!(matches!(decide(&members(&["ada"], &[]), &anonymous), Decision::Challenge));
    }

    #[test]
    fn a_public_route_passes_the_identity_on() {
        let ada = ada();
        let decision = decide(&Access::Public, &Facts { identity: Some(&ada) });
        assert!(matches!(decision, Decision::Allow(p) if p.identity() == Some(&ada)));
    }

    #[test]
    fn members_are_allowed_by_name_or_by_group_and_others_denied() {
        let ada = ada();
        let facts = Facts { identity: Some(&ada) };
        assert!(matches!(decide(&members(&["ada"], &[]), &facts), Decision::Allow(_)));
        assert!(matches!(decide(&members(&[], &["staff"]), &facts), Decision::Allow(_)));
        assert!(matches!(decide(&members(&["Ada", "bob"], &["STAFF"]), &facts), Decision::Deny(_)));
        assert!(matches!(decide(&members(&[], &[]), &facts), Decision::Deny(_)));
    }
}
