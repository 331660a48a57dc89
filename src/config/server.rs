//! `[server]`, `[management]`, `[access_log]` and `[audit_log]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::address::{clash, listen_address};
use super::limits;
use super::listeners;
use super::reader::{Field, Section};
use crate::observe::{access_log, audit};
use crate::server::{ListenAddress, ListenerSettings, Settings};
use crate::session::StoreSettings;
use crate::web::normalize::HeadLimits;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DEFAULT_MANAGEMENT: &str = "127.0.0.1:9091";
/// The admin socket's name in the folder that the session store lies in.
const ADMIN_SOCKET: &str = "admin.sock";
/// sun_path has 108 bytes with its closing zero (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// What `[server]` holds for the listeners and for the gateway.
pub(super) struct Server {
    pub(super) settings: Settings,
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) prefix: String,
    pub(super) head: HeadLimits,
    /// Where the operator is answered, once `[management]` has been read: nothing that a route may lead to.
    pub(super) operators: Vec<ListenAddress>,
}

/// `[server]`.
pub(super) fn read(mut section: Section<'_>, base: &Path) -> Server {
    let listen = listeners::read(&mut section, base);
    let trusted_proxies = section.take("trusted_proxies").map(|f| networks(&f)).unwrap_or_default();
    if let Some(span) = listen.needs_proxies.filter(|_| trusted_proxies.is_empty()) {
        let what = "`proxy_protocol` is on, and every connection would be closed: no proxy is trusted";
        section.report().error(span, what, "name the proxies in server.trusted_proxies");
    }
    let listen = listen.settings;
    let prefix = section.take("prefix").and_then(|f| prefix(&f)).unwrap_or_else(|| "/_auth".into());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let grace = section.take("grace_period").and_then(|f| f.duration(SECOND..=HOUR));
    let workers = section.take("workers").and_then(|f| size(&f, 1..=1024)).unwrap_or(cores);
    let limits = limits::read(&mut section);
    section.finish();
    let settings = Settings {
        listen,
        tls: None,
        workers,
        grace_period: grace.unwrap_or(30 * SECOND),
        limits: limits.time,
        caps: limits.caps,
        max_head: limits.max_head,
        max_headers: limits.head.fields,
        http2: limits.http2,
    };
    Server { settings, trusted_proxies, prefix, head: limits.head, operators: Vec::new() }
}

/// What `[management]` holds.
pub(super) struct Management {
    pub(super) listen: Option<ListenAddress>,
    pub(super) admin_socket: Option<PathBuf>,
}

/// `[management]`: an address and the path of a socket, or `false` for none.
pub(super) fn management(
    mut section: Section<'_>,
    base: &Path,
    public: &[ListenerSettings],
    store: &StoreSettings,
) -> Management {
    let admin_socket = admin_socket(&mut section, base, store);
    Management { listen: management_listener(section, base, public), admin_socket }
}

/// Beside the session store unless it is set; a store in memory lies nowhere.
fn admin_socket(section: &mut Section<'_>, base: &Path, store: &StoreSettings) -> Option<PathBuf> {
    let Some(field) = section.take("admin_socket") else {
        let StoreSettings::Sled { path } = store else { return None };
        let path = path.parent()?.join(ADMIN_SOCKET);
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            let what = format!("there is no admin socket: the path {} is too long for one", path.display());
            section.report().warn(
                section.span(),
                what,
                "set `management.admin_socket`, or switch it off with false",
            );
            return None;
        }
        return Some(path);
    };
    if field.as_boolean() == Some(false) {
        return None;
    }
    let text = field.expect("the path of a socket, or false", field.as_text())?;
    let path = base.join(text);
    if text.is_empty() || path.as_os_str().len() > MAX_SOCKET_PATH {
        let mend = format!("a path of 1 to {MAX_SOCKET_PATH} bytes, such as \"/run/fluidgate/admin.sock\"");
        field.error("`management.admin_socket` is empty or too long for a unix socket", mend);
        return None;
    }
    Some(path)
}

