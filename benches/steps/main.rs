//! What each step of a request's way costs, alone: `cargo bench --bench steps [-- PART OF A NAME]`.
//!
//! The functions are those that the pipeline calls, in its order: the watch over the head's bytes, normalise, match, identify,
//! decide, dress. The heads are those of common clients, see `heads.rs`; the routes are ten thousand, see `rig.rs`. Figures of a
//! shared machine mean little alone: keep those from before a change (`-- --save-baseline before`) and look at the difference
//! (`-- --baseline before`). What a million sessions cost is `benches/sessions/lookup.rs`.

#![expect(unreachable_pub, reason = "nothing outside sees a benchmark")]

mod heads;
mod rig;

use std::error::Error;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion};
use fluidgate::base::clock::Clock;
use fluidgate::base::secret::SystemRandom;
use fluidgate::gateway::RouteTarget;
use fluidgate::gateway::connection::Connection;
use fluidgate::gateway::dress::{Passage, dress};
use fluidgate::gateway::endpoints::caller;
use fluidgate::gateway::recall::Recall;
use fluidgate::gateway::request_id::RequestIdSeed;
use fluidgate::policy::{Access, Decision, Facts, decide};
use fluidgate::server::Peer;
use fluidgate::session::{Activity, Caller};
use fluidgate::web::head_watch::HeadWatch;
use fluidgate::web::normalize::{NormalRequest, normalize};
use fluidgate::web::route::RouteMatch;
use http::header::{COOKIE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request};

use crate::heads::Head;
use crate::rig::{HOSTS, Rig, TEAMS, WILDCARDS};

fn main() -> Result<(), Box<dyn Error>> {
    let rig = Rig::build()?;
    let heads = heads::all(rig.cookies.first().ok_or("no session")?)?;
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    watch(&mut criterion, &heads);
    normalise(&mut criterion, &rig, &heads)?;
    find(&mut criterion, &rig)?;
    identify(&mut criterion, &rig, &heads)?;
    judge(&mut criterion, &rig)?;
    put_on(&mut criterion, &rig, &heads)?;
    criterion.final_summary();
    Ok(())
}

/// What is seen of a head on the wire, beside the library that reads it.
fn watch(criterion: &mut Criterion, heads: &[Head]) {
    let mut group = criterion.benchmark_group("watch");
    for head in heads {
        group.bench_function(head.name, |bencher| {
            let watch = HeadWatch::default();
            bencher.iter(|| {
                watch.read(black_box(head.wire.as_bytes()));
                watch.take()
            });
        });
    }
}

fn normalise(criterion: &mut Criterion, rig: &Rig, heads: &[Head]) -> Result<(), Box<dyn Error>> {
    let limits = rig.config.gateway.head;
    let mut group = criterion.benchmark_group("normalise");
    for head in heads {
        normalize(&head.request, Some(head.facts))?;
        group.bench_function(head.name, |bencher| {
            bencher.iter(|| {
                let request = black_box(&head.request);
                limits.judge(request).and_then(|()| normalize(request, Some(head.facts)))
            });
        });
    }
    Ok(())
}

/// One of ten thousand routes, another one each time.
fn find(criterion: &mut Criterion, rig: &Rig) -> Result<(), Box<dyn Error>> {
    let routes = rig.gateway.routes();
    let watch = HeadWatch::default();
    watch.read(b"GET / HTTP/1.1\r\n\r\n");
    let facts = watch.take();
    let mut group = criterion.benchmark_group("match");
    let places = [
        ("path", TEAMS, "apps.example.com/team*/wiki/Main_Page"),
        ("host", HOSTS, "app*.example.com/wiki/Main_Page"),
        ("wildcard", WILDCARDS, "eu.zone*.example.net/wiki/Main_Page"),
        ("nowhere", TEAMS, "nowhere*.example.com/wiki/Main_Page"),
    ];
    for (name, count, place) in places {
        let requests = (0..count).map(|n| get(&place.replace('*', &n.to_string())));
        let requests = requests.collect::<Result<Vec<_>, _>>()?;
        let normal = requests.iter().map(|r| normalize(r, facts)).collect::<Result<Vec<_>, _>>()?;
        let find = |normal: &NormalRequest<'_>| {
            matches!(routes.find(&normal.host.name, &normal.path, &Method::GET), RouteMatch::One(_))
        };
        if !normal.iter().all(|normal| find(normal) == (name != "nowhere")) {
            return Err(format!("{name}: another answer than it should be").into());
        }
        let mut next = normal.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(next.next()).map(find));
        });
    }
    Ok(())
}

