//! The account page: a user sees their own sessions and ends one, all others, or all (S32). Works without a script.

use data_encoding::HEXLOWER;
use http::{HeaderValue, Request, StatusCode};
use sha2::{Digest, Sha256};

use crate::base::identity::Identity;
use crate::gateway::challenge::{text_value, to_login, with_cookie};
use crate::gateway::endpoints::Call;
use crate::gateway::form::{Form, query_field};
use crate::gateway::form_token::Binding;
use crate::gateway::login::CROSS_SITE;
use crate::gateway::logout;
use crate::gateway::reply::Reply;
use crate::gateway::respond;
use crate::gateway::same_origin::{FormOrigin, form_origin};
use crate::pages::{AccountNotice, AccountView, SessionView, browser_in_words};
use crate::session::{EndReason, LiveSession, SessionDetails, SessionError, StoredId};
use crate::web::body::InboundBody;

/// Where the page is, below the reserved prefix.
pub const PATH: &str = "/account";

/// Most sessions shown: enough for anybody to look through, and a page of bounded size.
const MOST_SHOWN: usize = 100;

/// The notices as the query names them: fixed words, so that no link can make the page say anything else.
const NOTICES: [(&str, AccountNotice); 4] = [
    ("ended", AccountNotice::Ended),
    ("others_ended", AccountNotice::OthersEnded),
    ("not_found", AccountNotice::NotFound),
    ("expired", AccountNotice::Expired),
];

/// GET: who is signed in, and their sessions, the newest [`MOST_SHOWN`] of them. Somebody who is not signed in is sent to sign in, and back here.
pub async fn show<B>(call: &Call<'_>, request: &Request<B>) -> Reply {
    let (Some(identity), Some(current)) = (call.identity(), &call.managed.session) else {
        return to_login(call.gateway, &call.gateway.own_paths.of(PATH));
    };
    let named = query_field(request.uri().query(), "notice").ok().flatten();
    let notice = NOTICES.iter().find(|(word, _)| Some(*word) == named.as_deref()).map(|(_, notice)| *notice);
    let (rows, hidden) = rows(call, &identity, current).await;
    let sessions: Vec<_> = rows.iter().map(Row::view).collect();
    let token = call.gateway.form_tokens.issue(Binding::Session(current.stored_id().as_bytes()), call.now);
    let view = AccountView {
        user: identity.user(),
        name: identity.name(),
        email: identity.email(),
        groups: &identity.groups().collect::<Vec<_>>(),
        token: &token,
        sessions: &sessions,
        hidden,
        notice,
        now: call.now,
    };
    respond::page(StatusCode::OK, call.gateway.pages.account(&view))
}

/// POST: ends what the form names. Only the caller's own sessions can be named at all.
pub async fn submit(call: Call<'_>, request: Request<InboundBody>) -> (Reply, Option<&'static str>) {
    let origin = form_origin(request.headers(), &call.host);
    if origin == FormOrigin::Other || request.uri().query().is_some() {
        return (call.fail(CROSS_SITE), Some("cross_site"));
    }
    let Some(current) = call.managed.session.clone() else {
        let reply = to_login(call.gateway, &call.gateway.own_paths.of(PATH));
        return (with_cookie(reply, call.managed.set_cookie.clone()), Some("login_required"));
    };
    let form = match Form::read(request).await {
        Ok(form) => form,
        Err(error) => return (call.fail(error.failure()), Some("form")),
    };
    // Bound to this very session: a page left open from before another login ends nothing.
    let id = current.stored_id();
    if !call.gateway.form_tokens.verify(form.field("token"), Binding::Session(id.as_bytes()), call.now) {
        return match origin {
            FormOrigin::Same => (back(&call, AccountNotice::Expired), Some("form_token")),
            _ => (call.fail(CROSS_SITE), Some("form_token")),
        };
    }
    match form.field("action") {
        "end" => end_one(&call, &current, form.field("handle")).await,
        "end_others" => {
            let ended = end_all(&call, &current, Some(&current.stored_id())).await;
            said(&call, ended);
            (back(&call, AccountNotice::OthersEnded), Some("sessions_ended"))
        }
        "end_all" => {
            let ended = end_all(&call, &current, None).await;
            said(&call, ended);
            (logout::signed_out(&call), Some("sessions_ended"))
        }
        _ => (back(&call, AccountNotice::NotFound), Some("form")),
    }
}

