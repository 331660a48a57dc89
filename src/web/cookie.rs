//! `Cookie` headers as bytes (RFC 6265 section 4.2, RFC 9113 section 8.2.3 for several fields).
//!
//! Nothing is decoded and nothing is trimmed beyond SP and HTAB: a reader that trims more, honours `$Version`, or decodes
//! names can be made to see a prefixed name (`__Host-…`) that no browser vouched for (S22).

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// Most cookie pairs looked at in one request; browsers keep to 180 or fewer per site.
pub const MAX_PAIRS: usize = 512;

/// Most bytes of `Cookie` fields looked at in one request.
pub const MAX_BYTES: usize = 64 * 1024;

/// The values of every cookie called exactly `name`, in order, over all `Cookie` fields, within [`MAX_PAIRS`] and [`MAX_BYTES`].
pub fn values<'a>(headers: &'a HeaderMap, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut budget = MAX_BYTES;
    headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .take_while(move |field| {
            let fits = field.len() <= budget;
            budget = budget.saturating_sub(field.len());
            fits
        })
        .flat_map(pieces)
        .take(MAX_PAIRS)
        .filter_map(move |piece| {
            let (found, value) = split(piece)?;
            (found == name).then_some(value)
        })
}

/// Removes every cookie whose name `is_ours` from the request, in all fields, without limits on size or count. All other
/// bytes stay as they are; when something was removed, what remains stands in one field (RFC 9110 section 5.3 does not allow
/// an HTTP/1.1 upstream to see several), and the field is gone when nothing remains. Gives the number of cookies removed.
///
/// Names are compared after trimming SP and HTAB on both sides, so that a cookie an upstream might read as ours goes too.
pub fn withhold(headers: &mut HeaderMap, is_ours: impl Fn(&[u8]) -> bool) -> usize {
    let ours = |piece: &&[u8]| is_ours(trim(split(piece).map_or(*piece, |(name, _)| name)));
    let fields = headers.get_all(COOKIE);
    let removed = fields.iter().flat_map(|field| pieces(field.as_bytes())).filter(ours).count();
    let several = fields.iter().nth(1).is_some();
    if removed == 0 && !several {
        return 0;
    }
    let mut kept: Vec<u8> = Vec::with_capacity(fields.iter().map(|field| field.len() + 2).sum());
    for field in fields {
        let mut first = true;
        for piece in pieces(field.as_bytes()).filter(|piece| !ours(piece)) {
            match (first, kept.is_empty()) {
                (true, true) => kept.extend_from_slice(trim_start(piece)),
                (true, false) => {
                    kept.extend_from_slice(b"; ");
                    kept.extend_from_slice(trim_start(piece));
                }
                (false, _) => {
                    kept.push(b';');
                    kept.extend_from_slice(piece);
                }
            }
            first = false;
        }
    }
    // A part of a valid value is valid; should it ever not be, no cookie goes upstream rather than ours.
    match HeaderValue::from_maybe_shared(bytes::Bytes::from(kept)) {
        Ok(value) if !value.is_empty() => {
            headers.insert(COOKIE, value);
        }
        _ => {
            headers.remove(COOKIE);
        }
    }
    removed
}

/// The name a `Set-Cookie` value would set, as a browser reads it. A nameless cookie (`=a=b`) is read as the pair that the
/// browser will later send for it, because that pair can shadow a cookie of that name.
pub fn set_cookie_name(value: &[u8]) -> &[u8] {
    let pair = pieces(value).next().unwrap_or_default();
    let mut pair = trim(pair);
    while let Some(rest) = pair.strip_prefix(b"=") {
        pair = trim(rest);
    }
    trim(split(pair).map_or(pair, |(name, _)| name))
}

/// The pieces between semicolons, untrimmed.
fn pieces(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|byte| *byte == b';')
}

/// Name and value of one piece, whose outer SP and HTAB are dropped; `None` without `=`.
fn split(piece: &[u8]) -> Option<(&[u8], &[u8])> {
    let piece = trim(piece);
    let at = memchr::memchr(b'=', piece)?;
    Some((piece.get(..at)?, piece.get(at + 1..)?))
}

fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

fn trim(bytes: &[u8]) -> &[u8] {
    let mut bytes = trim_start(bytes);
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests;
