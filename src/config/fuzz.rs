//! What must hold of any configuration and any secret file: bodies of fuzz targets, see [`crate::fuzz`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a body stops at what must not be"
)]

use std::path::Path;

use crate::config::{parse, secrets};
use crate::session::keys::KeyRing;

/// Any text is a configuration, or problems with their places that can be shown plainly and in colour.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let shown = match parse(text, "gateway.toml", Path::new("/nonexistent")) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => {
            assert!(problems.to_string().contains("gateway.toml:"));
            problems
        }
    };
    assert!(shown.render(true).len() >= shown.to_string().len());
}

/// Any bytes are a secret that is worth signing with, or refused in words that say nothing of them.
pub fn secret(data: &[u8]) {
    let Ok(secret) = secrets::judged(data) else {
        let (refusal, other) = (secrets::judged(data).err().unwrap(), secrets::judged(b"x").err().unwrap());
        let words = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
        let fixed = ["this secret is a sample that everyone knows", "this secret is not random"];
        assert!(
            words(&refusal.what) == words(&other.what) || fixed.contains(&&*refusal.what),
            "{}",
            refusal.what
        );
        assert_eq!(refusal.mend, other.mend);
        return;
    };
    assert!(secret.len() >= 32);
    assert_eq!(format!("{secret:?}"), format!("Secret({} bytes)", secret.len()));
    let keys = KeyRing::new(std::slice::from_ref(&secret)).expect("the session's own judgement is the same");
    // The public id of the key and nothing else.
    let id = String::from_utf8_lossy(keys.signing_id()).into_owned();
    assert_eq!(format!("{keys:?}"), format!("KeyRing {{ keys: [Key({id})] }}"));
}
