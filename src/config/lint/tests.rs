use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::super::tests::{GOOD, checked, folder};
use super::super::{Severity, parse};

/// What is said of these routes, without places; `U` stands for one and the same upstream.
fn said(routes: &str) -> Vec<String> {
    let text = format!("{GOOD}{}", routes.replace("U\n", "upstream = [\"http://127.0.0.1:3000\"]\n"));
    let problems = checked(&text).map_or_else(|p| p, |l| l.warnings);
    problems.list().iter().map(|p| format!("{}: {}", p.line, p.what)).collect()
}

#[track_caller]
fn only(routes: &str, expected: &str) {
    let said = said(routes);
    assert!(said.len() == 1 && said[0].contains(expected), "{expected}\nis not all of\n{said:#?}\n{routes}");
}

const PUBLIC: &str = "access = \"public\"\nU\n";

fn route(lines: &str) -> String {
    format!("[[routes]]\n{lines}\n")
}

#[test]
fn ordinary_configurations_say_nothing() {
    let other = "upstream = [\"http://127.0.0.1:4000\"]\n";
    for routes in [
        // A protected app with public corners, a public site with protected ones.
        route("U")
            + &route(&format!("path = \"/assets\"\n{PUBLIC}"))
            + &route(&format!("path = \"/hook\"\nexact = true\n{PUBLIC}")),
        route(PUBLIC)
            + &route("path = \"/admin\"\nU")
            + &route("path = \"/admin/root\"\naccess = { groups = [\"g\"] }\nU"),
        // A public landing page.
        route("U") + &route(&format!("exact = true\n{PUBLIC}")),
        // Hosts with rules of their own, before one upstream that tells them apart.
        route("host = \"wiki.test\"\nU") + &route(&format!("host = \"www.test\"\n{PUBLIC}")),
        route("U") + &route(&format!("host = \"www.test\"\n{PUBLIC}")),
        route("host = \"*.test\"\nU") + &route(&format!("host = \"www.test\"\n{PUBLIC}")),
        // One public fallback that leads elsewhere.
        route("host = \"wiki.test\"\nU") + &route(&format!("access = \"public\"\n{other}")),
        route("host = \"wiki.test\"\nU") + &route("access = \"public\"\nrespond = { status = 404 }"),
        // Reading for all, writing for some, by names.
        route(&format!("path = \"/api\"\nmethods = [\"GET\"]\n{PUBLIC}")) + &route("path = \"/api\"\nU"),
        route(&format!("path = \"/api\"\nmethods = [\"GET\"]\n{PUBLIC}"))
            + &route("path = \"/api\"\nmethods = [\"POST\", \"PUT\"]\nU"),
        route("path = \"/api\"\nmethods = [\"GET\", \"POST\"]\nU") + &route("path = \"/api\"\nU"),
        // Another upstream behind a prefix that is stripped.
        route("U")
            + &route(&format!("path = \"/status\"\nstrip_prefix = true\naccess = \"public\"\n{other}")),
        // Both protected, so nothing to get around.
        route("U") + &route("path = \"/app\"\nstrip_prefix = true\nU"),
        route("path = \"/a\"\nexact = true\nU") + &route("U"),
    ] {
        assert_eq!(said(&routes), Vec::<String>::new(), "{routes}");
    }
}

#[test]
fn an_exact_path_whose_neighbour_lets_in_more_is_warned_of() {
    let exact = "path = \"/a\"\nexact = true\n";
    only(&(route(PUBLIC) + &route(&format!("{exact}U"))), "needs a session, but \"/a/\" beside it is public");
    only(&(route(PUBLIC) + &route("path = \"/a/\"\nexact = true\nU")), "but \"/a\" beside it is public");
    // Of the routes of another host too, which take what the host's own ones do not cover.
    let host = format!("host = \"wiki.test\"\n{exact}upstream = [\"http://127.0.0.1:4000\"]\n");
    only(&(route(PUBLIC) + &route(&host)), "but \"/a/\" beside it is public");
    // By the methods that the route takes.
    let read = format!("methods = [\"GET\"]\n{PUBLIC}");
    only(&(route(&read) + &route(&format!("{exact}U"))), "is public");
    assert_eq!(
        said(&(route(&read) + &route(&format!("{exact}methods = [\"POST\"]\nU")))),
        Vec::<String>::new()
    );
    let staff = format!("{exact}access = {{ groups = [\"staff\"] }}\nU");
    only(
        &(route("U") + &route(&staff)),
        "is for some only, but \"/a/\" beside it takes everybody who is signed in",
    );
}