async fn end_one(call: &Call<'_>, current: &LiveSession, handle: &str) -> (Reply, Option<&'static str>) {
    let sessions = call.gateway.sessions.sessions_of(current.user(), call.now);
    let named = sessions.iter().find(|session| handle_of(&session.stored_id()) == handle);
    let Some(id) = named.map(|session| session.stored_id()) else {
        return (back(call, AccountNotice::NotFound), Some("session_not_found"));
    };
    let own = id == current.stored_id();
    let reason = if own { EndReason::Logout } else { EndReason::Revoked };
    let ended = call.gateway.sessions.delete(&id, reason, call.now).await;
    let found = !matches!(ended, Ok(false));
    said(call, ended.map(usize::from));
    let reply = match (own, found) {
        (true, _) => logout::signed_out(call),
        (false, true) => back(call, AccountNotice::Ended),
        (false, false) => back(call, AccountNotice::NotFound),
    };
    (reply, Some("session_ended"))
}

async fn end_all(
    call: &Call<'_>,
    current: &LiveSession,
    except: Option<&StoredId>,
) -> Result<usize, SessionError> {
    call.gateway.sessions.end_of_user(current.user(), except, EndReason::Revoked, call.now).await
}

/// What could not be written yet is over in memory all the same, so the user is told so.
fn said(call: &Call<'_>, ended: Result<usize, SessionError>) {
    if let Err(error) = ended {
        tracing::error!(request_id = %call.id, %error, "ended sessions could not be written yet; they are revoked in memory");
    }
}

/// 303 to the page itself, so that reloading it sends nothing again.
fn back(call: &Call<'_>, notice: AccountNotice) -> Reply {
    let word = NOTICES.iter().find(|(_, known)| *known == notice).map_or("", |(word, _)| word);
    let page = call.gateway.own_paths.of(PATH);
    with_cookie(respond::see_other(location(&page, word)), call.managed.set_cookie.clone())
}

fn location(page: &str, word: &str) -> HeaderValue {
    text_value(&format!("{page}?notice={word}"))
}

/// Names a session among those of its user. A digest, so that no page shows the key of the store.
fn handle_of(id: &StoredId) -> String {
    let digest =
        Sha256::new().chain_update(b"fluidgate session handle v1\0").chain_update(id.as_bytes()).finalize();
    HEXLOWER.encode(digest.get(..12).unwrap_or_default())
}

/// A session's line, with what its view borrows.
struct Row {
    details: SessionDetails,
    handle: String,
    current: bool,
    address: String,
    browser: String,
}

impl Row {
    fn view(&self) -> SessionView<'_> {
        SessionView {
            handle: &self.handle,
            current: self.current,
            created: self.details.session.created_at(),
            last_seen: self.details.session.last_seen_at(),
            address: &self.address,
            browser: &self.browser,
        }
    }
}

/// This session first, then the one used last, and how many more there are. A store that cannot be read hides addresses and
/// browsers, nothing else: ending a session must not depend on it.
async fn rows(call: &Call<'_>, identity: &Identity, current: &LiveSession) -> (Vec<Row>, usize) {
    let manager = &call.gateway.sessions;
    let mut sessions = manager.sessions_of(identity.user(), call.now);
    let used = |session: &LiveSession| {
        (session.stored_id() != current.stored_id(), std::cmp::Reverse(session.last_seen_at()))
    };
    sessions.sort_by_cached_key(|session| used(session));
    let hidden = sessions.len().saturating_sub(MOST_SHOWN);
    sessions.truncate(MOST_SHOWN);
    let details = manager.describe(sessions).await;
    let rows = details
        .into_iter()
        .map(|details| {
            let id = details.session.stored_id();
            let origin = &details.origin;
            Row {
                handle: handle_of(&id),
                current: id == current.stored_id(),
                address: origin.address.map_or_else(|| "unknown address".into(), |a| a.to_string()),
                browser: browser_in_words(origin.user_agent.as_deref().unwrap_or_default()),
                details,
            }
        })
        .collect();
    (rows, hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_names_one_session_and_is_no_part_of_its_key() {
        let (one, other) = (StoredId::from_bytes([1; 32]), StoredId::from_bytes([2; 32]));
        assert_eq!(handle_of(&one), handle_of(&one));
        assert_ne!(handle_of(&one), handle_of(&other));
        assert_eq!(handle_of(&one).len(), 24);
        assert!(!one.to_string().contains(&handle_of(&one)));
    }
}
