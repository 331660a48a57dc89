//! What must hold of our pages, whatever they are to show: the body of a fuzz target, see [`crate::fuzz`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a body stops at what must not be"
)]

use std::sync::LazyLock;

use crate::base::clock::Timestamp;
use crate::pages::{
    AccountView, DeniedView, LoginMessage, LoginView, LogoutView, MessageView, Pages, SessionView,
    browser_in_words,
};

static PAGES: LazyLock<Pages> = LazyLock::new(|| Pages::new("/_auth").unwrap());

/// Every page with these texts in its fields.
fn rendered(texts: [&str; 4], now: Timestamp) -> [String; 5] {
    let [one, other, third, fourth] = texts;
    let session = SessionView {
        handle: one,
        current: false,
        created: now,
        last_seen: Timestamp::from_secs(1_700_000_000),
        address: other,
        browser: &browser_in_words(third),
    };
    [
        PAGES.login(&LoginView {
            return_to: one,
            token: other,
            username: third,
            message: Some(LoginMessage::Refused),
            host: fourth,
            signed_in_as: Some(one),
        }),
        PAGES.logout(&LogoutView { token: one, user: other, name: Some(third), return_to: fourth }),
        PAGES.account(&AccountView {
            user: one,
            name: Some(other),
            email: Some(third),
            groups: &[fourth, one],
            token: other,
            sessions: &[session],
            hidden: 1,
            notice: None,
            now,
        }),
        PAGES.denied(&DeniedView {
            user: one,
            reason: other,
            request_id: third,
            host: fourth,
            return_to: one,
        }),
        PAGES.message(&MessageView { status: 400, title: one, text: other, request_id: third, retry: true }),
    ]
}

/// Four texts, one NUL apart: no text becomes markup. The tags and quotes of a page are those of the same page with plain words.
pub fn pages(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(4, '\0');
    let texts = [(); 4].map(|()| parts.next().unwrap_or_default());
    // Which texts are the same, and which are empty, decides what is shown.
    let first = |text: &str| {
        texts.iter().position(|other| *other == text).and_then(|at| ["a", "b", "c", "d"].get(at))
    };
    let plain = texts.map(|text| if text.is_empty() { "" } else { first(text).copied().unwrap_or_default() });
    let now = Timestamp::from_millis(u64::from_str_radix(texts[3], 16).unwrap_or(1_700_000_000_000));
    let agents = texts.map(browser_in_words);
    assert!(agents.iter().all(|words| words.is_ascii() && words.len() < 40 && !words.contains(['<', '&'])));
    for (page, other) in rendered(texts, now).iter().zip(rendered(plain, now)) {
        let marks = |page: &str| ['<', '>', '"', '\''].map(|mark| page.matches(mark).count());
        assert_eq!(marks(page), marks(&other), "{page}");
        assert!(
            page.trim_end().ends_with("</html>") && !page.to_ascii_lowercase().contains("href=\"javascript:"),
            "{page}"
        );
    }
    assert!(PAGES.asset(&format!("/_auth/assets/{}", texts[0])).is_none() || texts[0].len() < 40);
}
