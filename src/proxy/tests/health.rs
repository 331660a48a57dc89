//! Who is left alone because it is not well, and whom connections lead to.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::*;
use crate::base::clock::Clock;
use crate::proxy::watch::publish;

const KEPT: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const UNWELL: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

fn asking(path: &str) -> Option<HealthSettings> {
    Some(HealthSettings {
        path: path.into(),
        interval: Duration::from_millis(5),
        timeout: Duration::from_secs(5),
        healthy_after: 2,
        unhealthy_after: 3,
    })
}

/// Waits until the one upstream's health is as said.
async fn until_healthy(upstreams: &Upstreams, front: &Front, healthy: bool) {
    while upstreams.states(front.clock.now())[0].healthy != healthy {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_member_is_unhealthy_after_its_bad_answers_and_healthy_after_its_good_ones() {
    local(async {
        let (listener, address) = upstream().await;
        let upstreams = Arc::new(Upstreams::default());
        let mut settings = GroupSettings::single(http(address));
        settings.health = asking("/up?deep=1");
        let front = Front::over(&upstreams, settings.clone()).await;
        let answers = Rc::new(Cell::new(HELLO));
        let (now, asked) = (answers.clone(), Rc::new(Cell::new(0)));
        let count = asked.clone();
        tokio::task::spawn_local(async move {
            while let Ok((mut up, _)) = listener.accept().await {
                let head = read_to(&mut up, "\r\n\r\n").await;
                assert!(
                    head.starts_with("GET /up?deep=1 HTTP/1.1\r\n") && head.contains("host: 127.0.0.1:"),
                    "{head}"
                );
                count.set(count.get() + 1);
                write(&mut up, now.get()).await;
            }
        });
        tokio::task::spawn_local(watch(upstreams.clone()));
        let (state, before) = (|| upstreams.states(front.clock.now())[0].healthy, asked.get());
        assert!(state(), "healthy until it is known better");
        answers.set(UNWELL);
        until_healthy(&upstreams, &front, false).await;
        assert!(asked.get() >= before + 3);
        // A reload that leaves the member as it is knows what was known.
        let _other = upstreams.group(&settings);
        assert!(!state());
        answers.set(HELLO);
        until_healthy(&upstreams, &front, true).await;
    });
}

#[test]
fn an_upstream_that_sends_interim_answers_without_end_is_unhealthy_and_let_go_of() {
    local(async {
        for (interim, healthy) in [(100, true), (101, false), (usize::MAX, false)] {
            let (listener, address) = upstream().await;
            let upstreams = Arc::new(Upstreams::default());
            let mut settings = GroupSettings::single(http(address));
            settings.health = asking("/");
            let front = Front::over(&upstreams, settings).await;
            let asked = Rc::new(Cell::new(0));
            let count = asked.clone();
            tokio::task::spawn_local(async move {
                while let Ok((mut up, _)) = listener.accept().await {
                    read_head(&mut up).await;
                    count.set(count.get() + 1);
                    let mut left = interim;
                    // Until it is let go of.
                    while left > 0 && up.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.is_ok() {
                        left -= 1;
                    }
                    let _ = up.write_all(HELLO.as_bytes()).await;
                }
            });
            let watching = tokio::task::spawn_local(watch(upstreams.clone()));
            while asked.get() < 6 {
                tokio::task::yield_now().await;
            }
            assert_eq!(upstreams.states(front.clock.now())[0].healthy, healthy, "{interim}");
            watching.abort();
        }
    });
}

#[test]
fn an_unhealthy_member_takes_no_requests_while_another_can() {
    local(async {
        let ((gone, first), (good, second)) = (upstream().await, upstream().await);
        drop(gone);
        answering(good, HELLO);
        let upstreams = Arc::new(Upstreams::default());
        let mut settings = GroupSettings::single(http(first));
        settings.members.push(MemberSettings::new(http(second)));
        settings.balance = Balance::RoundRobin;
        settings.health = asking("/");
        settings.limits.retries = 0;
        let front = Front::over(&upstreams, settings).await;
        tokio::task::spawn_local(watch(upstreams.clone()));
        while upstreams.states(front.clock.now()).iter().all(|state| state.healthy) {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            assert!(front.exchange(GET).await.ends_with("hello"));
        }
    });
}

/// Two members, the first of which is gone; no retries, so that every failure is seen.
async fn half_gone(good: bool) -> (Front, Upstreams) {
    let ((gone, first), (other, second)) = (upstream().await, upstream().await);
    drop(gone);
    if good {
        answering(other, HELLO)
    } else {
        drop(other)
    }
    let mut settings = GroupSettings::single(http(first));
    settings.members.push(MemberSettings::new(http(second)));
    settings.balance = Balance::RoundRobin;
    settings.limits.retries = 0;
    let upstreams = Upstreams::default();
    (Front::over(&upstreams, settings).await, upstreams)
}

async fn failures(front: &Front, requests: usize) -> usize {
    let mut failed = 0;
    for _ in 0..requests {
        failed += usize::from(!front.exchange(GET).await.ends_with("hello"));
    }
    failed
}

#[test]
fn a_member_where_requests_fail_is_left_alone_for_a_while() {
    local(async {
        let (front, upstreams) = half_gone(true).await;
        assert_eq!(failures(&front, 30).await, 5, "then nobody is sent there");
        assert!(upstreams.states(front.clock.now()).iter().any(|state| state.ejected && state.failures == 5));
        front.pass_time(Duration::from_secs(11));
        assert_eq!(failures(&front, 30).await, 1, "back from it, one failure is enough");
    });
}

#[test]
fn the_last_member_standing_is_never_ejected_and_when_all_are_down_they_are_tried() {
    local(async {
        let (front, upstreams) = half_gone(false).await;
        assert_eq!(failures(&front, 30).await, 30);
        let states = upstreams.states(front.clock.now());
        assert_eq!(states.iter().filter(|state| state.ejected).count(), 1);
        assert_eq!(states.iter().map(|state| state.failures).sum::<u64>(), 30, "each was really tried");
    });
}

#[test]
fn an_answer_clears_the_failures_before_it() {
    local(async {
        let (listener, address) = upstream().await;
        let (other, second) = upstream().await;
        drop(other);
        let mut settings = GroupSettings::single(http(address));
        settings.members.push(MemberSettings { drain: true, ..MemberSettings::new(http(second)) });
        settings.limits.retries = 0;
        let upstreams = Upstreams::default();
        let front = Front::over(&upstreams, settings).await;
        tokio::task::spawn_local(async move {
            for round in 0.. {
                let (mut up, _) = listener.accept().await.unwrap();
                read_head(&mut up).await;
                if round % 3 == 2 {
                    write(&mut up, HELLO).await;
                }
            }
        });
        failures(&front, 30).await;
        assert!(upstreams.states(front.clock.now()).iter().all(|state| !state.ejected));
    });
}

#[test]
fn a_connection_to_an_address_that_the_name_has_left_is_used_no_more() {
    local(async {
        let (listener, address) = upstream().await;
        let upstreams = Upstreams::default();
        let front = Front::over(&upstreams, GroupSettings::single(http(address))).await;
        answering(listener, HELLO);
        let mut client = front.client().await;
        let endpoint = upstreams.endpoints().remove(0);
        let elsewhere = "127.0.0.9:9".parse().unwrap();
        // (what the name stands for now, what it stood for before, connections opened in all)
        for (found, before, opened) in [
            (vec![address], None, 1),
            (vec![address, elsewhere], Some(vec![address]), 1),
            (vec![elsewhere], Some(vec![address]), 1),
            (vec![elsewhere], Some(vec![elsewhere]), 2),
        ] {
            publish(&endpoint, found, before);
            front.pass_time(Duration::from_millis(250));
            write(&mut client, KEPT).await;
            read_to(&mut client, "hello").await;
            assert_eq!(front.pool.counters().opened, opened);
        }
    });
}

#[test]
fn an_address_that_only_the_look_up_for_a_new_connection_knew_is_not_given_up_for_that() {
    local(async {
        let (listener, address) = upstream().await;
        let upstreams = Upstreams::default();
        let front = Front::over(&upstreams, GroupSettings::single(http(address))).await;
        answering(listener, HELLO);
        publish(&upstreams.endpoints()[0], vec!["127.0.0.9:9".parse().unwrap()], None);
        let mut client = front.client().await;
        for _ in 0..3 {
            write(&mut client, KEPT).await;
            read_to(&mut client, "hello").await;
            front.pass_time(Duration::from_millis(250));
        }
        assert_eq!(front.pool.counters().opened, 1);
    });
}

#[test]
fn a_check_that_one_reload_takes_out_and_another_puts_back_asks_again() {
    local(async {
        let (listener, address) = upstream().await;
        answering(listener, UNWELL);
        let upstreams = Arc::new(Upstreams::default());
        tokio::task::spawn_local(watch(upstreams.clone()));
        let plain = GroupSettings::single(http(address));
        let mut checked = plain.clone();
        checked.health = asking("/up");
        let front = Front::over(&upstreams, plain).await;
        let with_check = upstreams.group(&checked);
        until_healthy(&upstreams, &front, false).await;
        drop(with_check);
        until_healthy(&upstreams, &front, true).await;
        let _with_check_again = upstreams.group(&checked);
        until_healthy(&upstreams, &front, false).await;
    });
}