#[test]
fn paths_that_differ_in_case_only_and_in_their_rule_are_warned_of() {
    let admin = route("path = \"/admin\"\nU");
    for open in ["/Admin", "/ADMIN/pictures", "/aDmin/"] {
        only(
            &(admin.clone() + &route(&format!("path = \"{open}\"\n{PUBLIC}"))),
            "only by upper and lower case",
        );
    }
    let mut quiet = admin.clone() + &route(&format!("path = \"/admin/Pictures\"\n{PUBLIC}"));
    quiet += &route("path = \"/Admin\"\nU");
    assert_eq!(said(&quiet), Vec::<String>::new());
}

#[test]
fn a_prefix_whose_own_page_is_refused_is_warned_of_and_one_beside_its_wrong_capital_is_not() {
    let beside =
        |exact: &str| route("path = \"/wiki\"\nU") + &route(&format!("path = \"{exact}\"\nexact = true\nU"));
    only(&beside("/Wiki/"), "\"/wiki/\" of this route is refused");
    for quiet in ["/Wiki", "/wiki/", "/wiki"] {
        assert_eq!(said(&beside(quiet)), Vec::<String>::new(), "{quiet}");
    }
}

#[test]
fn methods_that_fall_to_a_laxer_route_of_the_same_place_are_warned_of() {
    let open = route(&format!("path = \"/api\"\n{PUBLIC}"));
    only(
        &(route("path = \"/api\"\nmethods = [\"POST\"]\nU") + &open),
        "fall to the one in line 10, which is public",
    );
    only(&(route("path = \"/api\"\nmethods = [\"GET\"]\nU") + &open), "is public");
}

#[test]
fn a_prefix_that_is_stripped_or_replaced_and_leads_behind_a_rule_is_warned_of() {
    let admin = route("path = \"/admin\"\nU");
    for (lines, path) in [
        ("path = \"/app\"\nstrip_prefix = true\n", "\"/app/admin\""),
        ("path = \"/app\"\nreplace_prefix = \"/admin\"\n", "\"/app\""),
        ("path = \"/x\"\nreplace_prefix = \"/admin\"\nexact = true\n", "\"/x\""),
    ] {
        only(
            &(admin.clone() + &route(&format!("{lines}{PUBLIC}"))),
            &format!("{path} on any host is public, and leads"),
        );
    }
    // A route of its own mends it.
    let mended = admin.clone()
        + &route(&format!("path = \"/app\"\nstrip_prefix = true\n{PUBLIC}"))
        + &route("path = \"/app/admin\"\nreplace_prefix = \"/admin\"\nU");
    assert_eq!(said(&mended), Vec::<String>::new());
    // The whole app by another name.
    only(
        &(route("U") + &route(&format!("path = \"/app\"\nstrip_prefix = true\n{PUBLIC}"))),
        "\"/app\" on any host",
    );
}

#[test]
fn an_app_that_is_protected_by_one_host_only_is_warned_of() {
    let wiki = route("host = \"wiki.test\"\nU");
    only(
        &(wiki.clone() + &route(PUBLIC)),
        "\"/\" on any host is public, and leads to what the route in line 6",
    );
    only(&(wiki.clone() + &route(&format!("host = \"*.test\"\n{PUBLIC}"))), "on *.test is public");
    // One that the app is told of as the same host, whatever the client asked for.
    let named =
        |host: &str, access: &str| route(&format!("host = \"{host}\"\nhost_header = \"app.test\"\n{access}"));
    only(&(named("wiki.test", "U") + &named("www.test", PUBLIC)), "on www.test is public");
}

