//! `[tls]` and the listeners that need it: every file that cannot be used is a problem with its place, its name and the reason.

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

const LISTEN: &str = "[server]\nlisten = [{ address = \"127.0.0.1:0\", tls = true }]\n";

/// The problems of a file with these lines of `[tls]`, which begin at line 8, in a folder with `files` besides the usual ones.
fn problems(lines: &str, files: &[(&str, &[u8])]) -> Vec<String> {
    let folder = folder();
    for (name, bytes) in files {
        write(folder.path(), name, bytes, 0o600);
    }
    let text = with(&format!("{LISTEN}[tls]\n{lines}\n{ROUTE}"));
    let found = parse(&text, "gateway.toml", folder.path()).map_or_else(|p| p, |l| l.warnings);
    let shown = |p: &Problem| format!("{}:{}: {}", p.line, p.column, p.what);
    let base = format!("{}/", folder.path().display());
    found.list().iter().map(|p| shown(p).replace(&base, "")).collect()
}

fn certificates(certificate: &str, key: &str) -> String {
    format!("certificates = [{{ certificate = \"{certificate}\", key = \"{key}\" }}]")
}

fn dated(from: i32, until: i32) -> (String, String) {
    let mut params = CertificateParams::new(["wiki.test".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn a_good_certificate_is_no_problem() {
    assert_eq!(problems(&certificates("cert.pem", "cert.key"), &[]), Vec::<String>::new());
}

#[test]
fn a_certificate_or_key_that_cannot_be_used_is_named_with_the_reason() {
    let other = KeyPair::generate().unwrap().serialize_pem();
    let (old, old_key) = dated(2001, 2002);
    let (new, new_key) = dated(2101, 2102);
    let files: &[(&str, &[u8])] = &[
        ("text", b"no certificate at all"),
        ("broken", b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"),
        ("no-x509", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("other.key", other.as_bytes()),
        ("old.pem", old.as_bytes()),
        ("old.key", old_key.as_bytes()),
        ("new.pem", new.as_bytes()),
        ("new.key", new_key.as_bytes()),
    ];
    for (certificate, key, expected) in [
        ("none.pem", "cert.key", "8:33: none.pem: it cannot be read: No such file"),
        (".", "cert.key", "8:33: .: it is no file"),
        ("text", "cert.key", "8:33: text: it holds no certificate in PEM"),
        ("broken", "cert.key", "8:33: broken: its PEM is broken"),
        ("no-x509", "cert.key", "8:33: no-x509: its first certificate cannot be read"),
        ("cert.key", "cert.key", "8:33: cert.key: it holds no certificate in PEM"),
        ("old.pem", "old.key", "8:33: old.pem: the certificate expired at 2002-01-01T00:00:00.000Z"),
        ("new.pem", "new.key", "8:33: new.pem: the certificate is not valid before 2101-01-01T00:00:00.000Z"),
        ("cert.pem", "none.key", "8:52: none.key: it cannot be read"),
        ("cert.pem", "text", "8:52: text: it holds no private key in PEM"),
        ("cert.pem", "other.key", "8:52: other.key: the key does not belong to the certificate in cert.pem"),
    ] {
        let have = problems(&certificates(certificate, key), files);
        let expected_at = expected.replace("8:52", &format!("8:{}", 33 + certificate.len() + 10));
        let [only] = &have[..] else { panic!("{have:#?}") };
        let only = only.replace("/.:", ".:");
        assert!(only.starts_with(&expected_at), "{expected_at}\n{only}");
    }
}

#[test]
fn a_private_key_that_everyone_may_use_is_warned_of() {
    let folder = folder();
    write(folder.path(), "cert.key", CERTIFICATE.1.as_bytes(), 0o604);
    let text = with(&format!("{LISTEN}[tls]\n{}\n{ROUTE}", certificates("cert.pem", "cert.key")));
    let warnings = parse(&text, "gateway.toml", folder.path()).unwrap().warnings;
    assert!(warnings.list()[0].what.starts_with("everyone may use the private key"), "{warnings}");
}

#[test]
fn what_is_missing_or_contradicts_is_told() {
    let good = certificates("cert.pem", "cert.key");
    let with_good = |more: &str| format!("{good}\n{more}");
    for (lines, expected) in [
        ("", "7:2: `tls.certificates` is missing"),
        ("certificates = []", "8:16: `tls.certificates` is empty"),
        ("certificates = [{ certificate = \"cert.pem\" }]", "8:17: `tls.certificates.key` is missing"),
        (&with_good("min_version = \"1.1\""), "9:15: \"1.1\" is not a value of `tls.min_version`"),
        (&with_good("client_certificates = \"required\""), "9:23: `tls.client_ca` is missing"),
        (&with_good("client_ca = \"cert.pem\""), "9:13: `tls.client_ca` does nothing"),
        (
            &with_good("client_ca = \"users.toml\"\nclient_certificates = \"optional\""),
            "9:13: users.toml: it holds no certificate in PEM",
        ),
    ] {
        let have = problems(lines, &[]);
        assert!(have.len() == 1 && have[0].starts_with(expected), "{expected}\n{have:#?}");
    }
}

#[test]
fn listeners_that_contradict_themselves_or_each_other_are_told() {
    let listen = |value: &str| lines(&with(&format!("[server]\nlisten = [{value}]\n{ROUTE}")));
    for (value, expected) in [
        ("{ tls = true }", "`server.listen.address` is missing"),
        ("{ address = \"127.0.0.1:1\", tls = true, h2c = true }", "`h2c` is HTTP/2 without TLS"),
        ("{ address = \"127.0.0.1:1\", tls = true, redirect_to_https = true }", "`redirect_to_https` on"),
        ("{ address = \"127.0.0.1:1\", proxy_protocol = true }", "`proxy_protocol` is on, and every"),
        ("{ address = \"nowhere\" }", "\"nowhere\" is not a listen address"),
        ("\"127.0.0.1:1\", { address = \"127.0.0.1:1\" }", "\"127.0.0.1:1\" is listened on twice"),
        ("\"systemd:web\", \"systemd:web\"", "\"systemd:web\" is listened on twice"),
        ("\"systemd:\"", "\"\" is not the name of a socket"),
        ("\"systemd:a b\"", "\"a b\" is not the name of a socket"),
        ("1", "`server.listen` is of the wrong kind"),
        ("{ address = \"127.0.0.1:1\", proto = 2 }", "unknown key \"proto\" in `server.listen`"),
    ] {
        let have = listen(value);
        assert!(have.iter().any(|line| line.contains(expected)), "{value}\n{have:#?}");
    }
    assert_eq!(listen("\"[::]:80\", \"0.0.0.0:80\", \"systemd:web\", \"systemd:0\""), Vec::<String>::new());
}

#[test]
fn certificates_that_no_listener_serves_are_warned_of() {
    let text = with(&format!("[tls]\n{}\n{ROUTE}", certificates("cert.pem", "cert.key")));
    only(&text, "5:2: `tls` is set, and no listener has tls = true");
}

#[test]
fn the_management_listener_cannot_be_handed_over() {
    only(
        &with(&format!("[management]\nlisten = \"systemd:admin\"\n{ROUTE}")),
        "6:10: the management listener cannot be handed over",
    );
}
