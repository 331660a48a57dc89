//! What is tried again, where, and what never is.

use std::cell::Cell;
use std::rc::Rc;

use super::*;

const POST: &str = "POST /pay HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\npay!";

/// How far an upstream goes before it closes.
const STAGES: [&str; 5] =
    ["at once", "within the head", "behind the head", "behind the body", "within its answer"];

/// An upstream that closes every connection at `stage`, and counts the whole requests it has received.
fn closing(listener: tokio::net::TcpListener, stage: usize, whole: Rc<Cell<usize>>) {
    tokio::task::spawn_local(async move {
        while let Ok((mut up, _)) = listener.accept().await {
            let whole = whole.clone();
            tokio::task::spawn_local(async move {
                if stage == 0 {
                    return up.set_zero_linger().unwrap();
                }
                let mut byte = [0];
                let mut seen = Vec::new();
                while up.read(&mut byte).await.is_ok_and(|n| n == 1) {
                    seen.extend_from_slice(&byte);
                    let head = seen.ends_with(b"\r\n\r\n");
                    let bodyless = !seen.starts_with(b"POST") && !seen.starts_with(b"PUT");
                    let all = (head && bodyless) || seen.ends_with(b"pay!");
                    if all {
                        whole.set(whole.get() + 1);
                    }
                    match stage {
                        1 if seen.len() == 10 => return,
                        2 if head => return,
                        3 if all => return,
                        4 if all => return write(&mut up, "HTTP/1.1 200 O").await,
                        _ => {}
                    }
                }
            });
        }
    });
}

/// A group whose first member, taken first, is the `bad` one.
fn pair(bad: std::net::SocketAddr, good: std::net::SocketAddr) -> GroupSettings {
    let mut settings = GroupSettings::single(http(bad));
    settings.members.push(MemberSettings::new(http(good)));
    settings.balance = Balance::RoundRobin;
    settings.ejection = None;
    settings
}

#[test]
fn a_post_is_delivered_once_at_most_wherever_its_upstream_closes() {
    for (stage, name) in STAGES.iter().enumerate() {
        local(async {
            let ((bad, first), (good, second)) = (upstream().await, upstream().await);
            let (whole, well) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            closing(bad, stage, whole.clone());
            let delivered = well.clone();
            tokio::task::spawn_local(async move {
                while let Ok((mut up, _)) = good.accept().await {
                    read_to(&mut up, "pay!").await;
                    delivered.set(delivered.get() + 1);
                    write(&mut up, HELLO).await;
                }
            });
            let front = Front::of(pair(first, second)).await;
            for _ in 0..6 {
                let before = (whole.get(), well.get());
                let answer = front.exchange(POST).await;
                let deliveries = (whole.get() - before.0, well.get() - before.1);
                assert!(deliveries.0 + deliveries.1 <= 1, "{name}: delivered twice");
                assert_eq!(answer.starts_with("HTTP/1.1 200"), deliveries.1 == 1, "{name}: {answer}");
            }
        });
    }
}

#[test]
fn a_get_is_tried_on_another_member_wherever_its_upstream_closes() {
    for (stage, name) in STAGES.iter().enumerate().filter(|(stage, _)| *stage != 4) {
        local(async {
            let ((bad, first), (good, second)) = (upstream().await, upstream().await);
            closing(bad, stage, Rc::default());
            answering(good, HELLO);
            let front = Front::of(pair(first, second)).await;
            for _ in 0..6 {
                assert!(front.exchange(GET).await.ends_with("hello"), "{name}");
            }
        });
    }
}

#[test]
fn a_connection_that_is_refused_is_no_reason_to_fail_a_post() {
    local(async {
        let ((gone, first), (good, second)) = (upstream().await, upstream().await);
        drop(gone);
        tokio::task::spawn_local(async move {
            while let Ok((mut up, _)) = good.accept().await {
                read_to(&mut up, "pay!").await;
                write(&mut up, HELLO).await;
            }
        });
        let front = Front::of(pair(first, second)).await;
        for _ in 0..4 {
            assert!(front.exchange(POST).await.ends_with("hello"));
        }
    });
}

#[test]
fn put_and_delete_and_a_get_with_a_body_are_sent_once() {
    for request in [
        "PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\npay!",
        "DELETE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\npay!",
    ] {
        local(async {
            let ((bad, first), (_good, second)) = (upstream().await, upstream().await);
            closing(bad, 3, Rc::default());
            let front = Front::of(pair(first, second)).await;
            assert!(front.exchange(request).await.starts_with("HTTP/1.1 502"), "{request}");
        });
    }
}

