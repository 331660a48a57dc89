//! `fluidgate sessions` against a running gateway, by the real program (S9, S32, S35, S36, X32).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::browser::TestBrowser;
use crate::support::gateway::{Setup, TestGateway};
use crate::support::upstream::TestUpstream;

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fluidgate"));
    command.env_remove("FLUIDGATE_CONFIG").stdin(Stdio::null());
    command
}

/// Runs `fluidgate sessions …` for the gateway whose files are in the folder of `gateway`.
fn sessions(gateway: &TestGateway, arguments: &[&str]) -> Output {
    let config = gateway.file("gateway.toml");
    program().arg("sessions").args(arguments).arg("--config").arg(config).output().unwrap()
}

/// What a command that must succeed printed.
fn said(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

/// What a command that must fail said.
fn refused(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn logged_in(gateway: &TestGateway, user: &str) -> TestBrowser {
    let mut browser = gateway.browser();
    browser.extra.push(("User-Agent".into(), FIREFOX.into()));
    browser.log_in(user);
    browser
}

fn is_in(browser: &mut TestBrowser) -> bool {
    browser.fetch("/").status == 200
}

fn listed(gateway: &TestGateway, arguments: &[&str]) -> Vec<serde_json::Value> {
    let arguments = [&["list", "--json"], arguments].concat();
    serde_json::from_str(&said(sessions(gateway, &arguments))).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A gateway like the others in a folder of its own, at the moment of `gateway`.
fn another(upstream: &TestUpstream, gateway: &TestGateway) -> TestGateway {
    Setup { clock: gateway.clock(), ..Setup::protecting(upstream) }.start()
}

/// The same browser before another gateway.
fn moved(browser: &TestBrowser, gateway: &TestGateway) -> TestBrowser {
    let mut moved = gateway.browser();
    let (name, value) = browser.session_cookie().unwrap();
    moved.extra.push(("Cookie".into(), format!("{name}={value}")));
    moved
}

#[test]
fn a_list_shows_who_is_logged_in_since_when_from_where_and_with_what() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    assert_eq!(said(sessions(&gateway, &["list"])), "no live sessions\n");
    let mut ada = logged_in(&gateway, "ada");
    logged_in(&gateway, "bob");
    gateway.advance(Duration::from_secs(600));
    assert!(is_in(&mut ada));
    let rows = said(sessions(&gateway, &["list"]));
    let rows: Vec<_> = rows.lines().map(|row| row.split_once("  ").unwrap().1.trim_start()).collect();
    assert_eq!(
        rows,
        [
            "USER  CREATED (UTC)     LAST SEEN (UTC)   ADDRESS    BROWSER",
            "ada   2027-01-15 08:00  2027-01-15 08:10  127.0.0.1  Firefox on Linux",
            "bob   2027-01-15 08:00  2027-01-15 08:00  127.0.0.1  Firefox on Linux",
        ]
    );
    let all = listed(&gateway, &[]);
    assert_eq!(all.len(), 2);
    assert_eq!(all[0]["created"], "2027-01-15T08:00:00.000Z");
    assert_eq!(all[0]["expires"], "2027-01-15T10:10:00.000Z");
    assert_eq!(all[0]["id"].as_str().unwrap().len(), 64);
    assert_eq!(listed(&gateway, &["--user", "bob"])[0]["user"], "bob");
    assert_eq!(listed(&gateway, &["--user", "zoe"]).len(), 0);
}

#[test]
fn revoking_a_user_ends_all_of_their_sessions_on_the_next_request_and_no_others() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let (mut desk, mut phone) = (logged_in(&gateway, "ada"), logged_in(&gateway, "ada"));
    let mut bob = logged_in(&gateway, "bob");
    assert_eq!(said(sessions(&gateway, &["revoke", "--user", "ada"])), "ended 2 sessions\n");
    assert!(!is_in(&mut desk) && !is_in(&mut phone) && is_in(&mut bob));
    assert_eq!(said(sessions(&gateway, &["revoke", "--user", "ada"])), "ended 0 sessions\n");
}

#[test]
fn revoking_by_the_digits_of_the_list_ends_that_session_only() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let (mut ada, mut bob) = (logged_in(&gateway, "ada"), logged_in(&gateway, "bob"));
    let rows = said(sessions(&gateway, &["list", "--user", "ada"]));
    let handle = rows.lines().nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(said(sessions(&gateway, &["revoke", "--id", handle])), "ended 1 session\n");
    assert!(!is_in(&mut ada) && is_in(&mut bob));
    let again = refused(sessions(&gateway, &["revoke", "--id", handle]));
    assert_eq!(again, format!("error: the gateway refused: no live session has the id {handle}\n"));
    let short = refused(sessions(&gateway, &["revoke", "--id", "5f"]));
    assert!(short.contains("8 to 64 hexadecimal digits"), "{short}");
}

