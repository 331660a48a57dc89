//! What must hold of any fields, forms, answers and admin requests: bodies of fuzz targets, see [`crate::fuzz`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a body stops at what must not be"
)]

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::base::clock::Timestamp;
use crate::base::identity::Identity;
use crate::base::secret::{Secret, SystemRandom};
use crate::gateway::HeaderPreset;
use crate::gateway::admin::protocol::{Answer, Count, Request, SessionItem, Upload};
use crate::gateway::form::{Form, query_field};
use crate::gateway::form_token::{Binding, FormTokens};
use crate::gateway::identity_headers::{HeaderFirewall, InjectedHeaders, OddNames};
use crate::gateway::navigation::RequestKind;
use crate::gateway::privacy::make_private;
use crate::gateway::request_id::RequestIdSeed;
use crate::gateway::rewrite::{PathRewrite, restore_location};
use crate::gateway::same_origin::{FormOrigin, form_origin};
use crate::gateway::{method_override, request_id};
use crate::policy::{Access, Decision, Facts, Permit, decide};
use crate::web::forwarded::ConnectionValues;
use crate::web::fuzz::{fields, first_line};
use crate::web::hop_by_hop;
use crate::web::host::Host;
use crate::web::trailers::keep_permitted;

fn presets() -> [HeaderPreset; 4] {
    let own = HeaderPreset::Own {
        user: Some(HeaderName::from_static("x-who_am.i")),
        name: None,
        email: None,
        groups: None,
    };
    [HeaderPreset::Remote, HeaderPreset::XForwarded, HeaderPreset::XAuthRequest, own]
}

static FIREWALL: LazyLock<HeaderFirewall> = LazyLock::new(|| HeaderFirewall::new(presets().iter()));

/// As CGI and its kin fold a name: case is lost, and so is which sign stood between the words.
fn folded(name: &HeaderName) -> String {
    name.as_str()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect()
}

/// Whether a folded name is one by which some app is told who asks.
fn says_who(folded: &str) -> bool {
    let attributes: &[&str] = match folded {
        "x-fluidgate-assertion" | "x-who-am-i" => return true,
        _ if folded.starts_with("remote-") || folded.starts_with("x-remote-") => {
            &["user", "name", "email", "groups"]
        }
        _ => &["user", "email", "groups", "preferred-username", "access-token"],
    };
    let families = ["remote-", "x-remote-", "x-forwarded-", "x-auth-request-"];
    families.iter().any(|family| folded.strip_prefix(family).is_some_and(|rest| attributes.contains(&rest)))
}

fn permit(identity: Option<&Arc<Identity>>) -> Permit {
    match decide(&Access::Public, &Facts { identity, ..Facts::default() }) {
        Decision::Allow(permit) => permit,
        other => panic!("{other:?}"),
    }
}

/// Any fields of a client, dressed in the order of the pipeline: nothing says who asks but the permit, and each of our fields stands there
/// once. Trailers say nothing of it either.
pub fn firewall(data: &[u8]) {
    let sent = fields(data);
    let ada = Arc::new(Identity::new("ada", Some("Ada"), None, &["staff"]));
    for (odd, identity) in [(OddNames::Drop, None), (OddNames::Pass, Some(&ada))] {
        let mut headers = sent.clone();
        hop_by_hop::strip_request(&mut headers);
        FIREWALL.strip(&mut headers, odd);
        method_override::strip(&mut headers);
        let connection = ConnectionValues::new(Some("192.0.2.9:1".parse().unwrap()), false, &[]);
        let client = connection.client(&headers, &[]);
        connection.set_forwarded(&mut headers, &client);
        for name in headers.keys() {
            assert!(!says_who(&folded(name)), "{name}");
            let plain = name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            assert!(odd == OddNames::Pass || plain, "{name}");
            let framing = matches!(
                &*folded(name),
                "transfer-encoding" | "content-length" | "x-real-ip" | "x-forwarded-for"
            );
            assert!(plain || !framing, "{name} looks like a field of ours");
        }
        for preset in presets() {
            let mut dressed = headers.clone();
            InjectedHeaders::new(&preset).inject(&mut dressed, &permit(identity));
            let who: Vec<_> = dressed.keys().filter(|name| says_who(&folded(name))).collect();
            assert_eq!(who.is_empty(), identity.is_none(), "{who:?}");
            for name in who {
                let values: Vec<_> = dressed.get_all(name).iter().collect();
                assert!(
                    values.len() == 1 && (values[0] == "ada" || values[0] == "Ada" || values[0] == "staff"),
                    "{name}: {values:?}"
                );
            }
        }
        let mut trailers = sent.clone();
        keep_permitted(&mut trailers, |name| !FIREWALL.refuses(name, odd));
        assert!(!trailers.keys().any(|name| says_who(&folded(name))));
    }
    if let Some(id) = given_id(&sent) {
        assert!(
            id.len() <= 64 && id.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\<>,;&".contains(&b)),
            "{id}"
        );
    }
    let _ = RequestKind::of(&http::Method::GET, &sent);
    let host = Host::parse("app.test:8080").unwrap();
    if form_origin(&sent, &host) == FormOrigin::Same && !sent.contains_key("sec-fetch-site") {
        let origin = Url::parse(sent["origin"].to_str().unwrap()).unwrap();
        assert_eq!((origin.host_str(), origin.port()), (Some("app.test"), Some(8080)));
    }
}

