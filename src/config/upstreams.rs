//! What a route says of its upstreams: where they are, and how work is shared between them.

use std::net::IpAddr;

use http::HeaderName;

use super::address::{is_public, upstream_url};
use super::reader::{Field, Section};
use super::server::Server;
use crate::proxy::{
    Balance, DEFAULT_RETRIES, GroupSettings, Limits, MAX_MEMBERS, MemberSettings, Place, Scheme,
    UpstreamAddress,
};
use crate::server::{ListenAddress, ListenerSettings};

const MEND: &str = "for example \"http://127.0.0.1:3000\"";
const MEND_LIST: &str = "upstream = [\"http://127.0.0.1:3000\"]";

/// The upstreams of the route in `section`, `field` being the value of its `upstream`; all with these `limits`. `None` when there
/// is no usable one.
pub(super) fn read(
    section: &mut Section<'_>,
    field: Option<&Field<'_>>,
    server: &Server,
    limits: &Limits,
) -> Option<GroupSettings> {
    let balance = section.take("balance").map_or(Some(Balance::default()), |f| balance(&f));
    let members = field.map(|f| members(f, server))?;
    let (balance, limits) = (balance?, *limits);
    (!members.is_empty()).then_some(GroupSettings { members, balance, retries: DEFAULT_RETRIES, limits })
}

fn members(field: &Field<'_>, server: &Server) -> Vec<MemberSettings> {
    let mut members: Vec<MemberSettings> = Vec::new();
    let entries = field.list().unwrap_or_default();
    if field.list_is_empty() {
        field.error("`upstream` is empty", MEND_LIST);
    }
    if entries.len() > MAX_MEMBERS {
        let mend = format!("at most {MAX_MEMBERS}; put a load balancer of its own in front of more");
        field.error("`upstream` has too many entries", mend);
    }
    for entry in entries {
        let Some(member) = member(&entry, server) else { continue };
        if members.iter().any(|m| m.address == member.address) {
            entry.error("this upstream is listed twice", "take one out; `weight` gives it a larger share");
        }
        members.push(member);
    }
    if !members.is_empty() && members.iter().all(|member| member.drain) {
        field.error("every upstream of this route is drained, so none takes requests", "leave one undrained");
    }
    members
}

fn member(entry: &Field<'_>, server: &Server) -> Option<MemberSettings> {
    if !entry.is_table() {
        let text = entry.expect("an address, or a table with its `url`", entry.as_text())?;
        return address(entry, text, server).map(MemberSettings::new);
    }
    let mut table = entry.table()?;
    let url = table.require("url", "url = \"http://127.0.0.1:3000\"");
    let weight = table.take("weight").map_or(Some(1), |f| f.number(1..=1000));
    let drain = table.take("drain").map_or(Some(false), |f| f.boolean());
    table.finish();
    let url = url?;
    let address = address(&url, url.text()?, server)?;
    Some(MemberSettings { address, weight: u32::try_from(weight?).ok()?, drain: drain? })
}

fn address(entry: &Field<'_>, text: &str, server: &Server) -> Option<UpstreamAddress> {
    if text.contains('@') {
        entry.mask();
    }
    let address = upstream_url(text).map_err(|what| entry.error(what, MEND)).ok()?;
    judge(entry, &address, server);
    Some(address)
}

fn judge(entry: &Field<'_>, address: &UpstreamAddress, server: &Server) {
    let Place::Tcp { host, port } = &address.place else { return };
    let ip =
        if &**host == "localhost" { Some(IpAddr::from([127, 0, 0, 1])) } else { host.parse::<IpAddr>().ok() };
    let Some(ip) = ip else { return };
    if is_public(ip) && address.scheme != Scheme::Https {
        let what = "requests and identities travel to this public address without TLS";
        entry.warn(what, "use https, a private address, or a tunnel");
    }
    let own = |l: &ListenerSettings| match &l.address {
        ListenAddress::Tcp(tcp) => {
            tcp.port() == *port && (tcp.ip() == ip || (tcp.ip().is_unspecified() && ip.is_loopback()))
        }
        ListenAddress::Unix(_) | ListenAddress::Systemd(_) => false,
    };
    if server.settings.listen.iter().any(own) {
        entry.error("this upstream is the gateway itself", "name the address that the app listens on");
    }
}

fn balance(field: &Field<'_>) -> Option<Balance> {
    if !field.is_table() {
        field.expect("a word, or { hash_cookie = \"…\" } or { hash_header = \"…\" }", field.as_text())?;
        return match field.word(&[("least_requests", 0), ("round_robin", 1), ("random_two", 2)])? {
            0 => Some(Balance::LeastRequests),
            1 => Some(Balance::RoundRobin),
            _ => Some(Balance::RandomTwo),
        };
    }
    let mut table = field.table()?;
    let (cookie, header) = (table.take("hash_cookie"), table.take("hash_header"));
    table.finish();
    match (cookie, header) {
        (Some(cookie), None) => {
            let name = cookie.text()?;
            let plain = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b);
            if name.is_empty() || !name.bytes().all(plain) {
                cookie.error(format!("{name:?} is not the name of a cookie"), "for example \"app_session\"");
                return None;
            }
            Some(Balance::HashCookie(name.into()))
        }
        (None, Some(header)) => {
            let name = header.text()?;
            let parsed = HeaderName::from_bytes(name.as_bytes()).ok().map(Balance::HashHeader);
            if parsed.is_none() {
                header.error(format!("{name:?} is not the name of a field"), "for example \"X-Tenant\"");
            }
            parsed
        }
        _ => {
            field.error(
                "`balance` names neither one cookie nor one field",
                "{ hash_cookie = \"app_session\" }",
            );
            None
        }
    }
}
