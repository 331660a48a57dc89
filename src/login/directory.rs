//! The user file, read strictly: every unknown key, wrong type and damaged hash is an error with its line and column.
//!
//! ```toml
//! [users.ada]                       # quoted for odd names: [users."ada@example.com"]
//! password = "$argon2id$v=19$…"
//! name = "Ada Lovelace"             # the rest is optional
//! email = "ada@example.com"
//! groups = ["staff"]
//! disabled = false
//! expires = "2027-01-01T00:00:00Z"  # RFC 3339, or the same as a TOML date-time
//! ```

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::names;
use super::password::StoredHash;
use crate::base::clock::Timestamp;
use crate::base::identity::{Identity, LoginMethod, Subject};

/// One mistake in the user file. Never carries a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, and the mend.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// One user of the file.
#[derive(Clone, Debug)]
pub struct User {
    subject: Subject,
    hash: Arc<StoredHash>,
    disabled: bool,
    expires: Option<Timestamp>,
}

impl User {
    /// Who it is, whatever the state.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The stored hash.
    pub fn hash(&self) -> &Arc<StoredHash> {
        &self.hash
    }

    /// Whether the file says `disabled = true`.
    pub fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// The first moment at which the user no longer counts.
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// Whether the user may log in at `now`.
    pub fn is_active(&self, now: Timestamp) -> bool {
        !self.disabled && self.expires.is_none_or(|end| now < end)
    }
}

/// All users of one reading of the file.
#[derive(Clone, Debug, Default)]
pub struct UserDirectory {
    users: HashMap<Box<str>, User>,
}

impl UserDirectory {
    /// Reads a user file's text.
    ///
    /// # Errors
    /// Every problem, in the order of the file.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader { text, problems: Vec::new() };
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            // Only the message: the error's own display would quote the line, and with it a hash.
            reader.problem(error.span().unwrap_or(0..0), error.message().to_owned());
        }
        // After a syntax error the rest of the document is a guess, so its content is not judged.
        let users = if errors.is_empty() { reader.document(document.get_ref()) } else { HashMap::new() };
        if reader.problems.is_empty() {
            return Ok(Self { users });
        }
        reader.problems.sort_by_key(|p| (p.line, p.column));
        Err(reader.problems)
    }

    /// The user of exactly this name.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// All users, by name.
    pub fn users(&self) -> impl Iterator<Item = (&str, &User)> {
        let mut all: Vec<_> = self.users.iter().map(|(name, user)| (&**name, user)).collect();
        all.sort_by_key(|(name, _)| *name);
        all.into_iter()
    }

    /// When users expire, in no order.
    pub fn expiries(&self) -> impl Iterator<Item = Timestamp> {
        self.users.values().filter_map(User::expires)
    }

    /// How many there are, disabled ones too.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

struct Reader<'t> {
    text: &'t str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn document(&mut self, document: &DeTable<'_>) -> HashMap<Box<str>, User> {
        let mut users = HashMap::new();
        for (key, value) in document.iter() {
            let (key_text, table) = (key.get_ref().as_ref(), value.get_ref().as_table());
            match (key_text, table) {
                ("users", Some(table)) => {
                    for (name, entry) in table.iter() {
                        if let Some(user) = self.user(name.get_ref(), name.span(), entry) {
                            users.insert(Box::from(name.get_ref().as_ref()), user);
                        }
                    }
                    self.refuse_look_alikes(table);
                }
                ("users", None) => {
                    self.problem(value.span(), "`users` holds one table per user, [users.NAME]")
                }
                _ => self
                    .problem(key.span(), format!("unknown key `{key_text}`; a user file holds only `users`")),
            }
        }
        users
    }

    fn user(&mut self, name: &str, at: Range<usize>, entry: &Spanned<DeValue<'_>>) -> Option<User> {
        let before = self.problems.len();
        if let Err(error) = names::check(name) {
            self.problem(at.clone(), error.to_string());
        }
        let Some(table) = entry.get_ref().as_table() else {
            self.problem(entry.span(), format!("`users.{name}` is a table of that user's keys"));
            return None;
        };
        let (mut hash, mut full_name, mut email, mut groups) = (None, None, None, Vec::new());
        let (mut disabled, mut expires, mut has_password) = (false, None, false);
        for (key, value) in table.iter() {
            let span = value.span();
            match key.get_ref().as_ref() {
                "password" => {
                    has_password = true;
                    if let Some(phc) = self.text_of("password", value) {
                        match StoredHash::parse(phc) {
                            Ok(stored) => hash = Some(stored),
                            Err(error) => self.problem(
                                span,
                                format!("password of user `{name}`: {error}; mend it with `fluidgate users set-password`"),
                            ),
                        }
                    }
                }
                "name" => full_name = self.text_of("name", value),
                "email" => email = self.text_of("email", value),
                "groups" => groups = self.groups(value),
                "disabled" => match value.get_ref().as_bool() {
                    Some(set) => disabled = set,
                    None => self.problem(span, "`disabled` is true or false"),
                },
                "expires" => expires = self.moment(value),
                other => self.problem(
                    key.span(),
                    format!(
                        "unknown key `{other}`; a user has password, name, email, groups, disabled, expires"
                    ),
                ),
            }
        }
        if !has_password {
            self.problem(
                at,
                format!("user `{name}` has no password; set one with `fluidgate users set-password`"),
            );
        }
        let hash = hash.filter(|_| self.problems.len() == before)?;
        let identity = Arc::new(Identity::new(name, full_name, email, &groups));
        let subject = Subject { identity, method: LoginMethod::Password, credential: hash.credential() };
        Some(User { subject, hash: Arc::new(hash), disabled, expires })
    }

    fn text_of<'v>(&mut self, key: &str, value: &'v Spanned<DeValue<'_>>) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.problem(value.span(), format!("`{key}` is a string"));
        }
        text
    }

    fn groups<'v>(&mut self, value: &'v Spanned<DeValue<'_>>) -> Vec<&'v str> {
        let Some(array) = value.get_ref().as_array() else {
            self.problem(value.span(), "`groups` is a list of strings");
            return Vec::new();
        };
        let mut groups = Vec::new();
        for group in array.iter() {
            match group.get_ref().as_str() {
                Some(text) if !text.is_empty() => groups.push(text),
                _ => self.problem(group.span(), "a group is a non-empty string"),
            }
        }
        groups
    }

    /// A moment before the epoch is the epoch: expired either way.
    fn moment(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Timestamp> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(moment) => moment.to_string(),
            _ => String::new(),
        };
        match text.parse::<jiff::Timestamp>() {
            Ok(moment) => Some(Timestamp::from_millis(u64::try_from(moment.as_millisecond()).unwrap_or(0))),
            Err(_) => {
                let mend = "`expires` is a moment with its offset, such as \"2027-01-01T00:00:00Z\"";
                self.problem(value.span(), mend);
                None
            }
        }
    }

    /// Two names that fold to one would share their throttle, and one could be taken for the other.
    fn refuse_look_alikes(&mut self, users: &DeTable<'_>) {
        let mut seen: HashMap<String, &str> = HashMap::new();
        for (name, _) in users.iter() {
            let text: &str = name.get_ref();
            if let Some(first) = seen.insert(names::fold(text), text) {
                self.problem(
                    name.span(),
                    format!("`{text}` and `{first}` differ only in case or form; rename one of them"),
                );
            }
        }
    }

    fn problem(&mut self, span: Range<usize>, message: impl Into<String>) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        self.problems.push(Problem { line, column, message: message.into() });
    }
}

#[cfg(test)]
mod tests;
