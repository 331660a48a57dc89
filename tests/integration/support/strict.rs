//! A reading of HTTP/1.1 requests that takes only what everybody reads alike (RFC 9112 without any of its leniency), for the bytes
//! that an upstream was sent.

/// Names as they stood, and values.
pub type Fields = Vec<(String, Vec<u8>)>;

/// A request, and whether all of it came: one that was broken off has its head and what came of its body.
#[derive(Clone, Debug)]
pub struct Message {
    pub method: String,
    pub target: String,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
    pub whole: bool,
}

impl Message {
    /// All values of a field, compared without case.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.fields
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| &**value)
            .collect()
    }

    /// The one value of a field, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        match *self.all(name) {
            [] => None,
            [one] => Some(std::str::from_utf8(one).unwrap()),
            _ => panic!("{name} stands more than once in {self:?}"),
        }
    }
}

/// A name as servers read it that fold every odd sign to `-`.
pub fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// All messages on a connection, or what is wrong with them. The last one may be cut off.
pub fn messages(bytes: &[u8]) -> Result<Vec<Message>, String> {
    let mut reader = Reader(bytes);
    let mut all: Vec<Message> = Vec::new();
    while !reader.0.is_empty() {
        let rest = reader.0;
        let shown = || String::from_utf8_lossy(&rest[..rest.len().min(1500)]).into_owned();
        match message(&mut reader).map_err(|wrong| format!("{wrong} in {:?}", shown()))? {
            Some(message) if message.whole => all.push(message),
            Some(message) => {
                all.push(message);
                break;
            }
            None => break,
        }
    }
    Ok(all)
}

struct Reader<'a>(&'a [u8]);

/// The bytes ended.
struct Short;

impl<'a> Reader<'a> {
    /// A line that ends with CRLF and holds neither on its own.
    fn line(&mut self) -> Result<Result<&'a [u8], Short>, String> {
        let Some(end) = self.0.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
            return Ok(Err(Short));
        };
        let (line, rest) = self.0.split_at(end);
        match rest {
            [b'\r', b'\n', rest @ ..] => {
                self.0 = rest;
                Ok(Ok(line))
            }
            [b'\r'] => Ok(Err(Short)),
            _ => Err("a bare CR or LF".into()),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Short> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Short)?;
        self.0 = rest;
        Ok(taken)
    }
}

fn message(reader: &mut Reader<'_>) -> Result<Option<Message>, String> {
    let Ok(line) = reader.line()? else { return Ok(None) };
    let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, b"HTTP/1.1"] = *parts else { return Err("no request line".into()) };
    // Where apps look for the path; a query is theirs.
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let harmless = |byte: &u8| !byte.is_ascii_control() && *byte != b' ' && *byte != b'#';
    if !is_token(method) || !path.iter().all(u8::is_ascii_graphic) || !target.iter().all(harmless) {
        return Err("an odd method or target".into());
    }
    if !target.starts_with(b"/") && target != b"*" {
        return Err("a target that is not of origin form".into());
    }
    let Some(fields) = fields(reader)? else { return Ok(None) };
    let mut message = Message {
        method: String::from_utf8_lossy(method).into_owned(),
        target: String::from_utf8_lossy(target).into_owned(),
        fields,
        body: Vec::new(),
        trailers: Vec::new(),
        whole: false,
    };
    let framing = framing(&message)?;
    message.whole = match framing {
        Framing::Counted(length) => {
            let all = reader.0;
            match reader.take(length) {
                Ok(body) => {
                    message.body = body.to_vec();
                    true
                }
                Err(Short) => {
                    message.body = all.to_vec();
                    false
                }
            }
        }
        Framing::Chunked => chunks(reader, &mut message)?,
    };
    Ok(Some(message))
}

enum Framing {
    Counted(usize),
    Chunked,
}

fn framing(message: &Message) -> Result<Framing, String> {
    for (name, _) in &message.fields {
        let plain = ["transfer-encoding", "content-length", "host", "connection", "upgrade", "expect", "te"];
        if plain.contains(&&*folded(name)) && !plain.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Err(format!("{name}, which some read as another field"));
        }
    }
    if message.all("host").len() != 1 {
        return Err("not exactly one Host".into());
    }
    match (&*message.all("transfer-encoding"), &*message.all("content-length")) {
        ([], []) => Ok(Framing::Counted(0)),
        ([], [length]) => {
            let text = std::str::from_utf8(length).map_err(|_| "an odd length")?;
            let number: usize = text.parse().map_err(|_| format!("a length of {text:?}"))?;
            if number.to_string() == text {
                Ok(Framing::Counted(number))
            } else {
                Err(format!("a length of {text:?}"))
            }
        }
        ([b"chunked"], []) => Ok(Framing::Chunked),
        (encodings, lengths) => {
            Err(format!("{} Transfer-Encoding and {} Content-Length", encodings.len(), lengths.len()))
        }
    }
}

fn chunks(reader: &mut Reader<'_>, message: &mut Message) -> Result<bool, String> {
    loop {
        let Ok(size) = reader.line()? else { return Ok(false) };
        let digits = size.len() <= 8 && !size.is_empty() && size.iter().all(u8::is_ascii_hexdigit);
        let text = std::str::from_utf8(size).unwrap_or_default();
        let Some(size) = digits.then(|| usize::from_str_radix(text, 16).ok()).flatten() else {
            return Err(format!("a chunk size of {text:?}"));
        };
        if size == 0 {
            return Ok(match fields(reader)? {
                Some(trailers) => {
                    message.trailers = trailers;
                    true
                }
                None => false,
            });
        }
        let Ok(data) = reader.take(size) else { return Ok(false) };
        message.body.extend_from_slice(data);
        match reader.line()? {
            Ok([]) => {}
            Ok(_) => return Err("bytes behind a chunk".into()),
            Err(Short) => return Ok(false),
        }
    }
}

/// Fields up to the empty line; `None` when the bytes end before.
fn fields(reader: &mut Reader<'_>) -> Result<Option<Fields>, String> {
    let mut fields = Vec::new();
    loop {
        let Ok(line) = reader.line()? else { return Ok(None) };
        if line.is_empty() {
            return Ok(Some(fields));
        }
        let shown = String::from_utf8_lossy(line);
        let colon =
            line.iter().position(|byte| *byte == b':').ok_or_else(|| format!("no field: {shown:?}"))?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if !is_token(name) || value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err(format!("an odd field: {shown:?}"));
        }
        fields.push((String::from_utf8_lossy(name).into_owned(), value.trim_ascii().to_vec()));
    }
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}
