use super::*;
use crate::base::secret::{Secret, SystemRandom};

const HOUR: Duration = Duration::from_secs(3600);

fn settings() -> CookieSettings {
    CookieSettings::default()
}

fn codec(settings: &CookieSettings) -> CookieCodec {
    let secret = Secret::new((0..32).collect());
    CookieCodec::new(KeyRing::new(&[secret]).unwrap(), settings)
}

/// The issued text with the value cut out.
fn shape(settings: &CookieSettings, remaining: Duration, secure: bool) -> String {
    settings.check().unwrap();
    let token = Token::random(&SystemRandom).unwrap();
    let value = codec(settings).issue(&token, remaining, secure);
    let text = value.to_str().unwrap();
    let (name, rest) = text.split_once('=').unwrap();
    let (value, attributes) = rest.split_once(';').unwrap();
    assert_eq!(codec(settings).read(value.as_bytes()).unwrap().token.stored_id(), token.stored_id());
    format!("{name};{attributes}")
}

#[test]
fn the_default_is_host_prefixed_secure_http_only_lax_for_the_whole_host() {
    assert_eq!(
        shape(&settings(), HOUR, true),
        "__Host-fluidgate; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=3600"
    );
}

#[test]
fn without_tls_the_name_has_no_prefix() {
    assert_eq!(shape(&settings(), HOUR, false), "fluidgate; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600");
}

#[test]
fn every_option_of_the_seed_is_written() {
    let own = CookieSettings {
        name: Some("sid".into()),
        http_only: false,
        secure: SecureMode::Always,
        same_site: SameSite::None,
        max_age: MaxAge::Ceiling(Duration::from_secs(60)),
        expires: Some(Timestamp::from_secs(1_893_456_000)),
        path: "/app".into(),
        domain: Some("example.com".into()),
    };
    assert_eq!(
        shape(&own, HOUR, false),
        "sid; Path=/app; Domain=example.com; Secure; SameSite=None; Max-Age=60; Expires=Tue, 01 Jan 2030 00:00:00 GMT"
    );
}

#[test]
fn max_age_follows_the_servers_limits_and_never_passes_400_days() {
    let ceiling = CookieSettings { max_age: MaxAge::Ceiling(HOUR * 5), ..settings() };
    assert!(shape(&ceiling, HOUR, true).ends_with("; Max-Age=3600"));
    assert!(shape(&settings(), HOUR * 24 * 1000, true).ends_with("; Max-Age=34560000"));
    let browser = CookieSettings { max_age: MaxAge::BrowserSession, ..settings() };
    assert!(!shape(&browser, HOUR, true).contains("Max-Age"));
}

#[test]
fn the_removal_repeats_every_attribute() {
    for secure in [true, false] {
        for (path, domain, name) in [("/", None, None), ("/app", Some("example.com"), Some("sid"))] {
            let settings = CookieSettings {
                path: path.into(),
                domain: domain.map(Into::into),
                name: name.map(Into::into),
                ..settings()
            };
            let issued = shape(&settings, HOUR, secure);
            let removal = codec(&settings).removal(secure);
            let removal = removal.to_str().unwrap();
            let attributes = issued.trim_end_matches("; Max-Age=3600").replacen(';', "=;", 1);
            assert_eq!(removal, format!("{attributes}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"));
        }
    }
}

#[test]
fn contradicting_options_are_refused_by_name() {
    let named = |name: &str| CookieSettings { name: Some(name.into()), ..settings() };
    let cases = [
        (
            CookieSettings { secure: SecureMode::Never, ..named("__Host-x") },
            CookieProblem::PrefixWithoutSecure,
        ),
        (
            CookieSettings { secure: SecureMode::Never, ..named("__secure-x") },
            CookieProblem::PrefixWithoutSecure,
        ),
        (CookieSettings { domain: Some("a.example".into()), ..settings() }, CookieProblem::HostWithDomain),
        (CookieSettings { path: "/app".into(), ..settings() }, CookieProblem::HostWithPath),
        (CookieSettings { path: "/app".into(), ..named("__hOST-x") }, CookieProblem::HostWithPath),
        (CookieSettings { same_site: SameSite::None, ..settings() }, CookieProblem::NoneWithoutSecure),
        (CookieSettings { path: "/a;b".into(), ..named("x") }, CookieProblem::Path),
        (CookieSettings { domain: Some("a b".into()), ..named("x") }, CookieProblem::Domain),
        (named("a b"), CookieProblem::Name),
        (named(""), CookieProblem::Name),
    ];
    for (settings, problem) in cases {
        assert_eq!(settings.check(), Err(problem), "{settings:?}");
        assert!(problem.to_string().contains("session.cookie."), "{problem}");
    }
    let plain = CookieSettings { secure: SecureMode::Never, path: "/app".into(), ..settings() };
    assert_eq!(plain.check(), Ok(()), "the default name bends to the plain one");
}

#[test]
fn changed_values_are_malformed_or_carry_a_bad_mac() {
    let codec = codec(&settings());
    let token = Token::random(&SystemRandom).unwrap();
    let issued = codec.issue(&token, HOUR, true);
    let value = issued.to_str().unwrap().split_once('=').unwrap().1.split_once(';').unwrap().0.to_owned();
    assert_eq!(value.len(), VALUE);
    for at in 0..value.len() {
        let mut bytes = value.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(codec.read(&bytes).is_err(), "a change at {at} went unseen");
        assert!(codec.read(&value.as_bytes()[..at]).is_err());
    }
    assert_eq!(codec.read(b"").unwrap_err(), NotGenuine::Malformed);
    assert_eq!(codec.read(format!("{value}x").as_bytes()).unwrap_err(), NotGenuine::Malformed);
    let mut forged = value.into_bytes();
    forged[SIGNED + 1] = if forged[SIGNED + 1] == b'A' { b'B' } else { b'A' };
    assert_eq!(codec.read(&forged).unwrap_err(), NotGenuine::BadMac);
}

#[test]
fn name_and_value_stay_far_below_what_browsers_take() {
    assert!(HOST_NAME.len() + VALUE < 4096);
}

#[test]
fn the_issued_value_is_marked_sensitive() {
    let value = codec(&settings()).issue(&Token::random(&SystemRandom).unwrap(), HOUR, true);
    assert!(value.is_sensitive());
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_reading_panic_or_pass(bytes: Vec<u8>) {
        assert!(codec(&settings()).read(&bytes).is_err());
    }

    #[test]
    fn no_value_of_our_shape_passes(text in "v1\\.[A-Za-z0-9_-]{8}\\.[A-Za-z0-9_-]{43}\\.[A-Za-z0-9_-]{43}") {
        assert!(codec(&settings()).read(text.as_bytes()).is_err());
    }
}
