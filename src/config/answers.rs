//! What a route answers itself: `redirect`, `respond`, `static`.

use std::path::Path;

use http::{HeaderValue, StatusCode};

use super::address::is_host;
use super::reader::{Field, Section};
use crate::gateway::route_answer::{Redirect, Respond, RouteAnswer};
use crate::gateway::static_files::StaticFiles;

/// The answer, if the route has one. `Some(None)` is one that was wrong and has been reported. Relative folders lie below `base`.
pub(super) fn read(
    section: &mut Section<'_>,
    upstream: Option<&Field<'_>>,
    base: &Path,
) -> Option<Option<RouteAnswer>> {
    let kinds: [(&'static str, Option<Field<'_>>); 3] =
        ["redirect", "respond", "static"].map(|key| (key, section.take(key)));
    let mut present = upstream.map(|_| "upstream").into_iter();
    let mut first = present.next();
    let mut answer = None;
    for (key, field) in kinds {
        let Some(field) = field else { continue };
        if let Some(first) = first {
            let what = format!("this route has `{first}` and `{key}`, but it can lead to one of them only");
            field.error(what, "take one out, or make two routes of it");
            return Some(None);
        }
        first = Some(key);
        answer = Some(match key {
            "redirect" => redirect(&field).map(RouteAnswer::Redirect),
            "respond" => respond(&field).map(RouteAnswer::Respond),
            _ => files(&field, base).map(RouteAnswer::Static),
        });
    }
    answer
}

fn redirect(field: &Field<'_>) -> Option<Redirect> {
    let mut table = field.table()?;
    let to = table.require("to", "to = \"https://new.example.com{path}{query}\"");
    let status = table.take("status").map_or(Some(308), |f| {
        let status = f.number(301..=308)?;
        let known = matches!(status, 301 | 302 | 303 | 307 | 308);
        if !known {
            f.error(format!("{status} is no redirect that can be followed"), "301, 302, 303, 307 or 308");
        }
        known.then_some(status)
    });
    table.finish();
    let to = target(&to?)?;
    Some(Redirect { status: status_code(status?)?, ..to })
}

/// `text`, with `{path}` at most once and `{query}` at the end at most.
fn target(field: &Field<'_>) -> Option<Redirect> {
    let text = field.text()?;
    let refuse = |what: &str, mend: &str| {
        field.error(format!("{text:?} is no target of a redirect: {what}"), mend);
        None
    };
    let (rest, query) = text.strip_suffix("{query}").map_or((text, false), |rest| (rest, true));
    let (to, behind) = rest.split_once("{path}").map_or((rest, None), |(to, behind)| (to, Some(behind)));
    let all = [to, behind.unwrap_or_default()].concat();
    if all.contains(['{', '}']) {
        return refuse(
            "it has other braces than {path} once and {query} at its end",
            "for example \"/new{path}{query}\"",
        );
    }
    if !all.bytes().all(|b| b.is_ascii_graphic() && !b"\\\"<>`".contains(&b)) {
        return refuse("it must be plain visible characters", "write others with % escapes");
    }
    if query && all.contains(['?', '#']) {
        return refuse("a query of its own stands before {query}", "take one of them out");
    }
    let origin = to.strip_prefix("https://").or_else(|| to.strip_prefix("http://"));
    let host_end = |rest: &str| rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match origin {
        Some(rest) => {
            let host = rest.get(..host_end(rest)).unwrap_or_default();
            let name = host
                .rsplit_once(':')
                .map_or(host, |(name, port)| if port.parse::<u16>().is_ok() { name } else { host });
            let v6 = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
            if !v6.map_or(is_host(name), |v6| v6.parse::<std::net::Ipv6Addr>().is_ok()) {
                return refuse("its host is none", "for example \"https://new.example.com{path}{query}\"");
            }
        }
        None if to.starts_with('/') && !to.starts_with("//") => {}
        None => return refuse("it must start with / or with https://", "for example \"/new{path}\""),
    }
    if behind.is_some() && to.ends_with('/') {
        return refuse("{path} starts with a slash itself", "take out the slash before {path}");
    }
    Some(Redirect {
        status: StatusCode::PERMANENT_REDIRECT,
        to: to.to_owned(),
        path: behind.is_some(),
        behind: behind.unwrap_or_default().to_owned(),
        query,
    })
}

fn respond(field: &Field<'_>) -> Option<Respond> {
    let mut table = field.table()?;
    let status = table.take("status").map_or(Some(200), |f| f.number(200..=599));
    let body = table.take("body");
    let text = body.as_ref().map_or(Some(""), |f| f.text());
    let content_type =
        table.take("content_type").map_or(Some(HeaderValue::from_static("text/plain; charset=utf-8")), |f| {
            let text = f.text()?;
            let fine = text.contains('/') && text.is_ascii();
            let value = HeaderValue::from_str(text).ok().filter(|_| fine);
            if value.is_none() {
                f.error(format!("{text:?} is not a media type"), "for example \"text/html; charset=utf-8\"");
            }
            value
        });
    table.finish();
    let (status, text) = (status?, text?);
    if let (Some(body), 204 | 205 | 304, false) = (&body, status, text.is_empty()) {
        body.error(
            format!("a response with status {status} has no body"),
            "take it out, or take another status",
        );
    }
    Some(Respond { status: status_code(status)?, body: text.to_owned().into(), content_type: content_type? })
}

fn files(field: &Field<'_>, base: &Path) -> Option<StaticFiles> {
    let mut table = field.table()?;
    let folder = table.require("folder", "folder = \"public\"");
    let index = table.take("index").map_or(Some("index.html"), |f| {
        let text = f.text()?;
        let fine = !text.is_empty() && !text.contains(['/', '\\', '\0']) && !text.starts_with('.');
        if !fine {
            f.error(format!("{text:?} is not a file name"), "for example \"index.html\"");
        }
        fine.then_some(text)
    });
    let hidden = table.take("hidden").map_or(Some(false), |f| f.boolean());
    table.finish();
    let folder = folder?;
    let path = base.join(folder.text().filter(|text| !text.is_empty())?);
    // As far as names tell: links are for whoever makes them.
    let (plain, own) = (plain(&path), plain(base));
    if own.starts_with(&plain) {
        folder.error(
            "this folder holds the configuration and what lies beside it",
            "take a folder for these files alone",
        );
        return None;
    }
    Some(StaticFiles { folder: path, index: index?.into(), hidden: hidden? })
}

/// The path without `.` and `..`, from the root.
fn plain(path: &Path) -> std::path::PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = std::path::PathBuf::new();
    for part in whole.components() {
        match part {
            std::path::Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

fn status_code(status: u64) -> Option<StatusCode> {
    u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok())
}
