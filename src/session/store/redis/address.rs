//! Where the Redis server is: `redis://[user][:password]@host[:port][/database]`, or `redis+unix://` for a socket of this machine.

use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

/// A checked address. It may hold a password, so it prints without user and password, always.
#[derive(Clone)]
pub struct RedisAddress {
    info: ConnectionInfo,
    /// The text it came from, for comparing two addresses only.
    text: crate::base::secret::Secret,
}

/// Why a text is not the address of a Redis server. The texts never repeat what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisAddressProblem {
    /// Not a URL of a scheme we know.
    #[error("not the address of a Redis server, such as redis://127.0.0.1:6379/0")]
    NotRedis,
    /// Asks for TLS.
    #[error("TLS to Redis is not in this version")]
    Tls,
}

impl RedisAddress {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is none, or asks for TLS.
    pub fn parse(text: &str) -> Result<Self, RedisAddressProblem> {
        if text.starts_with("rediss:") || text.starts_with("valkeys:") {
            return Err(RedisAddressProblem::Tls);
        }
        let info = text.into_connection_info().map_err(|_| RedisAddressProblem::NotRedis)?;
        // Invalidation messages come over the same connection as answers: that takes RESP3, whatever the address says.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let text = crate::base::secret::Secret::new(text.as_bytes().to_vec());
        Ok(Self { info: info.set_redis_settings(settings), text })
    }

    pub(super) fn info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.info.redis_settings().db();
        match self.info.addr() {
            ConnectionAddr::Tcp(host, port) if host.contains(':') => {
                write!(f, "redis://[{host}]:{port}/{database}")
            }
            ConnectionAddr::Tcp(host, port) => write!(f, "redis://{host}:{port}/{database}"),
            ConnectionAddr::Unix(path) => write!(f, "redis+unix://{}", path.display()),
            _ => f.write_str("redis"),
        }
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisAddress({self})")
    }
}

impl PartialEq for RedisAddress {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for RedisAddress {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_shown_without_user_and_password() {
        for (text, shown) in [
            ("redis://ada:hunter2@db.example:6380/3", "redis://db.example:6380/3"),
            ("redis://:hunter2@127.0.0.1", "redis://127.0.0.1:6379/0"),
            ("redis://:hunter2@[::1]:1/0", "redis://[::1]:1/0"),
            ("redis+unix:///run/redis.sock?pass=hunter2", "redis+unix:///run/redis.sock"),
        ] {
            let address = RedisAddress::parse(text).unwrap();
            assert_eq!(address.to_string(), shown);
            assert!(!format!("{address:?}").contains("hunter2"));
        }
    }

    #[test]
    fn tls_and_other_schemes_are_refused() {
        assert_eq!(RedisAddress::parse("rediss://h").unwrap_err(), RedisAddressProblem::Tls);
        assert_eq!(RedisAddress::parse("http://h").unwrap_err(), RedisAddressProblem::NotRedis);
        assert_eq!(RedisAddress::parse("").unwrap_err(), RedisAddressProblem::NotRedis);
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(text in "(redis://)?\\PC{0,40}") {
            let _ = RedisAddress::parse(&text);
        }
    }
}
