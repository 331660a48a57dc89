//! Which member of a group takes a request.

use std::collections::BTreeMap;

use http::HeaderMap;

use super::*;
use crate::proxy::balance::{Candidate, choose, hash};

/// Members with (weight, requests in flight).
fn members(of: &[(u32, usize)]) -> Vec<Candidate> {
    let member = |(index, (weight, busy)): (usize, &(u32, usize))| {
        let seed = hash(format!("http://10.0.0.{index}:80").as_bytes());
        Candidate { index, weight: *weight, busy: *busy, seed }
    };
    of.iter().enumerate().map(member).collect()
}

/// How often each member is chosen in `turns` turns.
fn shares(balance: &Balance, members: &[Candidate], turns: usize) -> Vec<usize> {
    let mut shares = vec![0; members.len()];
    for turn in 0..turns {
        let chosen = choose(balance, &HeaderMap::new(), turn, || members.iter().copied()).unwrap();
        shares[chosen] += 1;
    }
    shares
}

fn by_header(value: &str, members: &[Candidate]) -> usize {
    let balance = Balance::HashHeader(http::HeaderName::from_static("x-tenant"));
    let headers = HeaderMap::from_iter([(http::HeaderName::from_static("x-tenant"), value.parse().unwrap())]);
    choose(&balance, &headers, 0, || members.iter().copied()).unwrap()
}

#[test]
fn round_robin_takes_each_as_often_as_its_weight_says() {
    let members = members(&[(1, 9), (2, 0), (3, 5)]);
    assert_eq!(shares(&Balance::RoundRobin, &members, 600), [100, 200, 300]);
}

#[test]
fn least_requests_takes_the_least_busy_for_its_weight_and_equals_in_turn() {
    assert_eq!(shares(&Balance::LeastRequests, &members(&[(1, 2), (1, 1), (1, 3)]), 10), [0, 10, 0]);
    assert_eq!(shares(&Balance::LeastRequests, &members(&[(1, 2), (4, 5)]), 10), [0, 10]);
    assert_eq!(shares(&Balance::LeastRequests, &members(&[(1, 0), (3, 0)]), 400), [100, 300]);
    assert_eq!(shares(&Balance::LeastRequests, &members(&[(1, 1), (1, 1), (1, 1)]), 9), [3, 3, 3]);
}

#[test]
fn counts_that_change_between_two_walks_still_lead_to_a_member() {
    let busy = std::cell::Cell::new(0);
    let restless = || {
        busy.set(busy.get() + 1);
        let now = busy.get();
        members(&[(1, now), (1, now)]).into_iter()
    };
    for turn in 0..8 {
        assert!(choose(&Balance::LeastRequests, &HeaderMap::new(), turn, restless).is_some());
    }
}

#[test]
fn random_two_never_takes_the_busiest_of_three_and_spreads_over_equals() {
    let [first, second, busiest] = shares(&Balance::RandomTwo, &members(&[(1, 0), (1, 0), (1, 9)]), 3000)[..]
    else {
        panic!("three members");
    };
    assert_eq!(busiest, 0);
    assert!(first.abs_diff(second) < 300, "{first} and {second}");
}

#[test]
fn a_hash_is_faithful_and_a_member_that_leaves_moves_its_own_share_alone() {
    let all = members(&[(1, 0), (1, 0), (2, 0), (1, 0)]);
    let left = [all[0], all[1], all[2]];
    let mut share = BTreeMap::<usize, usize>::new();
    for user in 0..5000 {
        let value = format!("user-{user}");
        let home = by_header(&value, &all);
        assert_eq!(by_header(&value, &all), home);
        if home != 3 {
            assert_eq!(by_header(&value, &left), home, "only the leaver's own share moves");
        }
        *share.entry(home).or_default() += 1;
    }
    for (index, part) in [(0, 1000), (1, 1000), (2, 2000), (3, 1000)] {
        assert!(share[&index].abs_diff(part) < 150, "{share:?}");
    }
}

#[test]
fn a_hash_without_its_key_takes_the_least_busy() {
    let balance = Balance::HashCookie("app".into());
    assert_eq!(shares(&balance, &members(&[(1, 1), (1, 0)]), 5), [0, 5]);
    let cookie = HeaderMap::from_iter([(http::header::COOKIE, "b=2; app=x".parse().unwrap())]);
    let members = members(&[(1, 0), (1, 0), (1, 0)]);
    let chosen: Vec<_> =
        (0..9).map(|turn| choose(&balance, &cookie, turn, || members.iter().copied()).unwrap()).collect();
    assert!(chosen.iter().all(|one| *one == chosen[0]), "{chosen:?}");
}

#[test]
fn requests_in_flight_are_counted_until_their_bodies_have_ended() {
    local(async {
        let ((one, first), (other, second)) = (upstream().await, upstream().await);
        let mut settings = GroupSettings::single(http(first));
        settings.members.push(MemberSettings::new(http(second)));
        let front = Front::of(settings).await;
        let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
        let (mut early, mut late) = (front.client().await, front.client().await);
        write(&mut early, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let (mut up, busy) = tokio::select! {
            Ok((up, _)) = one.accept() => (up, 0),
            Ok((up, _)) = other.accept() => (up, 1),
        };
        read_to(&mut up, "\r\n\r\n").await;
        write(&mut up, half).await;
        read_to(&mut early, "hello").await;
        // However many come, the other one takes them while the first still sends.
        for _ in 0..5 {
            write(&mut late, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
            let listener = if busy == 0 { &other } else { &one };
            let (mut up, _) = listener.accept().await.unwrap();
            read_to(&mut up, "\r\n\r\n").await;
            write(&mut up, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi").await;
            read_to(&mut late, "hi").await;
            late = front.client().await;
        }
    });
}

#[test]
fn a_drained_member_takes_no_new_requests() {
    local(async {
        let ((_drained, first), (other, second)) = (upstream().await, upstream().await);
        let mut settings = GroupSettings::single(http(first));
        settings.members[0].drain = true;
        settings.members.push(MemberSettings::new(http(second)));
        let front = Front::of(settings).await;
        tokio::task::spawn_local(async move {
            while let Ok((mut up, _)) = other.accept().await {
                tokio::task::spawn_local(async move {
                    loop {
                        read_to(&mut up, "\r\n\r\n").await;
                        write(&mut up, HELLO).await;
                    }
                });
            }
        });
        for _ in 0..10 {
            assert!(front.exchange(GET).await.ends_with("hello"));
        }
    });
}
