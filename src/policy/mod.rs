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
    /// Users that are named or in a named group, and holders of a named client certificate. All lists empty allows nobody.
    Members {
        /// User names, compared exactly.
        users: Vec<Box<str>>,
        /// Group names, compared exactly.
        groups: Vec<Box<str>>,
        /// Names and fingerprints (`sha256:…`) of client certificates, compared exactly. Their holders need no session.
        certificates: Vec<Box<str>>,
    },
}

/// What a decision is made of: nothing else of the request counts.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a> {
    /// Whose live session the request carries.
    pub identity: Option<&'a Arc<Identity>>,
    /// What the client's certificate is issued to, and its fingerprint as `sha256:…`; empty without one.
    pub certificate: &'a [Box<str>],
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

/// Why a client was refused whom a login does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Neither the user nor one of their groups is named by the route.
    NotAMember,
    /// The route takes holders of certain client certificates alone, and this is none.
    NoCertificate,
}

impl Reason {
    /// The stable code for logs.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotAMember => "not_a_member",
            Self::NoCertificate => "no_certificate",
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
        (Access::Authenticated, None) => Decision::Challenge,
        (Access::Members { users, groups, certificates }, identity) => {
            let is_user = |i: &Arc<Identity>| users.iter().any(|u| **u == *i.user());
            let in_group = |i: &Arc<Identity>| groups.iter().any(|g| i.in_group(g));
            let holds = certificates.iter().any(|c| facts.certificate.contains(c));
            if holds || identity.is_some_and(|i| is_user(i) || in_group(i)) {
                return Decision::Allow(Permit { identity: identity.cloned() });
            }
            if users.is_empty() && groups.is_empty() {
                return Decision::Deny(Reason::NoCertificate);
            }
            if identity.is_some() { Decision::Deny(Reason::NotAMember) } else { Decision::Challenge }
        }
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
            certificates: Vec::new(),
        }
    }

    #[test]
    fn the_holder_of_a_named_certificate_needs_no_session_and_others_are_judged_as_without() {
        let held: [Box<str>; 2] = ["robot".into(), "sha256:ab".into()];
        let rule = |users: &[&str], certificates: &[&str]| match members(users, &[]) {
            Access::Members { users, groups, .. } => Access::Members {
                users,
                groups,
                certificates: certificates.iter().map(|c| (*c).into()).collect(),
            },
            other => other,
        };
        let (ada, robot) = (ada(), Facts { certificate: &held, ..Facts::default() });
        let both = Facts { identity: Some(&ada), ..robot.clone() };
        for named in ["robot", "sha256:ab"] {
            assert!(
                matches!(decide(&rule(&[], &[named]), &robot), Decision::Allow(p) if p.identity().is_none())
            );
            assert!(
                matches!(decide(&rule(&[], &[named]), &both), Decision::Allow(p) if p.identity() == Some(&ada))
            );
        }
        let elsewhere = rule(&["bob"], &["Robot", "robot2", "sha256:AB"]);
        assert!(matches!(decide(&elsewhere, &robot), Decision::Challenge));
        assert!(matches!(decide(&elsewhere, &both), Decision::Deny(Reason::NotAMember)));
        assert!(matches!(decide(&rule(&[], &["x"]), &robot), Decision::Deny(Reason::NoCertificate)));
        assert!(matches!(
            decide(&rule(&[], &["x"]), &Facts::default()),
            Decision::Deny(Reason::NoCertificate)
        ));
        assert!(matches!(decide(&Access::Authenticated, &robot), Decision::Challenge));
    }

    #[test]
    fn anonymous_is_challenged_everywhere_but_on_public_routes() {
        let anonymous = Facts::default();
        assert!(matches!(decide(&Access::Public, &anonymous), Decision::Allow(p) if p.identity().is_none()));
        assert!(matches!(decide(&Access::Authenticated, &anonymous), Decision::Challenge));
        assert!(matches!(decide(&members(&["ada"], &[]), &anonymous), Decision::Challenge));
    }

    #[test]
    fn a_public_route_passes_the_identity_on() {
        let ada = ada();
        let decision = decide(&Access::Public, &Facts { identity: Some(&ada), ..Facts::default() });
        assert!(matches!(decision, Decision::Allow(p) if p.identity() == Some(&ada)));
    }

    #[test]
    fn members_are_allowed_by_name_or_by_group_and_others_denied() {
        let ada = ada();
        let facts = Facts { identity: Some(&ada), ..Facts::default() };
        assert!(matches!(decide(&members(&["ada"], &[]), &facts), Decision::Allow(_)));
        assert!(matches!(decide(&members(&[], &["staff"]), &facts), Decision::Allow(_)));
        assert!(matches!(decide(&members(&["Ada", "bob"], &["STAFF"]), &facts), Decision::Deny(_)));
        assert!(matches!(decide(&members(&[], &[]), &facts), Decision::Deny(_)));
    }
}
