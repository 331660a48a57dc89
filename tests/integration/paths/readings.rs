//! How apps read a path before they look at it: decoded never, once or more often, by UTF-8 of any length and `%u`, NUL ending it,
//! backslashes for slashes, `;` and what follows a decoded `?` or `#` cut off, empty segments merged, dots resolved.

/// Whether some app reads `target` as a path in `place`.
pub fn leads_into(target: &str, place: &str) -> bool {
    readings(target).iter().any(|path| is_in(path, place))
}

/// Whether some app reads `target` as the very path `place`.
pub fn leads_to(target: &str, place: &str) -> bool {
    // Where it resolves, it may add no slash at the end, nor lose one.
    unresolved(target)
        .iter()
        .any(|path| path == place || (!path.ends_with('/') && resolved(path, true) == place))
}

/// Whether every app reads `target` as a path in `place`, and none has to climb for it.
pub fn stays_in(target: &str, place: &str) -> bool {
    unresolved(target).iter().all(|path| {
        let climbs = path.split('/').any(|segment| segment == "..");
        !climbs && is_in(&resolved(path, true), place)
    })
}

fn is_in(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn readings(target: &str) -> Vec<String> {
    unresolved(target)
        .iter()
        .flat_map(|path| [path.clone(), resolved(path, false), resolved(path, true)])
        .collect()
}

fn unresolved(target: &str) -> Vec<String> {
    let path = target.split(['?', '#']).next().unwrap();
    let mut decoded = path.to_owned();
    let mut all = Vec::new();
    for _ in 0..=5 {
        for mask in 0..8 {
            let mut read = decoded.clone();
            if mask & 1 != 0 {
                read = read.replace('\\', "/");
            }
            if mask & 2 != 0 {
                read = read
                    .split('/')
                    .map(|segment| segment.split(';').next().unwrap())
                    .collect::<Vec<_>>()
                    .join("/");
            }
            if mask & 4 != 0 {
                read = read.split(['?', '#', '\0', '\r', '\n']).next().unwrap().to_owned();
            }
            all.push(read);
        }
        let again = decode(&decoded);
        if again == decoded {
            break;
        }
        decoded = again;
    }
    all
}

/// Without dot segments, and, if so asked, without empty ones.
fn resolved(path: &str, merge: bool) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            "" if merge => {}
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

/// Decoded once, leniently: what is no escape stays, and a short character may be written long.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let hex = |from: usize, digits: usize| {
        let part = bytes.get(from..from + digits)?;
        part.iter()
            .all(u8::is_ascii_hexdigit)
            .then(|| u32::from_str_radix(std::str::from_utf8(part).unwrap(), 16).ok())?
    };
    let mut out = Vec::new();
    let mut place = 0;
    while let Some(&byte) = bytes.get(place) {
        let (meant, length) = match (byte, bytes.get(place + 1)) {
            (b'%', Some(b'u' | b'U')) => match hex(place + 2, 4) {
                Some(code) => (narrow(code), 6),
                None => (vec![byte], 1),
            },
            (b'%', _) => match hex(place + 1, 2) {
                Some(code) => (vec![u8::try_from(code).unwrap()], 3),
                None => (vec![byte], 1),
            },
            _ => (vec![byte], 1),
        };
        out.extend(meant);
        place += length;
    }
    shortened(&out)
}

/// A wide character as some servers narrow it.
fn narrow(code: u32) -> Vec<u8> {
    match code {
        0x2215 | 0x2044 | 0xff0f => vec![b'/'],
        0xff0e => vec![b'.'],
        _ => char::from_u32(code).unwrap_or('?').to_string().into_bytes(),
    }
}

/// Overlong UTF-8 forms of ASCII as the ASCII that they mean.
fn shortened(bytes: &[u8]) -> String {
    let low = |byte: u8| u32::from(byte & 0x3f);
    let mut out = Vec::new();
    let mut rest = bytes;
    loop {
        let (meant, length) = match *rest {
            [] => break,
            [a @ (0xc0 | 0xc1), b @ 0x80..=0xbf, ..] => (u32::from(a & 1) << 6 | low(b), 2),
            [0xc0, b, ..] if b < 0x80 => (u32::from(b), 2),
            [0xe0, a @ 0x80..=0x81, b @ 0x80..=0xbf, ..] => (low(a) << 6 | low(b), 3),
            [0xf0, 0x80, a @ 0x80..=0x81, b @ 0x80..=0xbf, ..] => (low(a) << 6 | low(b), 4),
            [byte, ..] => (u32::from(byte), 1),
        };
        out.push(u8::try_from(meant).unwrap_or(b'?'));
        rest = &rest[length..];
    }
    String::from_utf8_lossy(&out).into_owned()
}
