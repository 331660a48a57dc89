//! Moments in words. Pages have no script, so they cannot know the reader's time zone: dates are in UTC and say so.

use crate::base::clock::Timestamp;

/// Such as "7 Nov 2026, 14:03 UTC".
pub(super) fn date(moment: Timestamp) -> String {
    i64::try_from(moment.as_millis())
        .ok()
        .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
        .map_or_else(|| "unknown".to_owned(), |m| m.strftime("%-d %b %Y, %H:%M UTC").to_string())
}

/// Such as "5 minutes ago"; "just now" within a minute and for a moment that has not come yet.
pub(super) fn ago(moment: Timestamp, now: Timestamp) -> String {
    let minutes = now.since(moment).as_secs() / 60;
    let (count, unit) = match minutes {
        0 => return "just now".to_owned(),
        1..60 => (minutes, "minute"),
        60..1440 => (minutes / 60, "hour"),
        _ => (minutes / 1440, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_in_utc_and_says_so() {
        assert_eq!(date(Timestamp::from_secs(1_700_000_000)), "14 Nov 2023, 22:13 UTC");
        assert_eq!(date(Timestamp::from_millis(u64::MAX)), "unknown");
    }

    #[test]
    fn a_span_is_told_in_its_largest_unit() {
        let ago_secs = |secs| ago(Timestamp::from_secs(0), Timestamp::from_secs(secs));
        assert_eq!(ago_secs(59), "just now");
        assert_eq!(ago_secs(60), "1 minute ago");
        assert_eq!(ago_secs(7_199), "1 hour ago");
        assert_eq!(ago_secs(172_800), "2 days ago");
        assert_eq!(ago(Timestamp::from_secs(9), Timestamp::from_secs(1)), "just now");
    }
}
