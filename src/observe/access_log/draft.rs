//! What a line will say of its request, put down as it is learnt: the request need not be kept for the line's sake.

use std::net::IpAddr;

use crate::base::clock::Timestamp;
use crate::observe::access_log::escape::LONGEST;
use crate::observe::access_log::line::{Line, Opening, Outcome};
use crate::observe::access_log::page::Page;

/// Room for what the requests of most clients say. One that says more gets more.
const ROOM: usize = 256;
/// The most that is kept for another line.
const KEPT: usize = 4 * ROOM;
/// How much of a word is kept: what a line says of it, and the rest of a character that would be cut.
const ENOUGH: usize = LONGEST + 4;

/// What is known of a request. It can be used again for another line.
#[derive(Debug)]
pub struct Draft {
    entry: Entry,
    /// The words of the entry.
    pub(super) words: Page,
}

/// What a line says but for its words, of which it has the lengths. They stand elsewhere, one after the other, as they came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    at: Timestamp,
    client: Option<IpAddr>,
    protocol: &'static str,
    request_id: u16,
    method: u16,
    host: u16,
    path: u16,
    user_agent: Option<u16>,
    route: Option<u16>,
    user: Option<u16>,
    /// Of all its words, so that whatever were wrong in one line, the next one would not be.
    words: usize,
    outcome: Outcome,
}

impl Default for Draft {
    fn default() -> Self {
        Self { entry: Entry::default(), words: Page::of(ROOM) }
    }
}

impl Draft {
    /// Puts down what is known when a request begins, and nothing of the one before.
    pub fn begin(&mut self, opening: &Opening<'_>) {
        let [request_id, method, host, path, agent] = [
            opening.request_id,
            opening.method.as_bytes(),
            opening.host,
            opening.path.as_bytes(),
            opening.user_agent.unwrap_or_default(),
        ]
        .map(enough);
        self.words.clear();
        self.words.add(|out| out.piece(request_id).piece(method).piece(host).piece(path).piece(agent));
        self.entry = Entry {
            at: opening.at,
            client: opening.client,
            protocol: opening.protocol,
            request_id: length(request_id),
            method: length(method),
            host: length(host),
            path: length(path),
            user_agent: opening.user_agent.map(|_| length(agent)),
            ..Entry::default()
        };
    }

    /// Puts down the name of the route that matched, and of the user whose live session the request carried. Once, if at all: a word
    /// put down later would be read as one before it.
    pub fn names(&mut self, route: Option<&str>, user: Option<&str>) {
        debug_assert!(self.entry.route.is_none() && self.entry.user.is_none(), "named twice");
        let [route, user] = [route, user].map(|name| name.map(|name| enough(name.as_bytes())));
        self.words
            .add(|out| out.with(route, |out, word| out.piece(word)).with(user, |out, word| out.piece(word)));
        (self.entry.route, self.entry.user) = (route.map(length), user.map(length));
    }

    /// Puts down what became of it.
    pub fn end(&mut self, outcome: Outcome) {
        self.entry.outcome = outcome;
    }

    /// What goes into a batch together with the words.
    #[inline]
    pub(super) fn entry(&self) -> Entry {
        Entry { words: self.words.lines().len(), ..self.entry }
    }

    /// Whether it takes more memory than is worth keeping for another line.
    pub fn is_large(&self) -> bool {
        self.words.room() > KEPT
    }
}

impl Entry {
    /// The line, whose words are the first of `words`; they are taken away.
    pub(super) fn line<'a>(&self, words: &mut &'a [u8]) -> Line<'a> {
        let first = |words: &mut &'a [u8], length: usize| {
            let (first, rest) = words.split_at_checked(length).unwrap_or_default();
            *words = rest;
            first
        };
        let mut own = first(words, self.words);
        let mut next = |length: u16| first(&mut own, length.into());
        Line {
            at: self.at,
            client: self.client,
            protocol: self.protocol,
            request_id: next(self.request_id),
            method: next(self.method),
            host: next(self.host),
            path: next(self.path),
            user_agent: self.user_agent.map(&mut next),
            route: self.route.map(&mut next),
            user: self.user.map(&mut next),
            outcome: self.outcome,
        }
    }
}

fn enough(word: &[u8]) -> &[u8] {
    word.get(..ENOUGH).unwrap_or(word)
}

/// Of what is [`enough`].
fn length(word: &[u8]) -> u16 {
    u16::try_from(word.len()).unwrap_or(u16::MAX)
}