#[test]
fn a_path_protected_on_all_hosts_that_a_host_of_its_own_opens_is_warned_of() {
    let everywhere = route("path = \"/admin\"\nU");
    for host in ["www.test", "*.test"] {
        let open = route(&format!("host = \"{host}\"\n{PUBLIC}"));
        only(&(everywhere.clone() + &open), "\"/admin\" on ");
    }
    let wildcard = route("host = \"*.test\"\npath = \"/admin\"\nU");
    only(&(wildcard + &route(&format!("host = \"www.test\"\n{PUBLIC}"))), "\"/admin\" on www.test is public");
}

#[test]
fn a_protected_folder_inside_a_public_one_is_warned_of() {
    let folder = folder();
    fs::create_dir_all(folder.path().join("www/private")).unwrap();
    let text = format!(
        "{GOOD}[[routes]]\npath = \"/private\"\nstatic = {{ folder = \"www/private\" }}\n\
         [[routes]]\npath = \"/files\"\naccess = \"public\"\nstatic = {{ folder = \"www\" }}\n"
    );
    let warnings = parse(&text, "gateway.toml", folder.path()).unwrap().warnings;
    assert_eq!(warnings.list().len(), 1, "{warnings}");
    assert!(warnings.list()[0].what.starts_with("\"/files/private\" on any host is public"), "{warnings}");
    let inside = text.replace("\"/files\"", "\"/\"");
    assert_eq!(parse(&inside, "gateway.toml", folder.path()).unwrap().warnings.list().len(), 0);
}

#[test]
fn a_route_that_no_request_reaches_is_refused_and_other_spellings_of_an_address_are_read() {
    let text =
        format!("{GOOD}{}", route("host = \"[2001:DB8:0::1]\"\nupstream = [\"http://127.0.0.1:3000\"]"));
    let loaded = checked(&text).unwrap();
    assert_eq!(loaded.config.gateway.routes[0].host.as_deref(), Some("[2001:db8::1]"));
    // The reader leaves no such route; what looks for it is asked directly.
    let mut route = loaded.config.gateway.routes[0].clone();
    route.host = Some("wiki.test.".into());
    let report = super::Report::default();
    super::of_routes(&[(route, 0..1)], &report, &|_| 1);
    let (found, ..) = report.into_parts();
    assert!(found.len() == 1 && found[0].severity == Severity::Error && found[0].what.contains("no request"));
}

#[test]
fn users_and_groups_that_nobody_has_are_warned_of_once_there_are_users() {
    let folder = folder();
    let users = folder.path().join("users.toml");
    let text = format!(
        "{GOOD}[[routes]]\nupstream = [\"http://127.0.0.1:3000\"]\naccess = {{ users = [\"ada\", \"Bob\"], groups = [\"staf\", \"wiki\"] }}\n"
    );
    let said = || {
        let warnings = parse(&text, "gateway.toml", folder.path()).unwrap().warnings;
        let one = |p: &super::super::Problem| {
            format!("{}:{}: {} ({})", p.line, p.column, p.what, p.mend.clone().unwrap())
        };
        warnings.list().iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(said(), Vec::<String>::new(), "an empty file says nothing yet");
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let file = format!(
        "[users.ada]\npassword = \"{hash}\"\ngroups = [\"staff\"]\n[users.bob]\npassword = \"{hash}\"\ngroups = [\"wiki\"]\n"
    );
    fs::write(&users, file).unwrap();
    fs::set_permissions(&users, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(
        said(),
        [
            "7:28: there is no user \"Bob\" (did you mean \"bob\"? names are compared exactly)",
            "7:46: nobody is in a group \"staf\" (did you mean \"staff\"? names are compared exactly)",
        ]
    );
}

#[test]
fn many_routes_are_judged_in_one_pass() {
    let routes: String = (0..2000)
        .map(|n| route(&format!("path = \"/p{n}\"\n{}", if n % 2 == 0 { PUBLIC } else { "U" })))
        .collect();
    assert_eq!(said(&routes), Vec::<String>::new());
}
