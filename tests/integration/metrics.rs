//! `/metrics` on the management listener: what it says, to whom, and that docs/metrics.md says the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use crate::support::PATIENCE;
use crate::support::browser::TestBrowser;
use crate::support::gateway::{Setup, TestGateway};
use crate::support::tls::Authority;
use crate::support::upstream::{TestUpstream, websocket_proof};

/// The lines of a scrape, each series with its value.
struct Scraped(String);

impl Scraped {
    fn of(gateway: &TestGateway) -> Self {
        let response = TestBrowser::new(gateway.management()).fetch("/metrics");
        assert_eq!(response.status, 200);
        assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        Self(response.text())
    }

    fn series(&self) -> impl Iterator<Item = (&str, u64)> {
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(series, value)| (series, value.parse().unwrap()))
    }

    /// The value of a series; 0 when it is not there, as for a label that has not been seen.
    fn get(&self, wanted: &str) -> u64 {
        self.series()
            .find(|(series, _)| *series == format!("fluidgate_{wanted}"))
            .map_or(0, |(_, value)| value)
    }

    /// The sum of the series whose name and labels hold `part`.
    fn sum_of(&self, part: &str) -> u64 {
        self.series().filter(|(series, _)| series.contains(part)).map(|(_, value)| value).sum()
    }
}

#[test]
fn requests_are_counted_by_route_status_and_decision() {
    let upstream = TestUpstream::start();
    let routes = format!(
        "[[routes]]\nname = \"app\"\npath = \"/app\"\nupstream = [\"{0}\"]\n\
         [[routes]]\nname = \"staff\"\npath = \"/staff\"\nupstream = [\"{0}\"]\naccess = {{ groups = [\"staff\"] }}\n",
        upstream.url()
    );
    let gateway = Setup::routes(routes).start();
    let mut bob = gateway.browser();
    bob.open("/app");
    bob.log_in("bob");
    bob.open("/app/1");
    bob.open("/app/2");
    bob.open("/staff");
    bob.open("/elsewhere");
    let scraped = Scraped::of(&gateway);
    for (series, wanted) in [
        ("route=\"app\",status=\"3xx\",decision=\"challenge\"", 1),
        ("route=\"app\",status=\"2xx\",decision=\"allow\"", 2),
        ("route=\"staff\",status=\"4xx\",decision=\"deny\"", 1),
        ("route=\"\",status=\"3xx\",decision=\"own\"", 1),
        ("route=\"\",status=\"4xx\",decision=\"refuse\"", 1),
    ] {
        assert_eq!(scraped.get(&format!("requests_total{{{series}}}")), wanted, "{series}\n{}", scraped.0);
    }
}

#[test]
fn the_counts_go_on_over_a_reload_that_takes_the_route_away() {
    let upstream = TestUpstream::start();
    let gateway = Setup::routes(format!(
        "[[routes]]\nname = \"old\"\nupstream = [\"{}\"]\naccess = \"public\"\n",
        upstream.url()
    ))
    .start();
    gateway.browser().open("/");
    gateway.change_config(|text| text.replace("\"old\"", "\"new\""));
    assert!(gateway.reload());
    gateway.browser().open("/");
    let scraped = Scraped::of(&gateway);
    for route in ["old", "new"] {
        let series = format!("requests_total{{route=\"{route}\",status=\"2xx\",decision=\"allow\"}}");
        assert_eq!(scraped.get(&series), 1, "{}", scraped.0);
    }
}

