//! The moments of log lines, many of which fall into one second: its text is made once, and kept while requests that began then end.

use jiff::Timestamp as Moment;

use crate::base::clock::Timestamp;

/// For how many seconds the text is kept. A request that took longer has its own made again.
const KEPT: usize = 8;

/// The texts of the last seconds, by each form of a line.
#[derive(Debug, Default)]
pub(super) struct Seconds {
    json: Texts,
    text: Texts,
}

/// Each second has its place.
type Texts = [Option<(u64, String)>; KEPT];

impl Seconds {
    /// `2026-11-28T04:55:01.`, and the milliseconds that are to follow before a `Z`: RFC 3339 in UTC.
    pub(super) fn json(&mut self, at: Timestamp) -> (&str, u64) {
        (second(&mut self.json, at, "%Y-%m-%dT%H:%M:%S."), at.as_millis() % 1000)
    }

    /// `28/Nov/2026:04:55:01 +0000`, of the combined log format.
    pub(super) fn text(&mut self, at: Timestamp) -> &str {
        second(&mut self.text, at, "%d/%b/%Y:%H:%M:%S +0000")
    }
}

fn second<'a>(texts: &'a mut Texts, at: Timestamp, form: &str) -> &'a str {
    let seconds = at.as_millis() / 1000;
    let place = usize::try_from(seconds).unwrap_or_default() % KEPT;
    let Some(known) = texts.get_mut(place) else { return "" };
    if known.as_ref().is_none_or(|(known, _)| *known != seconds) {
        let moment =
            i64::try_from(seconds).ok().and_then(|s| Moment::from_second(s).ok()).unwrap_or_default();
        *known = Some((seconds, moment.strftime(form).to_string()));
    }
    known.as_ref().map_or("", |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_second_is_as_it_would_be_made_anew_however_time_goes() {
        let mut seconds = Seconds::default();
        for millis in
            [0, 999, 1000, 1_700_000_000_007, 1_700_000_000_123, 1_699_999_999_999, 4_102_444_800_000]
        {
            let at = Timestamp::from_millis(millis);
            let (second, parts) = seconds.json(at);
            assert_eq!(format!("{second}{parts:03}Z"), at.to_string());
            let moment = Moment::from_millisecond(i64::try_from(millis).unwrap()).unwrap();
            assert_eq!(seconds.text(at), moment.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string());
        }
        // Beyond what a calendar has.
        assert_eq!(seconds.text(Timestamp::from_millis(u64::MAX)), "01/Jan/1970:00:00:00 +0000");
    }
}
