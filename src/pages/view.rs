//! What each page shows. Plain values: the pages decide nothing and look nothing up.

use minijinja::{Value, context};
use serde::Serialize;

use crate::base::clock::Timestamp;
use crate::pages::when;

/// The sign-in page.
#[derive(Clone, Debug, Serialize)]
pub struct LoginView<'a> {
    /// Where to go after signing in; sent back as the form field `return_to`.
    pub return_to: &'a str,
    /// Proof that the form came from us; the hidden form field `token`.
    pub token: &'a str,
    /// The user name to fill in, empty for none.
    pub username: &'a str,
    /// What happened before, if anything.
    #[serde(skip)]
    pub message: Option<LoginMessage>,
    /// The host the user wants to reach.
    pub host: &'a str,
    /// The user who is signed in already, when there is one.
    pub signed_in_as: Option<&'a str>,
}

/// What the sign-in page has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginMessage {
    /// User name or password are wrong; which one is not said.
    Refused,
    /// Too many attempts; the next one counts in `minutes` minutes.
    Throttled {
        /// Whole minutes, rounded up.
        minutes: u32,
    },
    /// Too many people sign in at this moment.
    Busy,
    /// The form was too old, or did not come from this page.
    Expired,
    /// The user has just signed out.
    SignedOut,
}

impl LoginMessage {
    pub(super) fn words(self) -> String {
        match self {
            Self::Refused => "User name or password is wrong. Please try again.".to_owned(),
            Self::Throttled { minutes: 0 | 1 } => {
                "Too many attempts. Please wait a minute, then try again.".to_owned()
            }
            Self::Throttled { minutes } => {
                format!("Too many attempts. Please wait {minutes} minutes, then try again.")
            }
            Self::Busy => "Many people are signing in right now. Please try again in a moment.".to_owned(),
            Self::Expired => "This page was open for too long. Please sign in again.".to_owned(),
            Self::SignedOut => "You are signed out.".to_owned(),
        }
    }

    /// The look of the message: `error`, `note` or `done`.
    pub(super) fn tone(self) -> &'static str {
        match self {
            Self::Refused | Self::Throttled { .. } => "error",
            Self::Busy | Self::Expired => "note",
            Self::SignedOut => "done",
        }
    }
}

/// The page that asks before signing out.
#[derive(Clone, Debug, Serialize)]
pub struct LogoutView<'a> {
    /// Proof that the form came from us; the hidden form field `token`.
    pub token: &'a str,
    /// The user name.
    pub user: &'a str,
    /// The display name, if there is one.
    pub name: Option<&'a str>,
    /// Where to go afterwards, and where "Cancel" leads.
    pub return_to: &'a str,
}

/// The signed-in user and their sessions.
#[derive(Clone, Debug, Serialize)]
pub struct AccountView<'a> {
    /// The user name.
    pub user: &'a str,
    /// The display name, if there is one.
    pub name: Option<&'a str>,
    /// The e-mail address, if there is one.
    pub email: Option<&'a str>,
    /// The groups, in the order to show.
    pub groups: &'a [&'a str],
    /// Proof that the forms came from us; the hidden form field `token`.
    pub token: &'a str,
    /// The user's sessions, in the order to show.
    #[serde(skip)]
    pub sessions: &'a [SessionView<'a>],
    /// How many more there are than those to show.
    pub hidden: usize,
    /// What the user has just done, if anything.
    #[serde(skip)]
    pub notice: Option<AccountNotice>,
    /// The present moment, for "5 minutes ago".
    #[serde(skip)]
    pub now: Timestamp,
}

/// One session of the signed-in user.
#[derive(Clone, Debug)]
pub struct SessionView<'a> {
    /// Names the session in the form field `handle`; not the token.
    pub handle: &'a str,
    /// Whether this page was asked for with this session.
    pub current: bool,
    /// When the user signed in.
    pub created: Timestamp,
    /// When the session was used last.
    pub last_seen: Timestamp,
    /// The client's address.
    pub address: &'a str,
    /// The browser in words, see [`browser_in_words`](super::browser_in_words).
    pub browser: &'a str,
}

impl SessionView<'_> {
    pub(super) fn in_words(&self, now: Timestamp) -> Value {
        context! {
            handle => self.handle,
            current => self.current,
            created => when::date(self.created),
            created_at => self.created.to_string(),
            last_seen => when::ago(self.last_seen, now),
            last_seen_at => self.last_seen.to_string(),
            address => self.address,
            browser => self.browser,
        }
    }
}

/// What the account page has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountNotice {
    /// One session was ended.
    Ended,
    /// All other sessions were ended.
    OthersEnded,
    /// The session to end was gone already.
    NotFound,
    /// The form was too old, or did not come from this page; nothing was ended.
    Expired,
}

impl AccountNotice {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Ended => "The session has ended.",
            Self::OthersEnded => "All other sessions have ended.",
            Self::NotFound => "That session had ended already.",
            Self::Expired => "This page was open for too long. Nothing was changed; please try again.",
        }
    }

    /// The look of the notice: `done` or `note`.
    pub(super) fn tone(self) -> &'static str {
        match self {
            Self::Ended | Self::OthersEnded => "done",
            Self::NotFound | Self::Expired => "note",
        }
    }
}

/// The page for a signed-in user who is not allowed in.
#[derive(Clone, Debug, Serialize)]
pub struct DeniedView<'a> {
    /// The user name.
    pub user: &'a str,
    /// Which condition failed, in words safe to show: a whole sentence.
    pub reason: &'a str,
    /// Finds the request in the log.
    pub request_id: &'a str,
    /// The host the user wanted to reach.
    pub host: &'a str,
    /// Where to go after switching account.
    pub return_to: &'a str,
}

/// Any other answer we make ourselves.
#[derive(Clone, Debug, Serialize)]
pub struct MessageView<'a> {
    /// The HTTP status, shown small.
    pub status: u16,
    /// What happened, in a few words.
    pub title: &'a str,
    /// What it means and what to do, without the cause.
    pub text: &'a str,
    /// Finds the request in the log.
    pub request_id: &'a str,
    /// Whether trying again may help.
    pub retry: bool,
}

/// `target` when it may stand in a link, else `/`. The gateway has checked it before; this only makes sure that no
/// `javascript:` or scheme-relative address ever becomes a link here.
pub(super) fn link_to(target: &str) -> &str {
    let path = target.starts_with('/') && !target.starts_with("//") && !target.starts_with("/\\");
    let web = target.starts_with("https://") || target.starts_with("http://");
    let clean = !target.bytes().any(|b| b.is_ascii_control());
    if (path || web) && clean { target } else { "/" }
}

/// The address of the sign-in page that leads on to `return_to`.
pub(super) fn login_link(prefix: &str, return_to: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("return_to", return_to).finish();
    format!("{prefix}/login?{query}")
}