fn management_listener(
    mut section: Section<'_>,
    base: &Path,
    public: &[ListenerSettings],
) -> Option<ListenAddress> {
    let field = section.take("listen");
    let span = field.as_ref().map_or(section.span(), Field::span);
    let address = match &field {
        Some(field) if field.as_boolean() == Some(false) => None,
        Some(field) => field
            .expect("an address, or false", field.as_text())
            .and_then(|text| listeners::address(field, text, base)),
        None => listen_address(DEFAULT_MANAGEMENT, base).ok(),
    };
    let report = section.report();
    section.finish();
    let address = address?;
    if matches!(address, ListenAddress::Systemd(_)) {
        report.error(
            span,
            "the management listener cannot be handed over",
            "write an address, or \"unix:…\"",
        );
        return None;
    }
    if public.iter().any(|p| clash(&p.address, &address)) {
        let what = "the management listener has the address of a public one";
        report.error(span.clone(), what, "give it another port; it must never be public");
    }
    if let ListenAddress::Tcp(tcp) = &address
        && !tcp.ip().is_loopback()
    {
        let what = "the management listener can be reached from other machines, and it asks for no login";
        report.warn(span, what, format!("listen on loopback: {DEFAULT_MANAGEMENT:?}"));
    }
    Some(address)
}

/// `[access_log]`.
pub(super) fn access_log(mut section: Section<'_>, base: &Path) -> access_log::Settings {
    let target = log_target(&mut section, base, "stdout");
    let formats = [("json", access_log::Format::Json), ("text", access_log::Format::Text)];
    let format = section.take("format").and_then(|f| f.word(&formats)).unwrap_or(access_log::Format::Json);
    section.finish();
    access_log::Settings { target, format }
}

/// `[audit_log]`.
pub(super) fn audit_log(mut section: Section<'_>, base: &Path) -> audit::Settings {
    let target = log_target(&mut section, base, "off");
    section.finish();
    audit::Settings { target }
}

fn log_target(section: &mut Section<'_>, base: &Path, default: &str) -> Option<access_log::Target> {
    let field = section.take("target");
    match field.as_ref().map_or(Some(default), Field::text).unwrap_or("off") {
        "stdout" => Some(access_log::Target::Stdout),
        "off" => None,
        "" => {
            let what = |f: &Field<'_>| format!("`{}` is empty", f.name);
            field.inspect(|f| f.error(what(f), "\"stdout\", \"off\" or the path of a file"));
            None
        }
        path => Some(access_log::Target::File(base.join(path))),
    }
}

/// A number that counts things in memory.
pub(super) fn size(field: &Field<'_>, range: std::ops::RangeInclusive<u64>) -> Option<usize> {
    field.number(range).and_then(|n| usize::try_from(n).ok())
}

/// A path prefix by segment: `/` or `/a/b`, in plain characters, without a slash at the end.
pub(super) fn path_prefix(text: &str) -> Result<String, &'static str> {
    let Some(inner) = text.strip_prefix('/') else { return Err("it must start with /") };
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let plain = |b: u8| b.is_ascii_graphic() && !b"\"#%<>?\\^`{|};".contains(&b);
    if !inner.bytes().all(plain) {
        return Err("it must be plain characters, without %, ?, #, ; or \\");
    }
    if !inner.is_empty() && inner.split('/').any(|s| matches!(s, "" | "." | "..")) {
        return Err("it must not have empty, . or .. segments");
    }
    Ok(format!("/{inner}"))
}

fn networks(field: &Field<'_>) -> Vec<IpNet> {
    let mut nets = Vec::new();
    for (entry, text) in field.texts().unwrap_or_default() {
        let net =
            text.parse::<IpNet>().ok().or_else(|| text.parse().ok().map(|ip: std::net::IpAddr| ip.into()));
        let Some(net) = net else {
            entry.error(
                format!("{text:?} is not a network"),
                "write it as \"10.0.0.0/8\", \"fd00::/8\" or one address",
            );
            continue;
        };
        if net.trunc() != net {
            let mend =
                format!("write \"{}\" if the whole network is meant, or the address alone", net.trunc());
            entry.error(format!("{text:?} has bits set behind the network's length"), mend);
        }
        if let IpNet::V6(v6) = net
            && v6.prefix_len() >= 96
            && v6.addr().to_ipv4_mapped().is_some()
        {
            entry
                .error(format!("{text:?} can never match: such addresses count as IPv4"), "write it as IPv4");
        }
        if net.prefix_len() == 0 {
            let mend = "name the addresses of your proxies: anyone can claim any address and scheme";
            entry.warn(format!("{text:?} trusts every client as a proxy"), mend);
        }
        nets.push(net);
    }
    nets
}

fn prefix(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    match path_prefix(text) {
        Ok(path) if path == "/" => {
            field.error("`server.prefix` is /, which leaves no path to the apps", "for example \"/_auth\"");
            None
        }
        Ok(path) => Some(path),
        Err(what) => {
            field.error(format!("{text:?} is not a prefix: {what}"), "for example \"/_auth\"");
            None
        }
    }
}
