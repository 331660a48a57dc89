//! No bytes make the reader of PROXY headers panic, read past the header, or take an IPv4 client for another.
#![no_main]

use std::net::IpAddr;

use fluidgate::server::proxy_protocol::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok((address, used)) = parse(data) else { return };
    assert!(used <= data.len());
    // What was used is a header by itself, and nothing shorter is.
    assert_eq!(parse(&data[..used]).ok(), Some((address, used)));
    assert!(parse(&data[..used - 1]).is_err());
    if let Some(IpAddr::V6(v6)) = address.map(|address| address.ip()) {
        assert!(v6.to_ipv4_mapped().is_none());
    }
});
