//! What must hold of any user file and any stored hash: bodies of fuzz targets, see [`crate::fuzz`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a body stops at what must not be"
)]

use crate::base::secret::Secret;
use crate::login::directory::UserDirectory;
use crate::login::names;
use crate::login::password::{Arena, StoredHash};

/// Any text is a directory of well-named users or a list of problems with their places.
pub fn users(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match UserDirectory::parse(text) {
        Err(problems) => {
            let lines = text.matches('\n').count() + 1;
            assert!(!problems.is_empty());
            assert!(problems.iter().all(|p| (1..=lines).contains(&p.line) && p.column >= 1));
        }
        Ok(directory) => {
            let mut folded: Vec<_> = directory.users().map(|(name, _)| names::fold(name)).collect();
            for (name, user) in directory.users() {
                assert_eq!(names::check(name), Ok(()));
                assert_eq!(user.subject().identity.user(), name);
            }
            folded.sort();
            folded.dedup();
            assert_eq!(folded.len(), directory.len(), "two names fold to one");
        }
    }
}

/// Any text is a hash that can be checked at a bounded cost, or none; no password matches it by chance, and neither its display
/// nor that of the problem repeats it.
pub fn password_hash(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let secrets = || text.rsplit('$').take(2).filter(|part| part.len() >= 11);
    match StoredHash::parse(text) {
        Err(problem) => assert!(secrets().all(|secret| !problem.to_string().contains(secret))),
        Ok(hash) => {
            let shown = format!("{hash:?}");
            assert!(secrets().all(|secret| !shown.contains(secret)), "{shown}");
            assert_eq!(hash.credential(), StoredHash::parse(text).unwrap().credential());
            // What costs more is only slower.
            if hash.is_cheap() {
                assert!(!hash.verify(&Secret::new(b"not this one".to_vec()), &mut Arena::default()));
            }
        }
    }
}
