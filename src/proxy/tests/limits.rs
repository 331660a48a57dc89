//! Time limits and the bound on connections.

use super::*;
use crate::base::clock::{Clock, Timestamp};
use crate::proxy::lane::Life;

const KEPT: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A front whose one member may have `most` connections, and `queue` requests wait for them.
async fn capped(address: std::net::SocketAddr, most: usize, queue: usize) -> Front {
    let mut settings = GroupSettings::single(http(address));
    settings.members[0].max_connections = Some(most);
    settings.limits.queue = queue;
    Front::of(settings).await
}

#[test]
fn a_response_body_that_stands_still_is_aborted_and_one_that_drips_is_not() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::before(address).await;
        let mut client = front.client().await;
        write(&mut client, KEPT).await;
        let (mut up, _) = listener.accept().await.unwrap();
        read_to(&mut up, "\r\n\r\n").await;
        write(&mut up, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n").await;
        for _ in 0..3 {
            write(&mut up, "x").await;
            read_to(&mut client, "x").await;
            front.pass_time(Duration::from_secs(599));
        }
        front.pass_time(Duration::from_secs(2));
        closed(&mut up).await;
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest).await;
        assert_eq!(rest, b"");
        assert_eq!(front.pool.counters().in_use, 0);
    });
}

#[test]
fn a_client_that_takes_nothing_does_not_keep_its_upstream() {
    local(async {
        let (listener, address) = upstream().await;
        let front = Front::before(address).await;
        let mut client = front.client().await;
        write(&mut client, KEPT).await;
        let (mut up, _) = listener.accept().await.unwrap();
        read_to(&mut up, "\r\n\r\n").await;
        write(&mut up, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
        let block = vec![b'x'; 1 << 20];
        // Until all buffers on the way are full.
        while let Ok(written) = tokio::time::timeout(Duration::from_millis(200), up.write_all(&block)).await {
            written.unwrap();
        }
        front.pass_time(Duration::from_secs(601));
        closed(&mut up).await;
        drop(client);
    });
}

#[test]
fn a_whole_request_may_be_bounded_before_and_within_its_response() {
    for answered in [false, true] {
        local(async {
            let (listener, address) = upstream().await;
            let mut settings = GroupSettings::single(http(address));
            settings.limits.request_timeout = Some(Duration::from_secs(5));
            let mut front = Front::of(settings).await;
            let mut client = front.client().await;
            write(&mut client, KEPT).await;
            let (mut up, _) = listener.accept().await.unwrap();
            read_to(&mut up, "\r\n\r\n").await;
            front.pass_time(Duration::from_secs(4));
            if answered {
                write(&mut up, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf").await;
                read_to(&mut client, "half").await;
            }
            front.pass_time(Duration::from_secs(1));
            assert_eq!(front.outcome().await, if answered { "200" } else { "request_timeout" });
            closed(&mut up).await;
            if !answered {
                assert!(read_to(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 504"));
            }
        });
    }
}

#[test]
fn a_connection_is_not_used_beyond_its_lifetime() {
    local(async {
        let (listener, address) = upstream().await;
        let mut settings = GroupSettings::single(http(address));
        settings.limits.idle_timeout = Duration::from_secs(3600);
        settings.limits.max_lifetime = Duration::from_secs(60);
        let front = Front::of(settings).await;
        answering(listener, HELLO);
        let mut client = front.client().await;
        for (wait, opened) in [(0, 1), (59, 1), (1, 2), (59, 2)] {
            front.pass_time(Duration::from_secs(wait));
            write(&mut client, KEPT).await;
            read_to(&mut client, "hello").await;
            assert_eq!(front.pool.counters().opened, opened);
        }
    });
}

#[test]
fn at_the_cap_a_request_waits_for_the_next_connection_that_comes_free() {
    local(async {
        let (listener, address) = upstream().await;
        let front = capped(address, 1, 10).await;
        let (mut first, mut second) = (front.client().await, front.client().await);
        write(&mut first, KEPT).await;
        let (mut up, _) = listener.accept().await.unwrap();
        read_to(&mut up, "\r\n\r\n").await;
        write(&mut second, KEPT).await;
        write(&mut up, HELLO).await;
        read_to(&mut first, "hello").await;
        read_to(&mut up, "\r\n\r\n").await;
        write(&mut up, HELLO).await;
        read_to(&mut second, "hello").await;
        assert_eq!(front.pool.counters(), Counters { opened: 1, reused: 1, in_use: 0 });
    });
}

#[test]
fn a_full_queue_and_too_long_a_wait_are_503() {
    local(async {
        let (listener, address) = upstream().await;
        let mut front = capped(address, 1, 1).await;
        let (mut first, mut second) = (front.client().await, front.client().await);
        write(&mut first, KEPT).await;
        let (mut up, _) = listener.accept().await.unwrap();
        read_to(&mut up, "\r\n\r\n").await;
        write(&mut second, KEPT).await;
        while front.pool.counters().in_use < 2 {
            tokio::task::yield_now().await;
        }
        assert!(front.exchange(GET).await.starts_with("HTTP/1.1 503"));
        assert_eq!(front.outcome().await, "upstream_busy");
        front.pass_time(Duration::from_secs(6));
        assert!(read_to(&mut second, "\r\n\r\n").await.starts_with("HTTP/1.1 503"));
        write(&mut up, HELLO).await;
        read_to(&mut first, "hello").await;
    });
}

#[test]
fn the_cap_holds_over_all_workers_and_an_idle_connection_goes_where_it_is_needed() {
    local(async {
        let (listener, address) = upstream().await;
        let upstreams = Upstreams::default();
        let mut settings = GroupSettings::single(http(address));
        settings.members[0].max_connections = Some(1);
        let (one, other) =
            (Front::over(&upstreams, settings.clone()).await, Front::over(&upstreams, settings).await);
        answering(listener, HELLO);
        let (mut first, mut second) = (one.client().await, other.client().await);
        write(&mut first, KEPT).await;
        read_to(&mut first, "hello").await;
        write(&mut second, KEPT).await;
        while other.pool.counters().in_use == 0 {
            tokio::task::yield_now().await;
        }
        let states = upstreams.states(one.clock.now());
        assert_eq!((states.len(), states[0].open, states[0].in_flight), (1, 1, 1));
        one.pass_time(Duration::from_millis(250));
        read_to(&mut second, "hello").await;
        assert_eq!(upstreams.states(one.clock.now())[0].open, 1);
    });
}

#[test]
fn who_has_left_the_queue_does_not_keep_a_connection_from_another_worker() {
    local(async {
        let (listener, address) = upstream().await;
        let upstreams = Upstreams::default();
        let mut settings = GroupSettings::single(http(address));
        settings.members[0].max_connections = Some(1);
        let (mut one, other) =
            (Front::over(&upstreams, settings.clone()).await, Front::over(&upstreams, settings).await);
        let (mut first, mut left) = (one.client().await, one.client().await);
        write(&mut first, KEPT).await;
        let (mut up, _) = listener.accept().await.unwrap();
        read_to(&mut up, "\r\n\r\n").await;
        write(&mut left, KEPT).await;
        while one.pool.counters().in_use < 2 {
            tokio::task::yield_now().await;
        }
        // Longer than the queue bears; what the first waits for has more time.
        one.pass_time(Duration::from_secs(6));
        assert_eq!(one.outcome().await, "upstream_busy");
        let mut elsewhere = other.client().await;
        write(&mut elsewhere, KEPT).await;
        while other.pool.counters().in_use == 0 {
            tokio::task::yield_now().await;
        }
        // Nobody sweeps: the connection ends at once, and its place goes to the other worker.
        write(&mut up, HELLO).await;
        read_to(&mut first, "hello").await;
        answering(listener, HELLO);
        read_to(&mut elsewhere, "hello").await;
    });
}

#[test]
fn a_connection_to_an_address_that_went_while_it_was_dialled_is_used_once() {
    let upstreams = Upstreams::default();
    let _group = upstreams.group(&GroupSettings::single(UpstreamAddress::http("app.test", 80)));
    let endpoint = &upstreams.endpoints()[0];
    let addresses = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect();
    let peer: std::net::SocketAddr = "10.0.0.1:80".parse().unwrap();
    let before = endpoint.generation.load(std::sync::atomic::Ordering::Acquire);
    endpoint.moved_to(addresses(&["10.0.0.2:80"]));
    let (now, until) = (Timestamp::from_secs(1), Timestamp::from_secs(2));
    assert!(Life::new(endpoint, (Some(peer), before), until, None).is_over(now));
    endpoint.moved_to(addresses(&["10.0.0.1:80", "10.0.0.2:80"]));
    assert!(!Life::new(endpoint, (Some(peer), before), until, None).is_over(now));
}

#[test]
fn connections_of_an_upstream_that_no_route_has_any_more_are_closed() {
    local(async {
        let (listener, address) = upstream().await;
        let upstreams = Upstreams::default();
        let group = upstreams.group(&GroupSettings::single(http(address)));
        let front = Front::over(&upstreams, GroupSettings::single(http(address))).await;
        let mut client = front.client().await;
        write(&mut client, KEPT).await;
        let (mut up, _) = listener.accept().await.unwrap();
        read_to(&mut up, "\r\n\r\n").await;
        write(&mut up, HELLO).await;
        read_to(&mut client, "hello").await;
        drop(group);
        front.pass_time(Duration::from_secs(1));
        write(&mut client, KEPT).await;
        read_to(&mut up, "\r\n\r\n").await;
        write(&mut up, HELLO).await;
        read_to(&mut client, "hello").await;
        front.leave();
        closed(&mut up).await;
    });
}

#[test]
fn an_upstream_that_takes_no_connection_in_time_is_504() {
    local(async {
        // A queue of one that is full: the kernel drops whoever comes next.
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let _first = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut settings = GroupSettings::single(http(address));
        settings.limits.connect_timeout = Duration::from_millis(100);
        let mut front = Front::of(settings).await;
        assert!(front.exchange(GET).await.starts_with("HTTP/1.1 504"));
        assert_eq!(front.outcome().await, "upstream_connect_timeout");
    });
}

#[test]
fn several_addresses_of_one_name_take_turns_and_the_other_family_comes_after_them() {
    let addresses =
        |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect::<Vec<std::net::SocketAddr>>();
    let found = addresses(&["10.0.0.1:80", "[fd00::1]:80", "10.0.0.2:80", "10.0.0.3:80"]);
    for (turn, expected) in [
        (0, ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "[fd00::1]:80"]),
        (1, ["10.0.0.2:80", "10.0.0.3:80", "10.0.0.1:80", "[fd00::1]:80"]),
        (5, ["10.0.0.3:80", "10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"]),
    ] {
        assert_eq!(crate::proxy::connect::in_turn(found.clone(), turn), addresses(&expected));
    }
    assert!(crate::proxy::connect::in_turn(Vec::new(), 3).is_empty());
}

#[test]
fn a_request_that_began_just_before_the_clock_jumped_is_not_late() {
    local(async {
        let (listener, address) = upstream().await;
        let mut front = Front::before(address).await;
        let mut client = front.client().await;
        write(&mut client, KEPT).await;
        let (mut up, _) = listener.accept().await.unwrap();
        read_to(&mut up, "\r\n\r\n").await;
        front.clock.advance(Duration::from_secs(3600));
        front.pool.sweep();
        write(&mut up, HELLO).await;
        assert_eq!(front.outcome().await, "200");
        read_to(&mut client, "hello").await;
    });
}

#[test]
fn a_request_that_waited_too_long_for_one_member_is_served_by_another() {
    local(async {
        let ((full, first), (free, second)) = (upstream().await, upstream().await);
        let mut settings = GroupSettings::single(http(first));
        settings.members[0].max_connections = Some(1);
        settings.members.push(MemberSettings::new(http(second)));
        settings.balance = Balance::RoundRobin;
        let mut front = Front::of(settings).await;
        answering(free, HELLO);
        let (mut holding, mut waiting) = (front.client().await, front.client().await);
        write(&mut holding, KEPT).await;
        let (mut up, _) = full.accept().await.unwrap();
        read_to(&mut up, "\r\n\r\n").await;
        assert!(front.exchange(GET).await.ends_with("hello"));
        assert_eq!(front.outcome().await, "200");
        write(&mut waiting, KEPT).await;
        while front.pool.counters().in_use < 2 {
            tokio::task::yield_now().await;
        }
        front.pass_time(Duration::from_secs(6));
        assert_eq!(front.outcome().await, "200");
        read_to(&mut waiting, "hello").await;
    });
}
