//! Tunnels over HTTP/2 (RFC 8441): the same as over HTTP/1, each within its stream.

use h2::Reason;

use super::multiplexed::{get, h2c};
use super::support::h2::{Http2Client, Http2Stream, piece, request, rest};
use super::tunnels::Rig;
use super::*;

fn tunnelling() -> Rig {
    Rig::with(h2c)
}

fn connect(client: &mut Http2Client) -> Http2Stream {
    let mut request = request(Method::CONNECT, "http://a/tunnel", &[]);
    request.extensions_mut().insert(h2::ext::Protocol::from_static("test"));
    client.open(request, false)
}

#[test]
fn an_extended_connect_opens_a_tunnel_whose_ways_end_on_their_own() {
    let rig = tunnelling();
    let mut client = rig.server.http2();
    // Settings have come with the first answer.
    client.get("http://a/", &[]);
    assert!(client.may_tunnel());
    for client_first in [true, false] {
        let (response, mut up) = connect(&mut client).tunnel();
        assert_eq!(response.status(), 200);
        let mut down = response.into_body();
        let mut upstream = rig.accept();
        up.send_data("there".into(), false).unwrap();
        assert_eq!(upstream.up_to("there"), "there");
        upstream.send("back");
        assert_eq!(piece(&mut down).unwrap().unwrap(), "back");
        if client_first {
            up.send_data("last".into(), true).unwrap();
            assert_eq!(upstream.rest(), ("last".into(), false));
            upstream.send("still");
            drop(upstream);
            assert_eq!(rest(&mut down).unwrap(), b"still");
        } else {
            upstream.0.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(rest(&mut down).unwrap(), b"");
            up.send_data("still".into(), true).unwrap();
            assert_eq!(upstream.rest(), ("still".into(), false));
        }
    }
    assert_eq!(client.get("http://a/", &[]).text(), "hello");
}

#[test]
fn much_goes_through_a_tunnel_over_http_2_unchanged() {
    let rig = tunnelling();
    let mut client = rig.server.http2();
    let (response, mut up) = connect(&mut client).tunnel();
    let mut down = response.into_body();
    let upstream = rig.accept();
    let pattern: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7 % 251) as u8).collect();
    let mut echo = (upstream.0.try_clone().unwrap(), upstream.0);
    std::thread::spawn(move || {
        std::io::copy(&mut echo.0, &mut echo.1).unwrap();
        echo.1.shutdown(std::net::Shutdown::Write).unwrap();
    });
    up.send_data(pattern.clone().into(), true).unwrap();
    let seen = rest(&mut down).unwrap();
    assert!(seen == pattern, "{} bytes", seen.len());
}

#[test]
fn a_reset_stream_resets_the_upstream_and_the_other_way_round() {
    let rig = tunnelling();
    let mut client = rig.server.http2();
    for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR] {
        let (response, mut up) = connect(&mut client).tunnel();
        let mut upstream = rig.accept();
        up.send_reset(reason);
        assert!(upstream.rest().1, "the upstream saw a regular end after {reason}");
        drop(response);
    }
    let (response, _up) = connect(&mut client).tunnel();
    rig.accept().reset();
    assert!(rest(&mut response.into_body()).unwrap_err().is_reset());
    assert_eq!(client.get("http://a/", &[]).text(), "hello");
}

#[test]
fn the_end_of_a_connection_resets_the_upstreams_of_its_tunnels() {
    let rig = tunnelling();
    let mut client = rig.server.client();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    drop(client);
    let mut connection = rig.server.http2();
    let (_response, _up) = connect(&mut connection).tunnel();
    let mut upstream = rig.accept();
    let Rig { server, .. } = rig;
    assert_eq!(server.drain(Duration::ZERO), DrainReport { finished: 0, cut: 1 });
    assert!(upstream.rest().1, "the upstream saw a regular end");
}

#[test]
fn a_connect_that_is_answered_with_success_and_no_tunnel_is_a_failure_of_ours() {
    let rig = tunnelling();
    let mut client = rig.server.http2();
    let mut request = request(Method::CONNECT, "http://a/", &[]);
    request.extensions_mut().insert(h2::ext::Protocol::from_static("test"));
    assert_eq!(client.open(request, true).head().unwrap().status(), 500);
}

#[test]
fn a_drain_cuts_streams_and_tunnels_that_are_left_after_the_grace() {
    let rig = tunnelling();
    let mut client = rig.server.http2();
    let held = client.open(get("/hold"), true);
    rig.server.wait_until_held();
    let (response, _up) = connect(&mut client).tunnel();
    let mut upstream = rig.accept();
    let Rig { server, .. } = rig;
    assert_eq!(server.drain(Duration::from_millis(50)), DrainReport { finished: 0, cut: 1 });
    assert!(held.head().is_err());
    assert!(rest(&mut response.into_body()).is_err());
    assert!(upstream.rest().1);
}
