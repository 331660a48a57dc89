//! How often one request makes the gateway ask for memory: exactly as often as [`COSTS`] says.
//!
//! Time on a shared machine says little; this number is the same everywhere, so a commit that makes requests dearer shows here,
//! and so does one that makes them cheaper: then lower the number. It counts what `alloc` and `realloc` were called for, in a
//! build for tests, in the whole process: the real gateway with one worker and its access log on, a browser's headers, a kept
//! connection on both sides, an answer of 1 KiB. The client and the upstream ask for no memory once they run, so what is counted
//! is the gateway's. What happens now and then (a sweep, a full batch of the log) falls into some batches of requests and not into most.
//!
//! Where it is asked for, and what a silent connection keeps: `ALLOCATION_SITES=1 cargo test --test allocations -- --nocapture`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test stops at what it did not expect"
)]

mod count;
mod http1;
mod http2;
mod idle;
#[path = "../integration/support/mod.rs"]
#[expect(dead_code, reason = "the behaviour tests use the rest")]
mod support;
mod upstream;

use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use fluidgate::base::secret::{Random, RandomError};
use support::PATIENCE;
use support::gateway::Setup;
use support::tls::{Authority, TlsClient};

use crate::count::{Cost, most_frequent, print_sites};
use crate::upstream::Upstream;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// What is asked, and how often one request asks for memory.
const COSTS: &[(&str, u64)] = &[
    ("HTTP/1.1, public", 13),
    ("HTTP/1.1, with a session", 15),
    ("HTTP/2, public", 19),
    ("HTTP/2, with a session", 21),
];

const LISTEN: &str = r#"["127.0.0.1:0", { address = "127.0.0.1:0", h2c = true }]"#;

/// The fields that a browser sends with a request for a picture of a page, cookies apart.
pub const FIELDS: &[(&str, &str)] = &[
    ("sec-ch-ua-platform", "\"Linux\""),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
    ),
    ("sec-ch-ua", "\"Not)A;Brand\";v=\"8\", \"Chromium\";v=\"138\", \"Google Chrome\";v=\"138\""),
    ("sec-ch-ua-mobile", "?0"),
    ("accept", "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "no-cors"),
    ("sec-fetch-dest", "image"),
    ("referer", "http://wiki.test/wiki/Main_Page"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9,de;q=0.8"),
];

/// Randomness that is none, so that every run is the same: the ids of requests are made of it, and one that begins with a zero
/// takes more to write. Those of this never do.
struct Ones;

impl Random for Ones {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        bytes.fill(0x11);
        Ok(())
    }
}

fn routes(upstream: &Upstream) -> String {
    let url = upstream.url();
    format!(
        "[[routes]]\nupstream = [\"{url}\"]\n[[routes]]\npath = \"/open\"\naccess = \"public\"\nupstream = [\"{url}\"]\n"
    )
}

/// Bytes that the gateway may keep for a silent connection of HTTP/1, plain and over TLS.
const KEPT: [usize; 2] = [1_900, 8_800];

/// Counts are of the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn a_silent_connection_keeps_no_more_than_is_written_here() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let upstream = Upstream::start();
    let authority = Authority::new();
    // The log's batches are of the worker, not of its connections, and come and go while these are counted.
    let gateway = Setup { workers: 1, access_log: r#""off""#, ..Setup::routes(routes(&upstream)) }
        .tls(&authority, &["wiki.test"])
        .start();
    let cookie = format!("Cookie: {}\r\n", gateway.cookie_of("ada"));
    let plain = idle::kept(
        || {
            let mut stream = TcpStream::connect(gateway.address()).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            idle::ask(&mut stream, "/wiki/picture.png", &cookie);
            stream
        },
        KEPT[0],
    );
    let client = TlsClient::trusting(&authority);
    let over_tls = idle::kept(
        || {
            let mut stream = client.connect(gateway.tls_address(), "wiki.test").unwrap();
            idle::ask(&mut stream, "/open/picture.png", "");
            stream.into_parts().1
        },
        KEPT[1],
    );
    println!("plain: {plain} bytes, over TLS: {over_tls} bytes");
    assert!(
        plain <= KEPT[0] && over_tls <= KEPT[1],
        "plain: {plain}, over TLS: {over_tls}; at most {KEPT:?}"
    );
}

#[test]
fn a_request_asks_for_memory_exactly_as_often_as_is_written_here() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let upstream = Upstream::start();
    let gateway = Setup { workers: 1, random: Arc::new(Ones), ..Setup::routes(routes(&upstream)) }
        .listen(LISTEN)
        .start();
    let cookie = gateway.cookie_of("ada");
    let asked = [("/open/picture.png", None), ("/wiki/picture.png", Some(cookie.as_str()))];

    let mut askers: Vec<Box<dyn FnMut()>> = Vec::new();
    for (path, cookie) in asked {
        let mut client = http1::Client::connect(gateway.address(), path, cookie);
        askers.push(Box::new(move || client.ask()));
    }
    for (path, cookie) in asked {
        let mut client = http2::Client::connect(gateway.listener(1), path, cookie);
        askers.push(Box::new(move || client.ask()));
    }
    assert_eq!(askers.len(), COSTS.len());

    let mut wrong = Vec::new();
    for ((what, written), ask) in COSTS.iter().zip(&mut askers) {
        let (counted, batches) = most_frequent(ask);
        println!("{what}: {counted} ({batches} batches)");
        if counted != Cost::of_each(*written) {
            wrong.push(format!("{what}: {counted}, and here it says {written}"));
        }
        print_sites(ask);
    }
    assert!(
        wrong.is_empty(),
        "write what is better, and find out what is worse (see above):\n{}",
        wrong.join("\n")
    );
}
