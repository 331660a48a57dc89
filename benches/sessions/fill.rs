//! Fills the store of a gateway's configuration: `fill CONFIG SESSIONS SECONDS COOKIES`.
//!
//! Writes that many sessions, spread over the users of the user file, in the same commits the gateway makes, and their cookies
//! to a file of lines of one length. SECONDS is how long they live, up to the configured limits. The gateway must not run.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use fluidgate::base::clock::{Clock, SystemClock};
use fluidgate::base::secret::SystemRandom;
use fluidgate::config;
use fluidgate::login::Login;
use fluidgate::session::StoreSettings;
use fluidgate::session::cookie::CookieCodec;
use fluidgate::session::id::Token;
use fluidgate::session::keys::KeyRing;
use fluidgate::session::record::{Origin, Record};
use fluidgate::session::store::{Change, SessionStore, SledStore};

/// Sessions in one commit.
const GROUP: usize = 1000;
/// A browser's usual name for itself.
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [config, sessions, seconds, cookies] = arguments.as_slice() else {
        return Err("usage: fill CONFIG SESSIONS SECONDS COOKIES".into());
    };
    let config = config::load(Path::new(config)).map_err(|_| "the configuration is not valid")?.config;
    let (sessions, lives) = (sessions.parse::<usize>()?, Duration::from_secs(seconds.parse()?));
    let StoreSettings::Sled { path } = &config.session.store else {
        return Err("a sled store, please".into());
    };
    let mut store = SledStore::open(path, &SystemRandom)?;
    store.load(&mut |_, _| {})?;
    let login = Login::open(&config.login)?;
    let codec = CookieCodec::new(KeyRing::new(&config.session.secrets)?, &config.session.cookie);
    let now = SystemClock::default().now();
    let users: Vec<_> = (0..).map_while(|number| login.subject_of(&format!("user{number}"), now)).collect();
    let mut out = BufWriter::new(File::create(cookies)?);
    let mut changes = Vec::with_capacity(GROUP);
    for (_, subject) in (0..sessions).zip(users.iter().cycle()) {
        let token = Token::random(&SystemRandom)?;
        let set_cookie = codec.issue(&token, lives, false);
        writeln!(out, "{}", set_cookie.to_str()?.split(';').next().unwrap_or_default())?;
        let record = Record {
            user: subject.identity.user().into(),
            method: subject.method,
            credential: subject.credential,
            created_at: now,
            last_seen_at: now,
            absolute_at: now + lives.min(config.session.duration),
            origin: Origin::new(Some([192, 0, 2, 1].into()), Some(AGENT)),
        };
        changes.push(Change::Create(token.stored_id(), record));
        if changes.len() == GROUP {
            store.commit(&changes)?;
            changes.clear();
        }
    }
    store.commit(&changes)?;
    Ok(out.flush()?)
}
