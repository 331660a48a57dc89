use std::cell::Cell;

use super::*;
use crate::web::path::read_path;

fn table(routes: &[(Option<&str>, &str, &'static str)]) -> RouteTable<&'static str> {
    let mut table = RouteTable::default();
    for (host, path, name) in routes {
        assert!(table.insert(&Place::below(*host, path), *name));
    }
    table
}

fn found<'a>(table: &'a RouteTable<&'static str>, host: &str, path: &str) -> RouteMatch<'a, &'static str> {
    table.find(host, &read_path(path).unwrap(), &Method::GET)
}

thread_local! { static LOOKUPS: Cell<u64> = const { Cell::new(0) } }

pub(super) fn count_lookup() {
    LOOKUPS.set(LOOKUPS.get() + 1);
}

#[test]
fn the_longest_prefix_by_segment_wins() {
    let table = table(&[(None, "/", "root"), (None, "/pub", "pub"), (None, "/pub/deep/er", "deep")]);
    for (path, name) in [
        ("/", "root"),
        ("/x", "root"),
        ("/pub", "pub"),
        ("/pub/", "pub"),
        ("/pub/x", "pub"),
        ("/pubX", "root"),
        ("/pub..", "root"),
        ("/pub/deep/er", "deep"),
        ("/pub/deep/er/x/y/z", "deep"),
        ("/pub/deep/erx", "pub"),
        ("/%70ub/x", "pub"),
    ] {
        assert_eq!(found(&table, "h", path), RouteMatch::One(&name), "{path}");
    }
}

#[test]
fn exact_host_then_longest_wildcard_then_any() {
    let table = table(&[
        (Some("a.corp.test"), "/", "exact"),
        (Some("*.corp.test"), "/", "wild"),
        (Some("*.b.corp.test"), "/", "deeper"),
        (None, "/any", "any"),
    ]);
    for (host, name) in [
        ("a.corp.test", "exact"),
        ("x.corp.test", "wild"),
        ("x.y.b.corp.test", "deeper"),
        ("b.corp.test", "wild"),
    ] {
        assert_eq!(found(&table, host, "/"), RouteMatch::One(&name), "{host}");
    }
    assert_eq!(found(&table, "corp.test", "/"), RouteMatch::None);
    assert_eq!(found(&table, "evilcorp.test", "/any/x"), RouteMatch::One(&"any"));
}

#[test]
fn readings_that_lead_to_different_routes_are_ambiguous() {
    let table = table(&[(None, "/", "root"), (None, "/prot", "prot")]);
    for path in ["//prot", "/prot;x/y", "/%2fprot", "/x%2f..x/../"] {
        if let Ok(read) = read_path(path) {
            assert_eq!(table.find("h", &read, &Method::GET), RouteMatch::Ambiguous, "{path}");
        }
    }
    assert_eq!(found(&table, "h", "/x//y;z"), RouteMatch::One(&"root"));
    assert_eq!(found(&table, "h", "/prot//y"), RouteMatch::One(&"prot"));
}

#[test]
fn a_path_that_leads_elsewhere_without_regard_to_case_is_ambiguous() {
    let mut table = table(&[
        (None, "/", "root"),
        (None, "/admin", "admin"),
        (None, "/Wiki", "wiki"),
        (None, "/api", "lower"),
        (None, "/API", "upper"),
    ]);
    assert!(table.insert(&exactly("/admin/key"), "key"));
    for (path, name) in [
        ("/admin/Users", "admin"),
        ("/Administration", "root"),
        ("/x/Admin", "root"),
        ("/Wiki/Main_Page", "wiki"),
        ("/api/x", "lower"),
        ("/API/x", "upper"),
        ("/admin/keys", "admin"),
        ("/admin/key/X", "admin"),
    ] {
        assert_eq!(found(&table, "h", path), RouteMatch::One(&name), "{path}");
    }
    for path in ["/Admin", "/ADMIN/x", "/%41dmin", "//Admin", "/wiki/x", "/WIKI", "/admin/KEY"] {
        assert_eq!(found(&table, "h", path), RouteMatch::Ambiguous, "{path}");
    }
    assert_eq!(found(&table, "h", "/Api"), RouteMatch::Ambiguous);
}

#[test]
fn an_exact_path_and_a_prefix_that_differ_in_case_are_each_served_as_they_are_spelt_and_in_no_other_way() {
    let build = |exact_first: bool, exact: &'static str, prefix: &'static str| {
        let mut table = table(&[(None, "/", "root")]);
        let mut places = [(exactly(exact), "exact"), (Place::below(None, prefix), "prefix")];
        if !exact_first {
            places.reverse();
        }
        assert!(places.iter().all(|(place, name)| table.insert(place, *name)));
        table
    };
    for exact_first in [true, false] {
        for (exact, prefix) in [("/Wiki", "/wiki"), ("/wiki", "/Wiki")] {
            let table = build(exact_first, exact, prefix);
            let below = format!("{prefix}/Page");
            for (path, name) in [(exact, "exact"), (prefix, "prefix"), (below.as_str(), "prefix")] {
                assert_eq!(found(&table, "h", path), RouteMatch::One(&name), "{path} {exact} {exact_first}");
            }
            let other = format!("{exact}/page");
            for path in ["/WIKI", "/wIki/x", &other, "//wikI"] {
                assert_eq!(found(&table, "h", path), RouteMatch::Ambiguous, "{path} {exact} {exact_first}");
            }
        }
        let longer = build(exact_first, "/Wiki/Key", "/Wiki");
        assert_eq!(found(&longer, "h", "/Wiki/key"), RouteMatch::Ambiguous);
        let slash = build(exact_first, "/Wiki/", "/wiki");
        assert_eq!(found(&slash, "h", "/wiki"), RouteMatch::One(&"prefix"));
        assert_eq!(found(&slash, "h", "/wiki/"), RouteMatch::Ambiguous, "no route spells it");
    }
}

#[test]
fn a_host_is_served_when_a_route_names_it_or_covers_it() {
    let table = table(&[(Some("a.test"), "/x", "one"), (Some("*.b.test"), "/", "two")]);
    for (host, served) in
        [("a.test", true), ("b.test", false), ("x.b.test", true), ("y.x.b.test", true), ("c", false)]
    {
        assert_eq!(table.serves(host), served, "{host}");
    }
}

#[test]
fn a_tie_is_not_added() {
    let mut table = table(&[(Some("h"), "/a", "one")]);
    assert!(!table.insert(&Place::below(Some("h"), "/a"), "two"));
    assert_eq!(found(&table, "h", "/a"), RouteMatch::One(&"one"));
}

fn exactly(path: &str) -> Place<'_> {
    Place { exact: true, ..Place::below(None, path) }
}

#[test]
fn an_exact_path_takes_that_path_alone_and_before_any_prefix() {
    let mut table = table(&[(None, "/", "root"), (None, "/a", "below")]);
    assert!(table.insert(&exactly("/a"), "exact"));
    assert!(table.insert(&exactly("/a/b/"), "slash"));
    for (path, name) in [
        ("/a", "exact"),
        ("/%61", "exact"),
        ("/a/", "below"),
        ("/a/b", "below"),
        ("/a/b/", "slash"),
        ("/a/b/c", "below"),
        ("/B", "root"),
    ] {
        assert_eq!(found(&table, "h", path), RouteMatch::One(&name), "{path}");
    }
    for path in ["//a", "/a;x", "/a%2f", "/a/b//", "/a//b/", "/a%3fx", "/A"] {
        assert_eq!(found(&table, "h", path), RouteMatch::Ambiguous, "{path}");
    }
}

#[test]
fn the_method_chooses_among_the_routes_of_one_place_and_never_leads_away_from_it() {
    let mut table = table(&[(None, "/", "root")]);
    let named = |methods| Place { methods, ..Place::below(None, "/api") };
    let (get, put) = ([Method::GET], [Method::PUT, Method::POST]);
    assert!(table.insert(&named(&get), "read"));
    assert!(table.insert(&named(&put), "write"));
    let at = |table: &RouteTable<&'static str>, method: Method| match table.find(
        "h",
        &read_path("/api/x").unwrap(),
        &method,
    ) {
        RouteMatch::One(name) => Ok(*name),
        RouteMatch::Method(methods) => Err(methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")),
        other => panic!("{other:?}"),
    };
    assert_eq!(at(&table, Method::GET), Ok("read"));
    assert_eq!(at(&table, Method::HEAD), Ok("read"));
    assert_eq!(at(&table, Method::POST), Ok("write"));
    assert_eq!(at(&table, Method::DELETE), Err("GET, PUT, POST, HEAD".into()));
    assert!(table.insert(&Place::below(None, "/api"), "rest"));
    assert_eq!(at(&table, Method::DELETE), Ok("rest"));
    assert_eq!(at(&table, Method::GET), Ok("read"));
    assert!(!table.insert(&named(&[Method::PATCH, Method::POST]), "tie"));
    assert!(!table.insert(&Place::below(None, "/api"), "tie"));
    let spelt = Method::from_bytes(b"pOST").unwrap();
    assert_eq!(at(&table, spelt), Err("GET, PUT, POST, HEAD".into()), "for some it is POST");
    assert!(table.insert(&named(&[Method::HEAD]), "head"));
    assert_eq!(at(&table, Method::HEAD), Ok("head"));
}

#[test]
fn ten_thousand_routes_cost_as_many_lookups_as_one() {
    let lookups = |table: &RouteTable<usize>, path: &str| {
        LOOKUPS.set(0);
        assert!(matches!(table.find("h", &read_path(path).unwrap(), &Method::GET), RouteMatch::One(_)));
        LOOKUPS.get()
    };
    let (mut one, mut many) = (RouteTable::default(), RouteTable::default());
    assert!(one.insert(&Place::below(None, "/app0000/x"), 0));
    for number in 0..10_000 {
        assert!(many.insert(&Place::below(None, &format!("/app{number:04}/x")), number));
    }
    for path in ["/app0000/x", "/app0000/x/a/b/c/d/e/f/g"] {
        assert_eq!(lookups(&many, path), lookups(&one, path), "{path}");
    }
    assert_eq!(many.find("h", &read_path("/app9999/x/y").unwrap(), &Method::GET), RouteMatch::One(&9999));
}
