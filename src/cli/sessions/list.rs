//! `fluidgate sessions list`: a table of at most 100 columns for people, one JSON array for programs.

use std::io::{self, Write};

use super::client::{Client, ClientError};
use crate::gateway::admin::protocol::{Count, SessionItem, Verb};

const WIDTH: usize = 100;
/// Digits of an id in the table: enough to name one of many sessions to `revoke --id`.
const HANDLE: usize = 12;
const HEADINGS: [&str; COLUMNS] = ["ID", "USER", "CREATED (UTC)", "LAST SEEN (UTC)", "ADDRESS", "BROWSER"];
const COLUMNS: usize = 6;
/// Columns that give way when a row would be too long.
const FLEXIBLE: [bool; COLUMNS] = [false, true, false, false, true, true];

/// The live sessions, of one user or all, by user and age.
///
/// # Errors
/// When the gateway does not answer.
pub(super) fn fetch(client: Client, user: Option<String>) -> Result<Vec<SessionItem>, ClientError> {
    let mut sessions = Vec::new();
    let Count { count } = client.ask(Verb::List { user }, &mut |item| {
        sessions.push(item);
        Ok(())
    })?;
    if count == sessions.len() { Ok(sessions) } else { Err(ClientError::Odd) }
}

/// One array, one session per line.
///
/// # Errors
/// When `out` cannot be written.
pub(super) fn write_json(out: &mut impl Write, sessions: &[SessionItem]) -> io::Result<()> {
    write!(out, "[")?;
    for (at, session) in sessions.iter().enumerate() {
        write!(out, "{}\n  ", if at == 0 { "" } else { "," })?;
        serde_json::to_writer(&mut *out, session).map_err(io::Error::from)?;
    }
    writeln!(out, "{}]", if sessions.is_empty() { "" } else { "\n" })
}

/// A heading and a row per session; a sentence when there is none.
///
/// # Errors
/// When `out` cannot be written.
pub(super) fn write_table(out: &mut impl Write, sessions: &[SessionItem]) -> io::Result<()> {
    if sessions.is_empty() {
        return writeln!(out, "no live sessions");
    }
    let rows: Vec<[String; COLUMNS]> = sessions.iter().map(row).collect();
    let headings = HEADINGS.map(str::to_owned);
    let widths = widths(std::iter::once(&headings).chain(&rows));
    for row in std::iter::once(&headings).chain(&rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{:width$}", cut(cell, width)));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

fn row(session: &SessionItem) -> [String; COLUMNS] {
    let unknown = || "unknown".to_owned();
    [
        session.id.chars().take(HANDLE).collect(),
        // A name must not steer the terminal.
        session.user.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect(),
        minute(&session.created),
        minute(&session.last_seen),
        session.address.clone().unwrap_or_else(unknown),
        session.browser.clone().unwrap_or_else(unknown),
    ]
}

/// `2026-11-07T14:03:59.123Z` as `2026-11-07 14:03`.
fn minute(moment: &str) -> String {
    moment.chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

fn widths<'a>(rows: impl Iterator<Item = &'a [String; COLUMNS]>) -> [usize; COLUMNS] {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let gaps = 2 * (COLUMNS - 1);
    while widths.iter().sum::<usize>() + gaps > WIDTH {
        let flexible = widths.iter_mut().zip(FLEXIBLE).filter(|(_, flexible)| *flexible);
        let Some((widest, _)) = flexible.max_by_key(|(width, _)| **width).filter(|(width, _)| **width > 1)
        else {
            break;
        };
        *widest -= 1;
    }
    widths
}

fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    cell.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(user: &str) -> SessionItem {
        SessionItem {
            id: "5f0c".repeat(16),
            user: user.into(),
            created: "2026-11-07T14:03:59.123Z".into(),
            last_seen: "2026-11-07T15:00:00.000Z".into(),
            expires: "2026-11-07T17:00:00.000Z".into(),
            address: Some("192.0.2.7".into()),
            browser: Some("Firefox on Linux".into()),
        }
    }

    fn table(sessions: &[SessionItem]) -> String {
        let mut out = Vec::new();
        write_table(&mut out, sessions).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_has_a_heading_and_a_row_per_session() {
        assert_eq!(
            table(&[session("ada"), SessionItem { address: None, ..session("bob") }]),
            "ID            USER  CREATED (UTC)     LAST SEEN (UTC)   ADDRESS    BROWSER\n\
             5f0c5f0c5f0c  ada   2026-11-07 14:03  2026-11-07 15:00  192.0.2.7  Firefox on Linux\n\
             5f0c5f0c5f0c  bob   2026-11-07 14:03  2026-11-07 15:00  unknown    Firefox on Linux\n"
        );
        assert_eq!(table(&[]), "no live sessions\n");
    }

    #[test]
    fn the_longest_values_fit_100_columns() {
        let long = SessionItem {
            address: Some("2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff".into()),
            browser: Some("Samsung Internet on Android".into()),
            ..session(&"é".repeat(300))
        };
        let text = table(&[long]);
        let row = text.lines().nth(1).unwrap();
        assert_eq!(row.chars().count(), WIDTH, "{row}");
        assert_eq!(row.matches('…').count(), 3, "{row}");
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert!(!table(&[session("a\x1b[2J\r\nb")]).contains(['\x1b', '\r']));
    }

    #[test]
    fn json_is_one_array() {
        for count in 0..3 {
            let sessions = vec![session("ada"); count];
            let mut out = Vec::new();
            write_json(&mut out, &sessions).unwrap();
            assert_eq!(serde_json::from_slice::<Vec<SessionItem>>(&out).unwrap(), sessions);
        }
    }
}