/// From a cookie to whose session it is: by the memory of a kept connection, and from nothing, another session each time.
fn identify(criterion: &mut Criterion, rig: &Rig, heads: &[Head]) -> Result<(), Box<dyn Error>> {
    let (now, nobody) = (rig.clock.now(), Caller::from(false));
    let mut group = criterion.benchmark_group("identify");
    for head in heads {
        let recall = Recall::default();
        let find = |headers: &HeaderMap| {
            let (managed, _) = recall.manage(&rig.sessions, headers, nobody, Activity::Counts, now);
            managed.session.and_then(|session| session.identity())
        };
        find(head.request.headers()).ok_or("no session")?;
        group.bench_function(BenchmarkId::new("again", head.name), |bencher| {
            bencher.iter(|| find(black_box(head.request.headers())));
        });
    }
    let fields = |cookie: &String| Ok::<_, http::Error>(HeaderMap::from_iter([(COOKIE, cookie.parse()?)]));
    let requests = rig.cookies.iter().map(fields).collect::<Result<Vec<_>, _>>()?;
    let recall = Recall::default();
    let mut next = requests.iter().cycle();
    group.bench_function("another", |bencher| {
        bencher.iter(|| {
            let headers = black_box(next.next())?;
            let (managed, _) = recall.manage(&rig.sessions, headers, nobody, Activity::Counts, now);
            managed.session.and_then(|session| session.identity())
        });
    });
    Ok(())
}

fn judge(criterion: &mut Criterion, rig: &Rig) -> Result<(), Box<dyn Error>> {
    let ada = rig.identity()?;
    let facts = Facts { identity: Some(&ada), certificate: &[] };
    let members = |users: &[&str], groups: &[&str]| Access::Members {
        users: users.iter().map(|user| (*user).into()).collect(),
        groups: groups.iter().map(|group| (*group).into()).collect(),
        certificates: Vec::new(),
    };
    let mut group = criterion.benchmark_group("decide");
    let rules = [
        ("public", Access::Public),
        ("authenticated", Access::Authenticated),
        ("members", members(&["bob", "eve", "zoe"], &["admin", "editors", "wiki"])),
    ];
    for (name, access) in rules {
        let allows = matches!(decide(&access, &facts), Decision::Allow(_));
        if !allows {
            return Err(format!("{name}: not allowed").into());
        }
        group.bench_function(name, |bencher| bencher.iter(|| decide(black_box(&access), black_box(&facts))));
    }
    Ok(())
}

/// All that is taken off a request and put on it for the upstream.
fn put_on(criterion: &mut Criterion, rig: &Rig, heads: &[Head]) -> Result<(), Box<dyn Error>> {
    let (gateway, now) = (&rig.gateway, rig.clock.now());
    let ids = RequestIdSeed::new(&SystemRandom)?.worker(0);
    let ada = rig.identity()?;
    let facts = Facts { identity: Some(&ada), certificate: &[] };
    let Decision::Allow(permit) = decide(&Access::Authenticated, &facts) else {
        return Err("refused".into());
    };
    let mut group = criterion.benchmark_group("dress");
    for head in heads {
        let normal = normalize(&head.request, Some(head.facts))?;
        let found = gateway.routes().find(&normal.host.name, &normal.path, &Method::GET);
        let RouteMatch::One(route) = found else { return Err("no route".into()) };
        let route: &RouteTarget = route;
        let connection = Connection::new(&Peer::at(Some(([192, 0, 2, 7], 40_000).into())), gateway);
        let client = connection.client(gateway, head.request.headers());
        let (headers, caller) = (head.request.headers(), caller(&client));
        let (_, withheld) = connection.recall.manage(&rig.sessions, headers, caller, Activity::Counts, now);
        let id = ids.next();
        let undressed = || (head.request.clone(), id.header());
        let dressed = |(mut request, id_field): (Request<()>, HeaderValue)| {
            let (client, via) = (&client, ids.via());
            let (connection, withheld) = (&connection, withheld.clone());
            let passage = Passage { gateway, connection, client, route, via, id, id_field, withheld };
            let done = dress(&mut request, passage, &permit);
            (request, done)
        };
        if dressed(undressed()).0.headers().get("remote-user").is_none_or(|user| user != "ada") {
            return Err(format!("{}: not dressed", head.name).into());
        }
        group.bench_function(head.name, |bencher| {
            bencher.iter_batched(undressed, dressed, BatchSize::SmallInput);
        });
    }
    Ok(())
}

fn get(place: &str) -> Result<Request<()>, http::Error> {
    let (host, path) = place.split_once('/').unwrap_or((place, ""));
    Request::get(format!("/{path}")).header(HOST, host).body(())
}