#[test]
fn sessions_logins_and_forged_cookies_are_counted() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let (mut ada, mut bob) = (gateway.browser(), gateway.browser());
    ada.log_in("ada");
    bob.log_in_with("bob", "wrong", "/");
    bob.log_in("bob");
    bob.log_out();
    let forged = format!("fluidgate=v1.{}.{}.{}", "a".repeat(8), "a".repeat(43), "a".repeat(22));
    gateway.browser().request("GET", "/", &[("Cookie", &forged)], b"");
    let scraped = Scraped::of(&gateway);
    for (series, wanted) in [
        ("sessions_live", 1),
        ("sessions_created_total", 2),
        ("sessions_ended_total{reason=\"logout\"}", 1),
        ("logins_total{method=\"password\",result=\"granted\"}", 2),
        ("logins_total{method=\"password\",result=\"refused\"}", 1),
        ("session_store_up", 1),
        ("users", 4),
    ] {
        assert_eq!(scraped.get(series), wanted, "{series}\n{}", scraped.0);
    }
    assert_eq!(scraped.sum_of("cookies_rejected"), 1, "{}", scraped.0);
}

/// Scrapes until `series` has the value; what ends is counted a moment after the client sees the end.
fn until(gateway: &TestGateway, series: &str, wanted: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let scraped = Scraped::of(gateway);
        if scraped.get(series) == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{series} is not {wanted}:\n{}", scraped.0);
        std::thread::yield_now();
    }
}

#[test]
fn client_connections_are_counted_by_listener() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let label = format!("{{listener=\"{}\"}}", gateway.address());
    let mut wire = gateway.wire();
    wire.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
    wire.receive().unwrap();
    assert_eq!(Scraped::of(&gateway).get(&format!("connections_open{label}")), 1);
    drop(wire);
    until(&gateway, &format!("connections_open{label}"), 0);
    assert_eq!(Scraped::of(&gateway).get(&format!("connections_accepted_total{label}")), 1);
}

#[test]
fn connections_beyond_the_cap_are_counted() {
    let upstream = TestUpstream::start();
    let gateway = Setup::protecting(&upstream).server("max_connections = 1").start();
    let label = format!("{{listener=\"{}\"}}", gateway.address());
    let mut wire = gateway.wire();
    wire.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
    wire.receive().unwrap();
    assert!(gateway.wire().is_closed_by_peer());
    until(&gateway, &format!("connections_refused_total{label}"), 1);
    until(&gateway, &format!("connections_open{label}"), 1);
}

#[test]
fn open_websockets_are_counted() {
    let upstream = TestUpstream::with(|request, stream| {
        let proof = websocket_proof(request.header("sec-websocket-key").unwrap_or_default());
        write!(
            stream,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {proof}\r\n\r\n"
        )?;
        // Until the other side goes away.
        std::io::copy(stream, &mut std::io::sink()).map(|_| false)
    });
    let route = format!("[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n", upstream.url());
    let gateway = Setup::routes(route).start();
    let mut wire = gateway.wire();
    wire.send(format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        gateway.address()
    ));
    assert_eq!(wire.receive_head().unwrap().0, 101);
    until(&gateway, "tunnels_open", 1);
    drop(wire);
    until(&gateway, "tunnels_open", 0);
    assert_eq!(Scraped::of(&gateway).get("tunnels_opened_total"), 1);
}

#[test]
fn connections_to_upstreams_and_what_fails_there_are_counted() {
    let upstream = TestUpstream::start();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let routes = format!(
        "[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n\
         [[routes]]\npath = \"/gone\"\nupstream = [\"http://{nobody}\"]\naccess = \"public\"\n",
        upstream.url()
    );
    let gateway = Setup::routes(routes).start();
    let mut wire = gateway.wire();
    for path in ["/1", "/2", "/3", "/gone"] {
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
        wire.receive().unwrap();
    }
    let there = format!("{{upstream=\"{}\"}}", upstream.url());
    let gone = format!("{{upstream=\"http://{nobody}\"}}");
    // A worker hands these over once a second.
    until(&gateway, &format!("upstream_connections_reused_total{there}"), 2);
    let scraped = Scraped::of(&gateway);
    for (name, wanted) in [
        (format!("upstream_connections_opened_total{there}"), 1),
        (format!("upstream_connections_open{there}"), 1),
        (format!("upstream_requests_in_flight{there}"), 0),
        (format!("upstream_failures_total{there}"), 0),
        (format!("upstream_healthy{there}"), 1),
        (format!("upstream_failures_total{gone}"), 1),
    ] {
        assert_eq!(scraped.get(&name), wanted, "{name}\n{}", scraped.0);
    }
}

