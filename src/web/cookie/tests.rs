use proptest::prelude::*;

use super::*;

fn headers(fields: &[&[u8]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for field in fields {
        headers.append(COOKIE, HeaderValue::from_bytes(field).unwrap());
    }
    headers
}

fn read(fields: &[&[u8]]) -> Vec<Vec<u8>> {
    values(&headers(fields), b"ours").map(<[u8]>::to_vec).collect()
}

fn withheld(fields: &[&[u8]]) -> Option<Vec<u8>> {
    let mut headers = headers(fields);
    withhold(&mut headers, |name| name == b"ours");
    assert!(headers.get_all(COOKIE).iter().count() <= 1, "an h1 upstream gets one Cookie line");
    headers.get(COOKIE).map(|value| value.as_bytes().to_vec())
}

#[test]
fn values_are_found_in_every_field_and_every_place() {
    assert_eq!(read(&[b"ours=1; a=2; ours=3", b"b=4;ours=5"]), [b"1", b"3", b"5"]);
    assert_eq!(read(&[b"a=1"]), Vec::<Vec<u8>>::new());
    assert_eq!(read(&[b"ours=a=b"]), [b"a=b"]);
}

#[test]
fn only_the_exact_name_counts() {
    let others: &[&[u8]] = &[
        b"Ours=1",
        b"ours2=1",
        b"xours=1",
        b"%6furs=1",
        b"ours",
        b"=ours",
        b"ours =1",
        b"$Version=1, ours=1",
        b"\"ours\"=1",
    ];
    for other in others {
        assert_eq!(read(&[other]), Vec::<Vec<u8>>::new(), "{}", String::from_utf8_lossy(other));
    }
}

#[test]
fn nothing_beyond_space_and_tab_is_trimmed() {
    assert_eq!(read(&[b"a=1; \t ours=2 \t"]), [b"2"]);
    // A no-break space in UTF-8 and in Latin-1: readers that trim them promote an unprefixed name.
    assert_eq!(read(&["\u{a0}ours=1".as_bytes()]), Vec::<Vec<u8>>::new());
    assert_eq!(read(&[b"\xa0ours=1"]), Vec::<Vec<u8>>::new());
}

#[test]
fn size_and_count_are_capped() {
    let many = "a=1;".repeat(MAX_PAIRS) + "ours=1";
    assert_eq!(read(&[many.as_bytes()]), Vec::<Vec<u8>>::new());
    let large = format!("a={}; ours=1", "x".repeat(MAX_BYTES));
    assert_eq!(read(&[large.as_bytes()]), Vec::<Vec<u8>>::new());
    assert_eq!(read(&[b"ours=1", large.as_bytes()]), [b"1"]);
}

#[test]
fn our_cookie_goes_and_the_others_keep_their_bytes() {
    type Case<'a> = (&'a [&'a [u8]], Option<&'a [u8]>);
    let cases: &[Case<'_>] = &[
        (&[b"ours=1; a=2; b=3"], Some(b"a=2; b=3")),
        (&[b"a=2; ours=1; b=3"], Some(b"a=2; b=3")),
        (&[b"a=2; b=3; ours=1"], Some(b"a=2; b=3")),
        (&[b"ours=1"], None),
        (&[b"ours=1; ours=2"], None),
        (&[b"ours=1; a=2; ours=3"], Some(b"a=2")),
        (&[b"ours=1", b"a=2"], Some(b"a=2")),
        (&[b"a=1", b"b=2"], Some(b"a=1; b=2")),
        (&[b"a=\"x, y\";b=\xff ;  c"], Some(b"a=\"x, y\";b=\xff ;  c")),
        (&[b"ours; a=1"], Some(b"a=1")),
        (&[b"ours =1; a=1"], Some(b"a=1")),
    ];
    for (fields, expected) in cases {
        assert_eq!(withheld(fields).as_deref(), *expected, "{:?}", headers(fields));
    }
}

#[test]
fn withholding_has_no_cap() {
    let many = "a=1; ".repeat(MAX_PAIRS * 2) + "ours=1";
    assert!(!String::from_utf8(withheld(&[many.as_bytes()]).unwrap()).unwrap().contains("ours"));
}

#[test]
fn the_name_of_a_set_cookie_is_what_a_browser_would_send() {
    let cases: &[(&[u8], &[u8])] = &[
        (b"ours=1; Path=/", b"ours"),
        (b" \tours =1", b"ours"),
        (b"=ours=1", b"ours"),
        (b" = = ours=1", b"ours"),
        (b"ours", b"ours"),
        (b"a=1; ours=2", b"a"),
        (b"", b""),
    ];
    for (value, name) in cases {
        assert_eq!(set_cookie_name(value), *name, "{}", String::from_utf8_lossy(value));
    }
}

/// Bytes a header value can hold, weighted towards those that mean something here.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => prop::sample::select(b";= \tours".to_vec()),
        1 => prop::sample::select((0x20..=0xff).filter(|b| *b != 0x7f).collect::<Vec<u8>>()),
    ];
    prop::collection::vec(byte, 0..60)
}

/// What the other cookies of `fields` are, piece by piece.
fn others(fields: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let all = fields.iter().flat_map(|field| pieces(field));
    all.filter(|piece| trim(split(piece).map_or(*piece, |(name, _)| name)) != b"ours")
        .map(|piece| trim(piece).to_vec())
        .filter(|piece| !piece.is_empty())
        .collect()
}

proptest! {
    #[test]
    fn no_field_makes_reading_panic(fields in prop::collection::vec(field(), 0..4)) {
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        read(&fields);
        for field in fields {
            set_cookie_name(field);
        }
    }

    #[test]
    fn withholding_keeps_every_other_cookie_in_order_and_none_of_ours(fields in prop::collection::vec(field(), 0..4)) {
        let slices: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        let left = withheld(&slices).unwrap_or_default();
        prop_assert_eq!(others(std::slice::from_ref(&left)), others(&fields));
        prop_assert_eq!(read(&[&left]), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn one_field_without_our_cookie_stays_byte_for_byte(field in field()) {
        if others(std::slice::from_ref(&field)).len() == pieces(&field).filter(|piece| !trim(piece).is_empty()).count() {
            prop_assert_eq!(withheld(&[&field]).unwrap_or_default(), field);
        }
    }
}
