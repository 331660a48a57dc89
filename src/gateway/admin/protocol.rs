//! What is said on the admin socket: one JSON object per line, one request per connection.
//!
//! ```text
//! > {"version":1,"verb":"list","user":"ada"}
//! < {"item":{"id":"5f0c…","user":"ada",…}}          none or more
//! < {"done":{"count":1}}                            or {"error":{"code":"…","message":"…"}}
//! ```
//!
//! An import sends `{"item":…}` lines of its own after the request, and `{"end":{"count":…}}` last. An answer without its last
//! line was cut. A later version adds verbs and fields; a server refuses a version it does not know.

use serde::{Deserialize, Serialize};

use crate::session::export_file::SessionLine;

/// The version of the protocol that this build speaks.
pub const VERSION: u32 = 1;

/// The first line of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// See [`VERSION`].
    pub version: u32,
    /// What is asked for.
    #[serde(flatten)]
    pub verb: Verb,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Verb {
    /// Live sessions, as [`SessionItem`]s; done with their number.
    List {
        /// Only this user's.
        user: Option<String>,
    },
    /// End sessions; done with their number.
    Revoke {
        /// Which.
        which: Which,
    },
    /// The records of all live sessions, as [`SessionLine`]s; done with their number.
    Export,
    /// Take sessions in; done with an [`ImportCounts`].
    Import,
}

/// Which sessions to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// All of a user.
    User(String),
    /// The one whose id begins with these hexadecimal digits, eight or more.
    Id(String),
    /// Everybody's.
    All,
}

/// One line that a server sends. The last one is `Done` or `Error`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<Item, Done> {
    /// One of many.
    Item(Item),
    /// All went well.
    Done(Done),
    /// It did not.
    Error(Refusal),
}

/// One line that a client sends after an import request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upload {
    /// A session.
    Item(SessionLine),
    /// The last line.
    End(Count),
}

/// How many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// How many.
    pub count: usize,
}

/// Why a request was refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// A stable word: `forbidden`, `bad_request`, `not_found`, `ambiguous`, `store`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// A live session as a list shows it. Moments are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionItem {
    /// The hash of its token in hexadecimal, which opens nothing.
    pub id: String,
    /// The user's name.
    pub user: String,
    /// When it began.
    pub created: String,
    /// The last request that counted as activity.
    pub last_seen: String,
    /// When it ends without further activity.
    pub expires: String,
    /// Where the login came from, when that is known.
    pub address: Option<String>,
    /// Browser and system in words, when they are known.
    pub browser: Option<String>,
}

/// What came of the sessions of an import. They add up to what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportCounts {
    /// Live now.
    pub imported: usize,
    /// There already.
    pub present: usize,
    /// Past a limit.
    pub expired: usize,
    /// Ended at this gateway before.
    pub ended: usize,
    /// Their user is gone, or has another credential.
    pub disowned: usize,
    /// Begun in the future, by the gateway's clock.
    pub future: usize,
    /// More than the cap lets their user have.
    #[serde(default)]
    pub at_cap: usize,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Option<Request> {
        serde_json::from_str(text).ok()
    }

    #[test]
    fn requests_are_read_as_they_are_documented() {
        let request = |verb| Some(Request { version: 1, verb });
        let user = Some("ada".to_owned());
        assert_eq!(parse(r#"{"version":1,"verb":"list","user":"ada"}"#), request(Verb::List { user }));
        assert_eq!(parse(r#"{"version":1,"verb":"list"}"#), request(Verb::List { user: None }));
        let revoke = |which| request(Verb::Revoke { which });
        assert_eq!(parse(r#"{"version":1,"verb":"revoke","which":"all"}"#), revoke(Which::All));
        assert_eq!(
            parse(r#"{"version":1,"verb":"revoke","which":{"id":"5f0c"}}"#),
            revoke(Which::Id("5f0c".into()))
        );
    }

    #[test]
    fn a_revocation_without_one_selector_is_no_request() {
        for which in ["{}", "null", r#"{"user":"ada","id":"5f"}"#, r#"{"usr":"ada"}"#, r#""none""#] {
            assert_eq!(
                parse(&format!(r#"{{"version":1,"verb":"revoke","which":{which}}}"#)),
                None,
                "{which}"
            );
        }
        assert_eq!(parse(r#"{"version":1,"verb":"revoke"}"#), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(text: String) {
            let _ = parse(&text);
            let _ = serde_json::from_str::<Upload>(&text);
        }
    }
}