#[test]
fn revoking_all_ends_everything_at_once_also_after_a_restart_and_logins_go_on() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let (mut ada, bob) = (logged_in(&gateway, "ada"), logged_in(&gateway, "bob"));
    assert_eq!(said(sessions(&gateway, &["revoke", "--all"])), "ended 2 sessions\n");
    assert!(!is_in(&mut ada));
    let mut zoe = logged_in(&gateway, "zoe");
    assert!(is_in(&mut zoe));
    let gateway = gateway.restart(Setup::protecting(&upstream));
    assert!(!is_in(&mut moved(&bob, &gateway)));
    assert!(is_in(&mut moved(&zoe, &gateway)));
}

#[test]
fn a_revocation_needs_exactly_one_selector() {
    for arguments in [&[][..], &["--all", "--user", "ada"], &["--id", "5f0c5f0c", "--user", "ada"]] {
        let output = program().args(["sessions", "revoke"]).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn sessions_move_to_a_fresh_gateway_with_the_same_secret() {
    let upstream = TestUpstream::start();
    let old = TestGateway::protecting(&upstream);
    let (ada, bob) = (logged_in(&old, "ada"), logged_in(&old, "bob"));
    let file = old.file("kept.jsonl");
    let told = said(sessions(&old, &["export", text(&file)]));
    assert_eq!(told, format!("exported 2 sessions to {}\n", file.display()));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (_, cookie) = ada.session_cookie().unwrap();
    let token = cookie.split('.').nth(2).unwrap();
    assert!(!fs::read_to_string(&file).unwrap().contains(token), "a token is never exported");

    let new = another(&upstream, &old);
    assert!(!is_in(&mut moved(&ada, &new)));
    assert_eq!(said(sessions(&new, &["import", text(&file)])), "imported 2 sessions\n");
    assert!(is_in(&mut moved(&ada, &new)) && is_in(&mut moved(&bob, &new)));
    assert_eq!(listed(&new, &["--user", "ada"])[0]["browser"], "Firefox on Linux");
    let new = new.restart(Setup::protecting(&upstream));
    assert!(is_in(&mut moved(&ada, &new)), "what came in is durable");
    assert_eq!(
        said(sessions(&new, &["import", text(&file)])),
        "imported 0 sessions\nleft out 2: there already\n"
    );
}

#[test]
fn an_import_never_brings_back_what_has_ended_here() {
    let upstream = TestUpstream::start();
    let old = TestGateway::protecting(&upstream);
    let mut ada = logged_in(&old, "ada");
    let bob = logged_in(&old, "bob");
    let file = old.file("kept.jsonl");
    said(sessions(&old, &["export", text(&file)]));
    let new = another(&upstream, &old);
    said(sessions(&new, &["import", text(&file)]));

    // At the gateway that exported it.
    ada.log_out();
    let told = said(sessions(&old, &["import", text(&file)]));
    assert!(told.contains("imported 0 sessions\n") && told.contains("1: ended at this gateway"), "{told}");
    assert!(!is_in(&mut ada));

    // At the gateway that imported it, after a restart, and from another export of the same sessions.
    moved(&bob, &new).submit("/_auth/logout", &[]);
    let new = new.restart(Setup::protecting(&upstream));
    let later = old.file("later.jsonl");
    said(sessions(&old, &["export", text(&later)]));
    for file in [&file, &later] {
        let told = said(sessions(&new, &["import", text(file)]));
        assert!(
            told.contains("imported 0 sessions\n") && told.contains("1: ended at this gateway"),
            "{told}"
        );
        assert!(!is_in(&mut moved(&bob, &new)));
    }
}

#[test]
fn an_import_respects_the_moment_that_ended_everything() {
    let upstream = TestUpstream::start();
    let old = TestGateway::protecting(&upstream);
    let ada = logged_in(&old, "ada");
    let file = old.file("kept.jsonl");
    said(sessions(&old, &["export", text(&file)]));
    let new = another(&upstream, &old);
    assert_eq!(said(sessions(&new, &["revoke", "--all"])), "ended 0 sessions\n");
    let told = said(sessions(&new, &["import", text(&file)]));
    assert!(told.starts_with("imported 0 sessions\nleft out 1: ended at this gateway"), "{told}");
    assert!(!is_in(&mut moved(&ada, &new)));
}

#[test]
fn an_import_drops_what_has_expired() {
    let upstream = TestUpstream::start();
    let old = TestGateway::protecting(&upstream);
    logged_in(&old, "ada");
    let file = old.file("kept.jsonl");
    said(sessions(&old, &["export", text(&file)]));
    let new = another(&upstream, &old);
    new.advance(Duration::from_secs(2 * 3600));
    assert_eq!(said(sessions(&new, &["import", text(&file)])), "imported 0 sessions\nleft out 1: expired\n");
}

#[test]
fn a_cut_file_is_refused_whole() {
    let upstream = TestUpstream::start();
    let old = TestGateway::protecting(&upstream);
    let ada = logged_in(&old, "ada");
    logged_in(&old, "bob");
    let file = old.file("kept.jsonl");
    said(sessions(&old, &["export", text(&file)]));
    let whole = fs::read_to_string(&file).unwrap();
    let lines: Vec<_> = whole.split_inclusive('\n').collect();
    fs::write(&file, lines[..lines.len() - 1].concat()).unwrap();
    let new = another(&upstream, &old);
    let error = refused(sessions(&new, &["import", text(&file)]));
    assert!(error.contains("the file is cut") && error.contains("nothing was imported"), "{error}");
    assert!(!is_in(&mut moved(&ada, &new)));
    assert!(listed(&new, &[]).is_empty());
}

#[test]
fn an_export_overwrites_nothing_unless_forced() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    logged_in(&gateway, "ada");
    let file = gateway.file("kept.jsonl");
    fs::write(&file, "precious").unwrap();
    let error = refused(sessions(&gateway, &["export", text(&file)]));
    assert!(error.contains("is there already; --force replaces it"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    said(sessions(&gateway, &["export", "--force", text(&file)]));
    assert!(fs::read_to_string(&file).unwrap().starts_with("{\"format\":\"fluidgate-sessions\""));
    assert!(!gateway.file("kept.jsonl.new").exists());
}

#[test]
fn without_a_gateway_the_command_says_so() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let (config, socket) = (gateway.file("gateway.toml"), gateway.file("admin.sock"));
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let folder = gateway.folder();
    gateway.stop();
    assert!(!socket.exists(), "a clean end takes the socket along");
    let list = || program().args(["sessions", "list", "-c", text(&config)]).output().unwrap();
    let expected =
        format!("error: no gateway answers at {}; start it with `fluidgate run`\n", socket.display());
    assert_eq!(refused(list()), expected);
    drop(UnixListener::bind(&socket).unwrap());
    assert_eq!(refused(list()), expected, "a socket that a killed gateway left");
    let error = refused(
        program().args(["sessions", "list"]).current_dir(folder.path().join("sessions")).output().unwrap(),
    );
    assert!(error.contains("-c FILE") && error.contains("--socket PATH"), "{error}");
}

#[test]
fn the_socket_can_be_switched_off() {
    let upstream = TestUpstream::start();
    let setup = Setup { store: "{ type = \"memory\" }", ..Setup::protecting(&upstream) };
    let gateway = setup.start();
    let error = refused(sessions(&gateway, &["list"]));
    assert!(error.contains("the admin socket is off in"), "{error}");
    assert!(!gateway.file("admin.sock").exists());
}

#[test]
fn a_reader_that_stops_reading_is_no_error() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    logged_in(&gateway, "ada");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let config = gateway.file("gateway.toml");
    let command = &mut program();
    let output =
        command.args(["sessions", "list", "-c", text(&config)]).stdout(writer).stderr(Stdio::piped());
    let output = output.spawn().unwrap().wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn another_user_is_refused_even_where_the_file_system_lets_them_in() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    logged_in(&gateway, "ada");
    let nobody = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).args(arguments).output()
    };
    // Only root can become somebody else, and only where the tool for it is.
    if !nobody(&["true"]).is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: cannot run a program as another user here");
        return;
    }
    let (copy, socket) = (gateway.file("fluidgate"), gateway.file("admin.sock"));
    fs::copy(env!("CARGO_BIN_EXE_fluidgate"), &copy).unwrap();
    let list = || nobody(&[text(&copy), "sessions", "list", "--socket", text(&socket)]).unwrap();
    fs::set_permissions(gateway.folder().path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(refused(list()).contains("permission denied"));
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let error = refused(list());
    assert!(error.contains("the gateway refused: only root and the gateway's own user"), "{error}");
    assert_eq!(listed(&gateway, &[]).len(), 1);
}

