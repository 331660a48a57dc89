//! What a user's attributes say may be anything (X2): in a header it neither injects, splits nor truncates, and what an app decodes is
//! what the directory has.

use percent_encoding::percent_decode_str;

use crate::support::gateway::{Setup, TestGateway};
use crate::support::strict;
use crate::support::upstream::TestUpstream;

/// ada, with this name and these groups.
fn with(gateway: &TestGateway, name: &str, groups: &[String]) {
    let quoted = |text: &str| serde_json::to_string(text).unwrap().replace('\u{7f}', "\\u007F");
    let groups = groups.iter().map(|group| quoted(group)).collect::<Vec<_>>().join(", ");
    gateway.change_users(|users| {
        let lines = users.lines().scan("", |section, line| {
            if line.starts_with('[') {
                *section = if line == "[users.ada]" { "ada" } else { "" };
            }
            Some(match line.split(' ').next() {
                Some("name") if *section == "ada" => format!("name = {}\n", quoted(name)),
                Some("groups") if *section == "ada" => format!("groups = [{groups}]\n"),
                _ => format!("{line}\n"),
            })
        });
        lines.collect()
    });
}

#[test]
fn no_value_injects_splits_or_truncates() {
    let upstream = TestUpstream::echoing_targets();
    let gateway = Setup::protecting(&upstream).start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let values = [
        "a\r\nRemote-User: root",
        "a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        "a\nb",
        "a\rb",
        "a\0b",
        "a,b",
        "a%2Cb",
        "a%0d%0ab",
        "100%",
        " a ",
        "Zo\u{eb} \u{2028}\u{85}\u{feff}\u{202e}",
        "\u{1f980}",
        "\u{560a}\u{560d}Remote-User: root",
        "\"a\"; b=\"c\\\"",
        "\u{1}\u{7f}\t",
    ];
    let mut reached = 0;
    for value in values {
        let groups = ["first".to_owned(), value.to_owned(), "last".to_owned()];
        with(&gateway, value, &groups);
        if !gateway.reload() {
            // The directory does not take it: it can reach nobody.
            continue;
        }
        assert_eq!(ada.fetch("/").status, 200, "{value:?}");
        let seen = upstream.next();
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
        assert_eq!(seen.header("remote-user"), Some("ada"), "{value:?}");
        assert_eq!(decoded(seen.header("remote-name").unwrap()), value);
        let listed: Vec<String> = seen.header("remote-groups").unwrap().split(',').map(decoded).collect();
        assert_eq!(listed, groups, "{value:?}");
        assert!(seen.header("remote-groups").unwrap().is_ascii());
        reached += 1;
    }
    assert!(reached >= 8, "{reached} values were taken");
    drop(gateway);
    for tape in upstream.into_tapes() {
        strict::messages(&tape).unwrap();
    }
}

#[test]
fn ten_thousand_groups_arrive_whole() {
    let upstream = TestUpstream::echoing_targets();
    let gateway = Setup::protecting(&upstream).start();
    let groups: Vec<String> = (0..10_000).map(|number| format!("department-{number}")).collect();
    with(&gateway, "Ada", &groups);
    assert!(gateway.reload());
    let mut ada = gateway.browser();
    ada.log_in("ada");
    assert_eq!(ada.fetch("/").status, 200);
    assert_eq!(upstream.next().header("remote-groups").unwrap().split(',').collect::<Vec<_>>(), groups);
}