#[test]
fn without_retries_nobody_else_is_tried() {
    local(async {
        let ((gone, first), (good, second)) = (upstream().await, upstream().await);
        drop(gone);
        answering(good, HELLO);
        let mut settings = pair(first, second);
        settings.limits.retries = 0;
        let front = Front::of(settings).await;
        let answers = [front.exchange(GET).await, front.exchange(GET).await];
        assert!(answers[0].starts_with("HTTP/1.1 502") && answers[1].ends_with("hello"), "{answers:?}");
    });
}

#[test]
fn when_most_requests_fail_only_the_budget_is_tried_again() {
    local(async {
        let ((gone, first), (good, second)) = (upstream().await, upstream().await);
        drop(gone);
        answering(good, HELLO);
        let front = Front::of(pair(first, second)).await;
        let mut failed = 0;
        for _ in 0..100 {
            failed += usize::from(front.exchange(GET).await.starts_with("HTTP/1.1 502"));
        }
        // Half of a hundred go to the one that is gone; thirty of them are within the budget of a window.
        assert_eq!(failed, 20);
    });
}

#[test]
fn an_upgrade_and_a_response_that_has_begun_are_never_tried_again() {
    local(async {
        let ((bad, first), (_good, second)) = (upstream().await, upstream().await);
        tokio::task::spawn_local(async move {
            while let Ok((mut up, _)) = bad.accept().await {
                read_head(&mut up).await;
            }
        });
        let front = Front::of(pair(first, second)).await;
        let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        let mut client = front.client().await;
        write(&mut client, upgrade).await;
        assert!(read_to(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 502"));
    });
    local(async {
        let ((bad, first), (_good, second)) = (upstream().await, upstream().await);
        answering(bad, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf");
        let front = Front::of(pair(first, second)).await;
        let mut client = front.client().await;
        write(&mut client, GET).await;
        read_to(&mut client, "half").await;
        assert_eq!(front.pool.counters().opened, 1);
    });
}

/// An upstream that answers one request on its first connection and closes it on the second, when that has arrived; every later
/// connection answers.
fn letting_go_of_the_first(listener: tokio::net::TcpListener, end: &'static str) {
    tokio::task::spawn_local(async move {
        for connection in 0_usize.. {
            let (mut up, _) = listener.accept().await.unwrap();
            tokio::task::spawn_local(async move {
                read_to(&mut up, "\r\n\r\n").await;
                write(&mut up, HELLO).await;
                read_to(&mut up, end).await;
                if connection > 0 {
                    write(&mut up, HELLO).await;
                }
            });
        }
    });
}

#[test]
fn a_get_on_a_connection_that_had_lain_idle_and_closes_is_sent_to_the_same_upstream_again() {
    local(async {
        let (listener, address) = upstream().await;
        letting_go_of_the_first(listener, "\r\n\r\n");
        let front = Front::before(address).await;
        assert!(front.exchange(GET).await.ends_with("hello"));
        front.pass_time(Duration::from_secs(1));
        let answer = front.exchange(GET).await;
        assert!(answer.ends_with("hello"), "{answer}");
        assert_eq!(front.pool.counters().opened, 2);
    });
}

#[test]
fn a_post_on_a_connection_that_had_lain_idle_and_closes_is_not_sent_again() {
    local(async {
        let (listener, address) = upstream().await;
        letting_go_of_the_first(listener, "pay!");
        let front = Front::before(address).await;
        assert!(front.exchange(GET).await.ends_with("hello"));
        front.pass_time(Duration::from_secs(1));
        let answer = front.exchange(POST).await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
        assert_eq!(front.pool.counters().opened, 1);
    });
}

#[test]
fn what_is_sent_again_to_a_member_that_gets_its_own_host_names_that_host() {
    const NAMELESS: &str = "GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
    local(async {
        let ((closing, first), (other, second)) = (upstream().await, upstream().await);
        answering(other, HELLO);
        let (seen, mut heads) = mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            let (mut up, _) = closing.accept().await.unwrap();
            read_to(&mut up, "\r\n\r\n").await;
            write(&mut up, HELLO).await;
            read_to(&mut up, "\r\n\r\n").await;
            drop(up);
            let (mut up, _) = closing.accept().await.unwrap();
            seen.send(read_to(&mut up, "\r\n\r\n").await).unwrap();
            write(&mut up, HELLO).await;
        });
        let front = Front::of(pair(first, second)).await;
        for _ in 0..2 {
            assert!(front.exchange(NAMELESS).await.ends_with("hello"));
        }
        front.pass_time(Duration::from_secs(1));
        assert!(front.exchange(NAMELESS).await.ends_with("hello"));
        assert!(heads.recv().await.unwrap().contains(&format!("host: {first}")));
    });
}