#[test]
fn an_upstream_that_its_health_check_finds_unhealthy_shows() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let health = "health = { path = \"/\", interval = \"100ms\", timeout = \"1s\", unhealthy_after = 1 }";
    let gateway = Setup::routes(format!("[[routes]]\nupstream = [\"http://{nobody}\"]\n{health}\n")).start();
    until(&gateway, &format!("upstream_healthy{{upstream=\"http://{nobody}\"}}"), 0);
}

#[test]
fn the_end_of_each_certificate_shows_and_a_bad_renewal_too() {
    let upstream = TestUpstream::start();
    let authority = Authority::new();
    let gateway = Setup::protecting(&upstream).tls(&authority, &["wiki.test"]).start();
    let start = Scraped::of(&gateway);
    let ends: Vec<u64> =
        start.series().filter(|(s, _)| s.contains("not_after")).map(|(_, end)| end).collect();
    assert!(ends.len() == 1 && ends[0] > start.get("start_time_seconds"), "{}", start.0);
    let certificate = fs::read_dir(gateway.folder().path()).unwrap().map(|entry| entry.unwrap().path());
    let certificate = certificate.filter(|path| path.extension().is_some_and(|ending| ending == "pem"));
    certificate.for_each(|path| fs::write(path, "nonsense").unwrap());
    gateway.reload();
    until(&gateway, "tls_certificates_last_reload_successful", 0);
    let bad = Scraped::of(&gateway);
    assert!(bad.get("tls_certificate_reload_failures_total") > 0);
    assert!(bad.series().any(|(series, end)| series.contains("not_after") && end == ends[0]), "{}", bad.0);
}

#[test]
fn a_refused_reload_shows_until_a_good_one() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let start = Scraped::of(&gateway);
    assert_eq!(start.get("config_last_reload_successful"), 1);
    assert_eq!(start.get("start_time_seconds"), 1_800_000_000);
    gateway.change_config(|text| format!("{text}\nnonsense = 1\n"));
    gateway.change_users(|_| "nonsense".into());
    gateway.advance(std::time::Duration::from_secs(60));
    assert!(!gateway.reload());
    let bad = Scraped::of(&gateway);
    for file in ["config", "users"] {
        assert_eq!(bad.get(&format!("{file}_last_reload_successful")), 0);
        assert!(bad.get(&format!("{file}_reload_failures_total")) > 0);
        assert_eq!(bad.get(&format!("{file}_last_reload_success_timestamp_seconds")), 1_800_000_000);
    }
    gateway.change_config(|text| text.replace("\nnonsense = 1\n", ""));
    gateway.reload();
    let good = Scraped::of(&gateway);
    assert_eq!(good.get("config_last_reload_successful"), 1);
    assert_eq!(good.get("config_last_reload_success_timestamp_seconds"), 1_800_000_060);
}

#[test]
fn lines_that_a_log_cannot_write_are_counted() {
    let upstream = TestUpstream::start();
    let full = "\"/dev/full\"";
    let audit = format!("[audit_log]\ntarget = {full}\n");
    let gateway = Setup { access_log: full, ..Setup::protecting(&upstream) }.sections(&audit).start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    ada.open("/");
    drop(ada);
    until(&gateway, "log_lines_lost_total{log=\"audit\"}", 1);
    let requests = Scraped::of(&gateway);
    let answered = requests.sum_of("requests_total");
    assert!(answered > 1, "the login and the page: {}", requests.0);
    until(&gateway, "log_lines_lost_total{log=\"access\"}", answered);
}