#[test]
fn no_public_listener_and_no_health_listener_knows_the_admin_verbs() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    for path in ["/_auth/admin", "/_auth/sessions", "/_auth/admin/sessions"] {
        assert_eq!(gateway.browser().fetch(path).status, 404, "{path}");
        assert_eq!(TestBrowser::new(gateway.management()).fetch(path).status, 404, "{path}");
    }
}

#[test]
fn a_store_at_rest_is_checked_without_being_changed() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let (ada, mut bob) = (logged_in(&gateway, "ada"), logged_in(&gateway, "bob"));
    bob.log_out();
    let error = refused(sessions(&gateway, &["check"]));
    assert!(error.contains("is in use: stop the gateway first, or look at a copy"), "{error}");

    let (config, store) = (gateway.file("gateway.toml"), gateway.file("sessions"));
    let (folder, clock) = (gateway.folder(), gateway.clock());
    gateway.stop();
    let check = || program().args(["sessions", "check", "-c", text(&config)]).output().unwrap();
    let healthy = format!(
        "{}: 1 session\n  live: 1\n  expired: 0\n\
         the store agrees with its marker: a start would keep 1 session\n",
        store.display()
    );
    assert_eq!(said(check()), healthy);
    let elsewhere =
        program().args(["sessions", "check", "--store", text(&store)]).current_dir(&store).output();
    assert!(said(elsewhere.unwrap()).starts_with("no configuration: the default limits count"));

    let marker = folder.path().join("sessions.marker");
    let kept = fs::read(&marker).unwrap();
    fs::remove_file(&marker).unwrap();
    let output = check();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("the store is not trusted: the marker file beside the store is missing"), "{told}");
    assert!(told.contains("a start would drop everything in it, and end 1 session"), "{told}");

    fs::write(&marker, kept).unwrap();
    let gateway = Setup { folder, clock, ..Setup::protecting(&upstream) }.start();
    assert!(is_in(&mut moved(&ada, &gateway)), "the check has changed nothing");
}

