//! What a store keeps of a session, and its bytes (S8, S9).
//!
//! Version 1, integers little-endian: `1`, created, last seen, absolute limit (u64 milliseconds each), credential digest (16
//! bytes), login method (u8), user (u16 length, UTF-8), address (u8 length 0, 4 or 16, bytes), user agent (u16 length,
//! UTF-8, 0 for none). Nothing may follow. A version this build does not know counts as undecodable.

use std::net::IpAddr;

use crate::base::clock::Timestamp;
use crate::base::identity::LoginMethod;
use crate::session::lifetime::Moments;

/// The version this build writes.
pub const VERSION: u8 = 1;

/// Longest user agent kept, in bytes.
pub const MAX_USER_AGENT: usize = 256;
/// Longest user name kept, in bytes.
pub const MAX_USER: usize = 1024;

/// Where a login came from, for the list a user sees of their sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// What the browser called itself, at most [`MAX_USER_AGENT`] bytes, control characters removed.
    pub user_agent: Option<Box<str>>,
}

impl Origin {
    /// An origin with a user agent cut to what is kept.
    pub fn new(address: Option<IpAddr>, user_agent: Option<&str>) -> Self {
        let mut text: String = user_agent.unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
        while text.len() > MAX_USER_AGENT {
            text.pop();
        }
        Self { address, user_agent: (!text.is_empty()).then(|| text.into()) }
    }
}

/// A session as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The user's name.
    pub user: Box<str>,
    /// How the login was proved.
    pub method: LoginMethod,
    /// Digest of the credential that proved it.
    pub credential: [u8; 16],
    /// When it began.
    pub created_at: Timestamp,
    /// The last activity written; memory may know a later one.
    pub last_seen_at: Timestamp,
    /// The absolute limit promised at creation.
    pub absolute_at: Timestamp,
    /// Where the login came from.
    pub origin: Origin,
}

/// Bytes that are not a record of a version this build knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a session record of version {VERSION} or before")]
pub struct Undecodable;

impl Record {
    /// The moments its life is judged by.
    pub(crate) fn moments(&self) -> Moments {
        Moments { last_seen_at: self.last_seen_at, absolute_at: self.absolute_at }
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let agent = self.origin.user_agent.as_deref().unwrap_or_default();
        let mut out = Vec::with_capacity(64 + self.user.len() + agent.len());
        out.push(VERSION);
        for moment in [self.created_at, self.last_seen_at, self.absolute_at] {
            out.extend_from_slice(&moment.as_millis().to_le_bytes());
        }
        out.extend_from_slice(&self.credential);
        out.push(match self.method {
            LoginMethod::Password => 1,
        });
        push_text(&mut out, &self.user);
        match self.origin.address {
            None => out.push(0),
            Some(IpAddr::V4(v4)) => {
                out.push(4);
                out.extend_from_slice(&v4.octets());
            }
            Some(IpAddr::V6(v6)) => {
                out.push(16);
                out.extend_from_slice(&v6.octets());
            }
        }
        push_text(&mut out, agent);
        out
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When `bytes` are anything but one whole record of a known version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Undecodable> {
        let mut rest = bytes;
        let record = Self::take_v1(&mut rest).ok_or(Undecodable)?;
        if rest.is_empty() { Ok(record) } else { Err(Undecodable) }
    }

    fn take_v1(rest: &mut &[u8]) -> Option<Self> {
        if take::<1>(rest)? != [VERSION] {
            return None;
        }
        let mut moment = || Some(Timestamp::from_millis(u64::from_le_bytes(take(rest)?)));
        let (created_at, last_seen_at, absolute_at) = (moment()?, moment()?, moment()?);
        let credential = take(rest)?;
        let method = match take::<1>(rest)? {
            [1] => LoginMethod::Password,
            _ => return None,
        };
        let user = take_text(rest).filter(|user| !user.is_empty())?.into();
        let address = match take::<1>(rest)? {
            [0] => None,
            [4] => Some(IpAddr::from(take::<4>(rest)?)),
            [16] => Some(IpAddr::from(take::<16>(rest)?)),
            _ => return None,
        };
        let agent = take_text(rest)?;
        let origin = Origin { address, user_agent: (!agent.is_empty()).then(|| agent.into()) };
        Some(Self { user, method, credential, created_at, last_seen_at, absolute_at, origin })
    }
}

/// Texts are bounded where records are made ([`MAX_USER`], [`MAX_USER_AGENT`]); a longer one would be cut, never misread.
fn push_text(out: &mut Vec<u8>, text: &str) {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend(text.bytes().take(len.into()));
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let len = u16::from_le_bytes(take(rest)?);
    let (text, after) = rest.split_at_checked(len.into())?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> Record {
        Record {
            user: "ada".into(),
            method: LoginMethod::Password,
            credential: [7; 16],
            created_at: Timestamp::from_secs(1),
            last_seen_at: Timestamp::from_secs(2),
            absolute_at: Timestamp::from_secs(3),
            origin: Origin::new(Some([192, 0, 2, 1].into()), Some("Browser/1")),
        }
    }

    /// The bytes that version 1 wrote. They never change: a build that cannot read them ends people's sessions.
    const FIXTURE_V1: &str = "01e803000000000000d007000000000000b80b0000000000000707070707070707070707070707070701\
                              030061646104c0000201090042726f777365722f31";

    #[test]
    fn the_stored_fixture_of_version_1_loads() {
        let bytes = data_encoding::HEXLOWER.decode(FIXTURE_V1.as_bytes()).unwrap();
        assert_eq!(Record::decode(&bytes), Ok(record()));
        assert_eq!(record().encode(), bytes);
    }

    #[test]
    fn a_newer_version_is_undecodable_and_does_not_panic() {
        let mut bytes = record().encode();
        bytes[0] = VERSION + 1;
        assert_eq!(Record::decode(&bytes), Err(Undecodable));
    }

    #[test]
    fn every_cut_and_every_longer_form_is_undecodable() {
        let bytes = record().encode();
        for len in 0..bytes.len() {
            assert_eq!(Record::decode(&bytes[..len]), Err(Undecodable), "cut at {len}");
        }
        assert_eq!(Record::decode(&[bytes, vec![0]].concat()), Err(Undecodable));
    }

    #[test]
    fn a_user_agent_is_bounded_and_keeps_no_control_characters() {
        let origin = Origin::new(None, Some(&format!("a\r\nb{}", "é".repeat(500))));
        let agent = origin.user_agent.unwrap();
        assert!(agent.len() <= MAX_USER_AGENT && agent.starts_with("abé"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(bytes: Vec<u8>) {
            let _ = Record::decode(&bytes);
        }

        #[test]
        fn what_is_encoded_decodes_to_itself(user in "\\PC{1,40}", agent in "\\PC{0,80}", v6: u128, created: u64, seen: u64) {
            let record = Record {
                user: user.into(),
                origin: Origin::new(Some(std::net::Ipv6Addr::from(v6).into()), Some(&agent)),
                created_at: Timestamp::from_millis(created),
                last_seen_at: Timestamp::from_millis(seen),
                ..record()
            };
            prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
    }
}