#[test]
fn metrics_are_never_on_a_public_listener() {
    let upstream = TestUpstream::start();
    let gateway =
        Setup::routes(format!("[[routes]]\npath = \"/app\"\nupstream = [\"{}\"]\n", upstream.url())).start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    for path in ["/metrics", "/_auth/metrics", "/metrics/", "//metrics"] {
        let response = ada.open(path);
        assert!(
            response.status >= 400 && !response.text().contains("fluidgate_"),
            "{path}: {}",
            response.text()
        );
    }
}

#[test]
fn metrics_are_read_only_and_come_as_openmetrics_when_asked_for() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut scraper = TestBrowser::new(gateway.management());
    assert_eq!(scraper.request("POST", "/metrics", &[], b"").status, 405);
    let accept = [("Accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")];
    let response = scraper.request("GET", "/metrics", &accept, b"");
    assert!(response.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(response.text().ends_with("# EOF\n"));
}

#[test]
fn thirty_one_clients_that_say_nothing_leave_room_for_a_scraper() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let silent: Vec<_> =
        (0..31).map(|_| std::net::TcpStream::connect(gateway.management()).unwrap()).collect();
    assert_eq!(TestBrowser::new(gateway.management()).fetch("/healthz").status, 200);
    drop(silent);
}

/// Each metric as docs/metrics.md has it: name, type, labels, meaning.
type Row = (String, String, String, String);

#[test]
fn the_page_lists_exactly_the_metrics_of_a_scrape() {
    let upstream = TestUpstream::start();
    // With everything that tells something.
    let audit = "[audit_log]\ntarget = \"audit.log\"\n";
    let gateway = Setup::protecting(&upstream).tls(&Authority::new(), &["wiki.test"]).sections(audit).start();
    gateway.browser().open("/");
    let scraped = Scraped::of(&gateway);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let text = fs::read_to_string(&page).unwrap();
    let listed: Vec<Row> = text.lines().filter_map(row).collect();
    let told = told(&scraped, &listed);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let rows: String = told.iter().map(|(n, t, l, m)| format!("| `{n}` | {t} | {l} | {m} |\n")).collect();
        let head = "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n";
        let (before, behind) = text.split_once(head).unwrap();
        let (_, after) = behind.split_once("\n## ").unwrap();
        fs::write(&page, format!("{before}{head}{rows}\n## {after}")).unwrap();
        return;
    }
    assert_eq!(listed, told, "rewrite the table with UPDATE_DOCS=1 cargo test --test integration metrics::");
}

fn row(line: &str) -> Option<Row> {
    let mut cells = line.strip_prefix("| `fluidgate_")?.split(" | ").map(str::trim);
    let mut cell = || cells.next().unwrap().trim_end_matches(" |").to_owned();
    let name = format!("fluidgate_{}", cell().trim_end_matches('`'));
    Some((name, cell(), cell(), cell()))
}

/// The rows of a scrape. The labels of a metric without a series yet are taken from the page.
fn told(scraped: &Scraped, listed: &[Row]) -> Vec<Row> {
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (series, _) in scraped.series() {
        let (name, inner) = series.split_once('{').unwrap_or((series, ""));
        let keys = inner.split("\",").filter_map(|label| label.split_once('=')).map(|(key, _)| key);
        labels.entry(name).or_default().extend(keys);
    }
    let lines = |kind: &'static str| {
        scraped.0.lines().filter_map(move |line| line.strip_prefix(kind)?.split_once(' '))
    };
    let kinds: BTreeMap<&str, &str> = lines("# TYPE ").collect();
    let mut rows: Vec<Row> = lines("# HELP ")
        .map(|(name, help)| {
            let seen = labels
                .get(name)
                .map(|keys| keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "));
            let before =
                || listed.iter().find(|row| row.0 == name).map(|row| row.2.clone()).unwrap_or_default();
            let help = help.trim_end_matches('.').to_owned();
            let labels = Some(seen.unwrap_or_else(before)).filter(|labels| !labels.is_empty());
            (name.to_owned(), kinds[name].to_owned(), labels.unwrap_or_else(|| "none".into()), help)
        })
        .collect();
    rows.sort();
    rows
}