#[test]
fn sessions_of_a_stopped_store_move_to_a_fresh_one() {
    let upstream = TestUpstream::start();
    let old = TestGateway::protecting(&upstream);
    let ada = logged_in(&old, "ada");
    let (config, store, file) = (old.file("gateway.toml"), old.file("sessions"), old.file("kept.jsonl"));
    let export = || {
        let arguments = ["sessions", "export", "--store", text(&store), "-c", text(&config), text(&file)];
        program().args(arguments).output().unwrap()
    };
    assert!(refused(export()).contains("is in use: stop the gateway first"));
    let (folder, clock) = (old.folder(), old.clock());
    old.stop();
    assert_eq!(said(export()), format!("exported 1 session to {}\n", file.display()));

    let new = Setup { clock: clock.clone(), ..Setup::protecting(&upstream) }.start();
    assert_eq!(said(sessions(&new, &["import", text(&file)])), "imported 1 session\n");
    assert!(is_in(&mut moved(&ada, &new)));

    // The old store, started once more, takes nothing of it back that ends there.
    let old = Setup { folder, clock, ..Setup::protecting(&upstream) }.start();
    moved(&ada, &old).submit("/_auth/logout", &[]);
    let told = said(sessions(&old, &["import", text(&file)]));
    assert!(told.contains("1: ended at this gateway"), "{told}");
}

#[test]
fn an_export_into_a_folder_that_is_not_there_names_the_file() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let file = gateway.file("absent/kept.jsonl");
    let error = refused(sessions(&gateway, &["export", text(&file)]));
    assert!(error.contains(text(&file)) && error.contains("No such file"), "{error}");
}
