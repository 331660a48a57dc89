//! Client certificates as a condition of a route (P20's identity in a rule of X6).

use crate::support::gateway::{Setup, TestGateway};
use crate::support::tls::{Authority, TlsClient};
use crate::support::upstream::TestUpstream;
use crate::support::wire::WireResponse;

struct Rig {
    upstream: TestUpstream,
    gateway: TestGateway,
    authority: Authority,
    clients: Authority,
}

impl Rig {
    fn start(access: &str) -> Self {
        let (upstream, authority, clients) = (TestUpstream::start(), Authority::new(), Authority::new());
        let setup =
            Setup::routes(format!("[[routes]]\nupstream = [\"{}\"]\naccess = {access}\n", upstream.url()))
                .tls(&authority, &["wiki.test"]);
        std::fs::write(setup.folder.path().join("clients.pem"), clients.pem()).unwrap();
        let gateway =
            setup.sections("client_ca = \"clients.pem\"\nclient_certificates = \"optional\"\n").start();
        Self { upstream, gateway, authority, clients }
    }

    fn ask(&self, client: &TlsClient, fields: &str) -> WireResponse {
        let mut wire = client.wire(self.gateway.tls_address(), "wiki.test");
        wire.send(format!("GET / HTTP/1.1\r\nHost: wiki.test\r\n{fields}\r\n"));
        wire.receive().unwrap()
    }

    fn showing(&self, name: &str, names: &[&str]) -> TlsClient {
        TlsClient::showing(&self.authority, &self.clients.issue_client(name, names))
    }
}

#[test]
fn a_certificate_that_the_route_names_is_enough_and_others_are_not() {
    let rig = Rig::start("{ client_certificates = [\"robot\", \"backup.test\"] }");
    for (client, allowed) in [
        (rig.showing("robot", &["x.test"]), true),
        (rig.showing("other", &["backup.test"]), true),
        (rig.showing("Robot", &["x.test"]), false),
        (rig.showing("robot2", &["sub.backup.test"]), false),
        (TlsClient::trusting(&rig.authority), false),
    ] {
        // A client cannot say what its handshake does not.
        let answer =
            rig.ask(&client, "X-Client-Cert: robot\r\nX-SSL-Client-S-DN: CN=robot\r\nRemote-User: robot\r\n");
        if allowed {
            assert_eq!((answer.status, answer.header("cache-control")), (200, Some("private")));
            assert_eq!(rig.upstream.next().header("remote-user"), None, "nobody is signed in");
        } else {
            assert_eq!((answer.status, answer.json()["code"].as_str()), (403, Some("no_certificate")));
        }
    }
    rig.upstream.saw_nothing();
    let plain = rig.gateway.browser().fetch("/");
    assert_eq!(plain.status, 403, "without TLS there is no certificate");
}

#[test]
fn a_certificate_opens_no_websocket_for_a_page_of_another_site() {
    let rig = Rig::start("{ client_certificates = [\"robot\"] }");
    let robot = rig.showing("robot", &["x.test"]);
    let asked =
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for foreign in ["https://evil.test", "null", "https://wiki.test:8443"] {
        let answer = rig.ask(&robot, &format!("{asked}Origin: {foreign}\r\n"));
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (403, Some("websocket_origin")),
            "{foreign}"
        );
    }
    rig.upstream.saw_nothing();
    // A page of the host, and a program.
    for own in ["Origin: https://wiki.test\r\n", ""] {
        assert_eq!(rig.ask(&robot, &format!("{asked}{own}")).status, 200, "{own}");
        assert_eq!(rig.upstream.next().header("upgrade"), Some("websocket"));
    }
}

#[test]
fn beside_users_a_certificate_is_another_way_in_and_the_others_are_asked_to_log_in() {
    let rig = Rig::start("{ users = [\"ada\"], client_certificates = [\"robot\"] }");
    assert_eq!(rig.ask(&rig.showing("robot", &["x.test"]), "").status, 200);
    rig.upstream.next();
    assert_eq!(rig.ask(&rig.showing("other", &["x.test"]), "").status, 401);
    let mut ada = rig.gateway.browser();
    ada.log_in("ada");
    assert_eq!(ada.fetch("/").status, 200);
    assert_eq!(rig.upstream.next().header("remote-user"), Some("ada"));
    let mut bob = rig.gateway.browser();
    bob.log_in("bob");
    assert_eq!(bob.fetch("/").status, 403);
}
