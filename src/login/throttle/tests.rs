//! Behaviour of the throttle.

use std::collections::HashMap as Map;

use super::*;
use proptest::prelude::*;

const WINDOW: Duration = Duration::from_secs(300);

fn throttle(per_account: u32, per_source: u32) -> Throttle {
    Throttle::new(ThrottleSettings { per_account, per_source, window: WINDOW }, [7; 32])
}

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + secs)
}

fn ip(last: u8) -> Option<IpAddr> {
    Some(IpAddr::from([192, 0, 2, last]))
}

#[test]
fn the_attempt_after_the_last_of_the_budget_waits_for_the_window() {
    let mut t = throttle(3, 100);
    for second in 0..3 {
        t.begin("ada", ip(1), at(second)).unwrap();
    }
    assert_eq!(t.begin("ada", ip(1), at(10)).unwrap_err(), Duration::from_secs(290));
    assert!(t.begin("ada", ip(1), at(300)).is_ok());
    assert!(t.begin("ada", ip(1), at(300)).is_err());
}

#[test]
fn what_was_counted_by_a_clock_that_then_came_back_counts_for_one_window_from_the_next_look() {
    let mut t = throttle(3, 100);
    for _ in 0..3 {
        t.begin("ada", ip(1), at(1_000_000)).unwrap();
    }
    assert_eq!(t.begin("ada", ip(1), at(0)).unwrap_err(), WINDOW);
    assert_eq!(t.begin("ada", ip(1), at(299)).unwrap_err(), Duration::from_secs(1));
    assert!(t.begin("ada", ip(1), at(300)).is_ok());
}

#[test]
fn all_spellings_of_a_name_share_one_bucket() {
    let mut t = throttle(3, 100);
    for spelling in ["ada", "ADA ", "ａｄａ"] {
        t.begin(spelling, ip(1), at(0)).unwrap();
    }
    assert!(t.begin("Ada", ip(1), at(0)).is_err());
    assert!(t.begin("bob", ip(1), at(0)).is_ok());
}

#[test]
fn one_source_is_limited_over_all_accounts() {
    let mut t = throttle(10, 5);
    for user in 0..5 {
        t.begin(&format!("user{user}"), ip(1), at(0)).unwrap();
    }
    assert!(t.begin("user9", ip(1), at(0)).is_err());
    assert!(t.begin("user9", ip(2), at(0)).is_ok());
}

#[test]
fn addresses_of_one_ipv6_64_are_one_source_and_mapped_ipv4_is_ipv4() {
    let mut t = throttle(1, 100);
    t.begin("ada", Some("2001:db8::1".parse().unwrap()), at(0)).unwrap();
    assert!(t.begin("ada", Some("2001:db8::ffff:1".parse().unwrap()), at(0)).is_err());
    assert!(t.begin("ada", Some("2001:db8:0:1::1".parse().unwrap()), at(0)).is_ok());
    t.begin("ada", ip(1), at(0)).unwrap();
    assert!(t.begin("ada", Some("::ffff:192.0.2.1".parse().unwrap()), at(0)).is_err());
}

#[test]
fn changing_the_source_does_not_reset_the_account() {
    let mut t = throttle(2, 100);
    let allowed = (0..=255).filter(|last| t.begin("ada", ip(*last), at(0)).is_ok()).count();
    assert_eq!(allowed, 20);
}

#[test]
fn an_owner_at_a_known_source_is_never_locked_out_by_strangers() {
    let mut t = throttle(2, 100);
    let home = t.begin("ada", ip(1), at(0)).unwrap();
    t.succeed(&home, at(0));
    for last in 2..=255 {
        let _ = t.begin("ada", ip(last), at(1));
    }
    assert!(t.begin("ada", ip(200), at(1)).is_err());
    assert!(t.begin("ada", ip(1), at(1)).is_ok());
}

#[test]
fn a_known_source_keeps_its_own_budget_and_no_more() {
    let mut t = throttle(2, 100);
    let home = t.begin("ada", ip(1), at(0)).unwrap();
    t.succeed(&home, at(0));
    assert!(t.begin("ada", ip(1), at(1)).is_ok());
    assert!(t.begin("ada", ip(1), at(1)).is_ok());
    assert!(t.begin("ada", ip(1), at(1)).is_err());
}

