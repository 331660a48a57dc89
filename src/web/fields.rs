//! Taking fields out of a message by what they are called.

use http::{HeaderMap, HeaderName};

/// Removes the fields with names that are `doomed`, in one walk. As a rule they are few, and no list of them is allocated.
pub fn remove_all(headers: &mut HeaderMap, doomed: impl Fn(&HeaderName) -> bool) {
    // As a rule there are none, and looking is cheaper than getting ready to remove.
    if !headers.keys().any(&doomed) {
        return;
    }
    let mut names = headers.keys().filter(|name| doomed(name)).cloned().fuse();
    let few: [Option<HeaderName>; 4] = std::array::from_fn(|_| names.next());
    let more: Vec<HeaderName> = names.collect();
    for name in few.into_iter().flatten().chain(more) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn every_doomed_field_goes_however_many_there_are_and_no_other() {
        for count in 0..20 {
            let mut headers = HeaderMap::new();
            for number in 0..count {
                for name in [format!("x-bad-{number}"), format!("x-good-{number}"), format!("x-bad-{number}")]
                {
                    headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_static("a"));
                }
            }
            remove_all(&mut headers, |name| name.as_str().starts_with("x-bad"));
            let mut left: Vec<_> = headers.keys().map(ToString::to_string).collect();
            left.sort_by_key(|name| name.rsplit('-').next().map(|number| number.parse::<u32>().unwrap()));
            assert_eq!(left, (0..count).map(|number| format!("x-good-{number}")).collect::<Vec<_>>());
        }
    }
}
