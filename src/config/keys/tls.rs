//! Keys of `[tls]`.

use super::{FILE, Kind, Required, Said, Section, Value, days, key, seconds};

pub(super) const TLS: Section = Section {
    title: "[tls]",
    about: "For listeners with `tls = true`: what they serve, and whom they ask for a certificate.",
    examples: &[r#"[server]
listen = [{ address = "0.0.0.0:443", tls = true }]
[tls]
certificates = [{ certificate = "cert.pem", key = "cert.key" }]
client_ca = "cert.pem"
client_certificates = "optional"
"#],
    keys: &[
        key("tls", Kind::Table, Said("none"), "needed by a listener with `tls = true`"),
        key(
            "tls.certificates",
            Kind::List(&Kind::Table),
            Required,
            "chosen by the host that the client names (SNI), exact names before wildcards; the first is for all other clients",
        )
        .within("one or more"),
        key("tls.certificates.certificate", FILE, Required, "the chain in PEM, the host's own certificate first"),
        key("tls.certificates.key", FILE, Required, "its private key in PEM, not encrypted"),
        key(
            "tls.certificates.ocsp",
            FILE,
            Said("none"),
            "an OCSP response in DER, handed on to clients; whoever fetches it replaces the file",
        ),
        key("tls.min_version", Kind::Words(&["1.2", "1.3"]), Value(r#""1.2""#), "the oldest version spoken"),
        key("tls.http2", Kind::Boolean, Value("true"), "offer HTTP/2 (by ALPN)"),
        key(
            "tls.hsts",
            Kind::Either(&[Kind::Duration(seconds(1), days(3650)), Kind::Only(false)]),
            Value("false"),
            "tells browsers for how long to come by https only (`Strict-Transport-Security`), in answers over TLS",
        ),
        key("tls.client_ca", FILE, Said("none"), "certificates of the authorities whose clients count, in PEM"),
        key(
            "tls.client_certificates",
            Kind::Words(&["none", "optional", "required"]),
            Said("`\"none\"`"),
            "whether clients are asked for a certificate; one that is shown must be of `client_ca`",
        ),
    ],
    notes: "The files are looked at every two seconds, and on SIGHUP. New ones are for new connections; those that cannot be used are\n\
            refused, and the old ones stay. A session is resumed by tickets whose keys are random and change every six hours; early data\n\
            (0-RTT) is never taken.\n",
};