#[test]
fn success_clears_the_failures_of_the_account() {
    let mut t = throttle(3, 100);
    t.begin("ada", ip(1), at(0)).unwrap();
    t.begin("ada", ip(1), at(0)).unwrap();
    let right = t.begin("ada", ip(1), at(1)).unwrap();
    t.succeed(&right, at(1));
    for _ in 0..3 {
        t.begin("ada", ip(1), at(2)).unwrap();
    }
}

#[test]
fn logins_to_an_own_account_do_not_refill_the_source_budget() {
    let mut t = throttle(100, 4);
    for second in 0..4 {
        let own = t.begin("mallory", ip(1), at(second)).unwrap();
        t.succeed(&own, at(second));
        t.begin("ada", ip(1), at(second)).unwrap();
    }
    assert!(t.begin("ada", ip(1), at(5)).is_err());
}

#[test]
fn parallel_guesses_count_before_they_are_answered() {
    let mut t = throttle(3, 100);
    let in_flight: Vec<_> = (0..10).filter_map(|_| t.begin("ada", ip(1), at(0)).ok()).collect();
    assert_eq!(in_flight.len(), 3);
}

#[test]
fn an_attempt_that_hashed_nothing_does_not_count() {
    let mut t = throttle(1, 1);
    for _ in 0..5 {
        let ticket = t.begin("ada", ip(1), at(0)).unwrap();
        t.cancel(&ticket);
    }
    assert!(t.buckets.is_empty());
}

#[test]
fn a_full_table_refuses_new_guessers_until_old_ones_expire() {
    let settings = ThrottleSettings { per_account: 5, per_source: 5, window: WINDOW };
    let mut t = Throttle::with_capacity(settings, [7; 32], 6);
    t.begin("a", ip(1), at(0)).unwrap();
    t.begin("b", ip(2), at(0)).unwrap();
    assert!(t.begin("c", ip(3), at(1)).is_err());
    assert!(t.begin("a", ip(1), at(1)).is_ok(), "a guesser with buckets goes on within them");
    assert_eq!(t.buckets.len(), 6);
    assert!(t.begin("c", ip(3), at(302)).is_ok());
}

#[test]
fn known_sources_are_bounded() {
    let mut t = throttle(5, 5);
    for n in 0..u32::try_from(KNOWN).unwrap() + 5 {
        let ticket = t.begin("ada", Some(IpAddr::from(n.to_be_bytes())), at(0)).unwrap();
        t.succeed(&ticket, at(u64::from(n)));
    }
    assert_eq!(t.known.len(), KNOWN);
}

proptest! {
    /// Whatever the order: in no window do more attempts pass than each budget holds, unless one of them was right.
    #[test]
    fn no_order_of_attempts_exceeds_a_budget(steps in prop::collection::vec((0u8..4, 0u8..6, 0u64..40), 1..300)) {
        let mut t = throttle(3, 6);
        let (mut pairs, mut sources, mut accounts) = (Map::new(), Map::new(), Map::new());
        let mut clock = 0;
        for (user, source, pause) in steps {
            clock += pause;
            let now = at(clock);
            if t.begin(&format!("u{user}"), ip(source), now).is_ok() {
                let lists: [(&mut Vec<Timestamp>, usize); 3] = [
                    (pairs.entry((user, source)).or_default(), 3),
                    (sources.entry(source).or_default(), 6),
                    (accounts.entry(user).or_default(), 30),
                ];
                for (list, limit) in lists {
                    list.push(now);
                    let recent = list.iter().filter(|then| now.since(**then) < WINDOW).count();
                    prop_assert!(recent <= limit);
                }
            }
        }
    }

    /// Whoever waits as long as told gets one attempt.
    #[test]
    fn the_wait_told_is_long_enough(limit in 1u32..5, gaps in prop::collection::vec(0u64..100, 5..30)) {
        let mut t = throttle(limit, 1000);
        let mut now = at(0);
        for gap in gaps {
            now = now + Duration::from_secs(gap);
            if let Err(wait) = t.begin("ada", ip(1), now) {
                prop_assert!(t.begin("ada", ip(1), now + wait).is_ok());
                now = now + wait;
            }
        }
    }
}
