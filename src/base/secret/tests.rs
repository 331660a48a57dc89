//! What holds for secrets of every kind (X27): they cannot be printed, they are wiped, and they are compared in constant time.

use std::fmt::{Display, LowerHex};

use super::*;
use crate::gateway::form_token::FormTokens;
use crate::gateway::recall::Recall;
use crate::login::password::StoredHash;
use crate::session::RedisAddress;
use crate::session::id::Token;
use crate::session::keys::KeyRing;

/// Does not compile where the type has the trait: the two ways to read the call are then told apart by nothing.
macro_rules! never {
    ($($kind:ty: $($barred:path),+;)+) => {$($(
        const _: fn() = || {
            struct Barred;
            trait Reads<Way> { fn read() {} }
            impl<T: ?Sized> Reads<()> for T {}
            impl<T: ?Sized + $barred> Reads<Barred> for T {}
            <$kind as Reads<_>>::read();
        };
    )+)+};
}

never! {
    Secret: Display, LowerHex, serde::Serialize, Copy, AsRef<[u8]>, std::ops::Deref;
    Token: Display, LowerHex, serde::Serialize, Clone, PartialEq, AsRef<[u8]>, std::ops::Deref;
    KeyRing: Display, serde::Serialize, PartialEq;
    FormTokens: Display, serde::Serialize, PartialEq;
    StoredHash: Display, serde::Serialize, PartialEq;
    Recall: Display, serde::Serialize, Clone;
    RedisAddress: serde::Serialize, Copy;
}

/// Compiles for types only that wipe themselves.
const fn wiped<T: ZeroizeOnDrop>() {}

const _: () = {
    wiped::<Secret>();
    // The keys of the cookie, of form tokens and of the audit log's digests: an HMAC keeps its key as two states of the hash.
    wiped::<Sha256>();
    wiped::<Zeroizing<Vec<u8>>>();
    wiped::<Zeroizing<[u8; 32]>>();
    wiped::<Zeroizing<String>>();
};

#[test]
fn debug_shows_only_the_length() {
    let secret = Secret::new(b"hunter2".to_vec());
    assert_eq!(format!("{secret:?}"), "Secret(7 bytes)");
}

#[test]
fn equal_bytes_are_equal_and_others_are_not() {
    assert_eq!(Secret::new(vec![1, 2]), Secret::new(vec![1, 2]));
    assert_ne!(Secret::new(vec![1, 2]), Secret::new(vec![1, 3]));
    assert_ne!(Secret::new(vec![1, 2]), Secret::new(vec![1, 2, 3]));
}

#[test]
fn keys_and_memories_show_none_of_their_bytes() {
    let secret = Secret::new(b"0123456789abcdef0123456789ABCDEF".to_vec());
    assert_eq!(format!("{:?}", FormTokens::new(&secret)), "FormTokens");
    assert_eq!(format!("{:?}", Recall::default()), "Recall");
    assert!(!format!("{:?}", KeyRing::new(&[secret]).unwrap()).contains("01234"));
}

#[test]
fn a_key_for_one_purpose_is_not_that_for_another() {
    use hmac::Mac;
    let secret = Secret::new(vec![7; 32]);
    let made = |domain: &[u8]| secret.mac_for(domain).chain_update(b"x").finalize().into_bytes();
    assert_eq!(made(b"one"), made(b"one"));
    assert_ne!(made(b"one"), made(b"other"));
}

#[test]
fn texts_are_the_same_when_every_byte_is() {
    assert!(are_same(b"", b"") && are_same(b"ab", b"ab"));
    assert!(!are_same(b"ab", b"aB") && !are_same(b"ab", b"abc") && !are_same(b"ab", b""));
}