fn given_id(headers: &HeaderMap) -> Option<String> {
    static OWN: LazyLock<RequestIdSeed> = LazyLock::new(|| RequestIdSeed::new(&SystemRandom).unwrap());
    let id = OWN.worker(0).next().or_given(headers);
    assert_eq!(id.header().to_str().unwrap(), id.text());
    headers.contains_key(request_id::X_REQUEST_ID).then(|| id.text())
}

/// Any body of a form: each field once, the same as the query has them. And any change of a form token (as in the session cookie's
/// target): none is good but the one that was issued.
pub fn form(data: &[u8]) {
    if let Ok(mut form) = Form::parse(data) {
        let mut names = HashSet::new();
        for (name, value) in form_urlencoded::parse(data) {
            assert!(names.insert(name.clone()), "{name} stands twice");
            assert_eq!(form.field(&name), value);
            let query = std::str::from_utf8(data).ok();
            assert!(query.is_none() || query_field(query, &name) == Ok(Some(value.clone().into_owned())));
            assert_eq!((form.take(&name), form.field(&name)), (value.into_owned(), ""));
        }
    }
    static TOKENS: LazyLock<FormTokens> = LazyLock::new(|| FormTokens::new(&Secret::new((0..40).collect())));
    let now = Timestamp::from_secs(1_800_000_000);
    let genuine = TOKENS.issue(Binding::Nonce("nonce"), now);
    let mut token = genuine.clone().into_bytes();
    match data {
        [1, changes @ ..] => {
            for change in changes.chunks_exact(2) {
                let at = usize::from(change[0]) % token.len();
                token[at] = change[1];
            }
        }
        _ => token = data.to_vec(),
    }
    let Ok(token) = std::str::from_utf8(&token) else { return };
    assert!(!TOKENS.verify(token, Binding::Session(b"nonce"), now));
    assert!(!TOKENS.verify(token, Binding::Nonce("other"), now));
    assert_eq!(TOKENS.verify(token, Binding::Nonce("nonce"), now), token == genuine);
}

/// Any answer of an upstream, `Location` in the first line and fields in the rest: what we change of the one leads nowhere but to
/// ourselves, and what was made for one user is kept by no shared cache.
pub fn response(data: &[u8]) {
    let (location, rest) = first_line(data);
    let own: Vec<Box<str>> = vec!["app.internal:3000".into()];
    let base = Url::parse("http://app.test:8080/wiki/x").unwrap();
    let strip = PathRewrite::new("/wiki", false, "/");
    let rewrites = [
        None,
        Some(&strip),
        Some(&PathRewrite::new("/", false, "/app")),
        Some(&PathRewrite::new("/a", true, "/b")),
    ];
    for rewrite in rewrites {
        let Ok(value) = HeaderValue::from_bytes(location) else { break };
        let mut headers = HeaderMap::from_iter([(LOCATION, value.clone())]);
        restore_location(&mut headers, rewrite, &own);
        if headers[LOCATION] != value {
            let text = headers[LOCATION].to_str().unwrap();
            let led = base.join(text).expect("a browser can follow it");
            assert_eq!(led.origin(), base.origin(), "{value:?} became {text:?}");
        }
    }
    let mut headers = fields(rest);
    hop_by_hop::strip_response(&mut headers);
    make_private(&mut headers);
    let lines: Vec<_> = headers.get_all(CACHE_CONTROL).iter().collect();
    let [line] = lines[..] else { panic!("{lines:?}") };
    let said = directives(line.as_bytes());
    assert!(said.iter().any(|d| d == "private" || d == "no-store"), "{line:?}");
    let shared = |d: &String| {
        matches!(d.split('=').next().unwrap().trim(), "public" | "s-maxage" | "proxy-revalidate")
    };
    assert!(!said.iter().any(shared), "{line:?}");
}

/// The directives of a Cache-Control field, as a cache that knows quotes reads them.
fn directives(line: &[u8]) -> Vec<String> {
    let (mut found, mut quoted, mut escaped) = (vec![String::new()], false, false);
    for c in line.iter().map(|byte| char::from(*byte).to_ascii_lowercase()) {
        match c {
            ',' if !quoted => found.push(String::new()),
            _ => {
                quoted ^= c == '"' && !escaped;
                escaped = quoted && c == '\\' && !escaped;
                found.last_mut().unwrap().push(c);
            }
        }
    }
    found.iter().map(|directive| directive.trim().to_owned()).collect()
}

/// Any line on the admin socket, from either side: what is read as a request is one, and says the same when it is written again.
pub fn admin(data: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(data) {
        let written = serde_json::to_vec(&request).unwrap();
        assert_eq!(serde_json::from_slice::<Request>(&written).unwrap(), request);
    }
    if let Ok(upload) = serde_json::from_slice::<Upload>(data) {
        let written = serde_json::to_vec(&upload).unwrap();
        assert_eq!(serde_json::from_slice::<Upload>(&written).unwrap(), upload);
    }
    let _ = serde_json::from_slice::<Answer<SessionItem, Count>>(data);
}
