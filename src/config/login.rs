//! `[login]`: the user file, the cost of a password, limits on attempts, where a login may lead.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::address::is_host;
use super::reader::{Field, Section};
use super::server::size;
use crate::login::{HashingSettings, Settings, ThrottleSettings};

/// What `[login]` holds for the login layer and for the gateway.
pub(super) struct Login {
    pub(super) settings: Settings,
    pub(super) return_origins: Vec<String>,
    pub(super) clear_site_data: bool,
}

/// `[login]`.
pub(super) fn read(mut section: Section<'_>, base: &Path) -> Login {
    let return_origins = section.take("return_origins").map(|f| origins(&f)).unwrap_or_default();
    let clear_site_data = section.take("clear_site_data").and_then(|f| f.boolean()).unwrap_or(true);
    let mut password = section.section("password");
    let users = users(&mut password, base).unwrap_or_default();
    let hashing = hashing(password.section("hashing"));
    password.finish();
    let throttle = throttle(section.section("throttle"));
    section.finish();
    Login { settings: Settings { users, hashing, throttle }, return_origins, clear_site_data }
}

fn users(section: &mut Section<'_>, base: &Path) -> Option<PathBuf> {
    let field = section.require("users", "name the user file: [login.password] users = \"users.toml\"")?;
    let path = base.join(field.text()?);
    let shown = path.display();
    match std::fs::metadata(&path) {
        Ok(metadata) if !metadata.is_file() => {
            field.error(format!("{shown} is not a file"), "name the user file")
        }
        Ok(metadata) if metadata.permissions().mode() & 0o022 != 0 => {
            field.error(format!("others may change the user file {shown}"), format!("chmod 600 {shown}"));
        }
        Ok(_) => {}
        Err(e) => {
            let mend = format!("make it with `fluidgate users add NAME --file {shown}`");
            field.error(format!("the user file {shown} cannot be read: {e}"), mend);
        }
    }
    Some(path)
}

fn hashing(mut section: Section<'_>) -> HashingSettings {
    let memory = section.take("memory_kib");
    let mut small =
        |key, range| section.take(key).and_then(|f| f.number(range)).and_then(|n| u32::try_from(n).ok());
    let iterations = small("iterations", 1..=64).unwrap_or(2);
    let memory_kib = memory.as_ref().and_then(|f| f.number(1024..=4 * 1024 * 1024));
    let memory_kib = memory_kib.and_then(|n| u32::try_from(n).ok()).unwrap_or(19456);
    let threads = section.take("threads").and_then(|f| size(&f, 1..=64)).unwrap_or(1);
    let queue = section.take("queue").and_then(|f| size(&f, 1..=65536)).unwrap_or(64);
    // The OWASP password storage cheat sheet's equal settings of Argon2id.
    let least = match iterations {
        1 => 47104,
        2 => 19456,
        3 => 12288,
        4 => 9216,
        _ => 7168,
    };
    if memory_kib < least {
        let span = memory.as_ref().map_or(section.span(), Field::span);
        let what = format!("passwords are cheap to guess with {memory_kib} KiB and {iterations} passes");
        section.report().warn(span, what, format!("memory_kib = {least} or more"));
    }
    section.finish();
    HashingSettings { memory_kib, iterations, threads, queue }
}

fn throttle(mut section: Section<'_>) -> ThrottleSettings {
    let mut count = |key, default| {
        let number = section.take(key).and_then(|f| f.number(1..=1_000_000));
        number.and_then(|n| u32::try_from(n).ok()).unwrap_or(default)
    };
    let per_account = count("per_account", 10);
    let per_source = count("per_source", 30);
    let range = Duration::from_secs(1)..=Duration::from_secs(86400);
    let window = section.take("window").and_then(|f| f.duration(range)).unwrap_or(Duration::from_secs(300));
    section.finish();
    ThrottleSettings { per_account, per_source, window }
}

/// Origins in the form a browser writes them (RFC 6454 section 6.2), so that comparing text is enough.
pub(super) fn origins(field: &Field<'_>) -> Vec<String> {
    let mut origins = Vec::new();
    for (entry, text) in field.texts().unwrap_or_default() {
        if is_origin(text) {
            origins.push(text.to_owned());
        } else {
            let what = format!("{text:?} is not an origin");
            entry.error(what, "write \"https://wiki.example.com\": lower case, no path, no slash at the end");
        }
    }
    origins
}

fn is_origin(text: &str) -> bool {
    let (rest, usual) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (rest, "443"),
        (_, Some(rest)) => (rest, "80"),
        _ => return false,
    };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let port_is_fine = port.is_none_or(|p| p != usual && p.parse::<u16>().is_ok_and(|n| n.to_string() == p));
    let v6 = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host_is_fine = v6.map_or(is_host(host), |v| v.parse::<std::net::Ipv6Addr>().is_ok());
    port_is_fine && host_is_fine && !host.bytes().any(|b| b.is_ascii_uppercase())
}
