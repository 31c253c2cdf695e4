//! One encoding per value, and limits that hold before anything is read.

use super::*;

fn encoded(write: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let mut encoder = Encoder::new();
    write(&mut encoder);
    encoder.into_vec()
}

#[test]
fn integers_are_little_endian_and_of_fixed_width() {
    let bytes = encoded(|e| {
        e.u8(0x01);
        e.u16(0x0203);
        e.u32(0x0405_0607);
        e.u64(0x0809_0a0b_0c0d_0e0f);
        e.bytes(&[0x10, 0x11]);
    });
    let drawn = [1, 3, 2, 7, 6, 5, 4, 15, 14, 13, 12, 11, 10, 9, 8, 16, 17];
    assert_eq!(bytes, drawn);
    let mut d = Decoder::new(&bytes);
    assert_eq!(d.u8(), Ok(0x01));
    assert_eq!(d.u16(), Ok(0x0203));
    assert_eq!(d.u32(), Ok(0x0405_0607));
    assert_eq!(d.remaining(), 10);
    assert_eq!(d.u64(), Ok(0x0809_0a0b_0c0d_0e0f));
    assert_eq!(d.bytes(2), Ok(&[0x10, 0x11][..]));
    assert_eq!(d.remaining(), 0);
    assert_eq!(d.finish(), Ok(()));
}

#[test]
fn byte_strings_follow_their_length() {
    let bytes = encoded(|e| {
        e.short_bytes(b"ab");
        e.long_bytes(b"cde");
    });
    assert_eq!(bytes, b"\x02\0ab\x03\0\0\0cde");
    let mut d = Decoder::new(&bytes);
    assert_eq!(d.short_bytes("short", 2), Ok(&b"ab"[..]));
    assert_eq!(d.long_bytes("long", 3), Ok(&b"cde"[..]));
}

#[test]
fn lists_follow_their_count_and_options_their_marker() {
    let bytes = encoded(|e| {
        e.list(&[7, 8, 9], |e, item| e.u8(*item));
        e.option(Some(&5), |e, value| e.u8(*value));
        e.option(None::<&u8>, |e, value| e.u8(*value));
    });
    assert_eq!(bytes, [3, 0, 7, 8, 9, 1, 5, 0]);
    let mut d = Decoder::new(&bytes);
    assert_eq!(d.list("list", 3, Decoder::u8), Ok(vec![7, 8, 9]));
    assert_eq!(d.option("option", Decoder::u8), Ok(Some(5)));
    assert_eq!(d.option("option", Decoder::u8), Ok(None));
    let other = Decoder::new(&[2, 5]).option("option", Decoder::u8);
    assert_eq!(other, Err(DecodeError::Invalid { what: "option", value: 2 }));
}

#[test]
fn a_length_at_its_limit_is_read_and_one_beyond_is_refused() {
    let too_long = |what| Err(DecodeError::TooLong { what, len: 3, max: 2 });
    assert_eq!(Decoder::new(b"\x03\0abc").short_bytes("s", 3), Ok(&b"abc"[..]));
    assert_eq!(Decoder::new(b"\x03\0abc").short_bytes("s", 2), too_long("s"));
    assert_eq!(Decoder::new(b"\x03\0\0\0abc").long_bytes("l", 3), Ok(&b"abc"[..]));
    assert_eq!(Decoder::new(b"\x03\0\0\0abc").long_bytes("l", 2), too_long("l"));
    assert_eq!(Decoder::new(b"\x03\0abc").list("n", 3, Decoder::u8), Ok(b"abc".to_vec()));
    let refused = Decoder::new(b"\x03\0abc").list("n", 2, Decoder::u8);
    assert_eq!(refused, Err(DecodeError::TooLong { what: "n", len: 3, max: 2 }));
}

/// The limit is looked at first: what a length promises is never fetched or set aside.
#[test]
fn a_length_beyond_its_limit_is_refused_before_the_bytes_are_missed() {
    let refused = Decoder::new(&[0xff; 4]).long_bytes("l", 10);
    let len = usize::try_from(u32::MAX).unwrap();
    assert_eq!(refused, Err(DecodeError::TooLong { what: "l", len, max: 10 }));
}

#[test]
fn an_early_end_says_how_many_bytes_are_missing_and_takes_nothing() {
    let mut d = Decoder::new(&[1, 2, 3]);
    assert_eq!(d.u64(), Err(DecodeError::Truncated { missing: 5 }));
    assert_eq!(d.bytes(4), Err(DecodeError::Truncated { missing: 1 }));
    assert_eq!(d.remaining(), 3);
    assert_eq!(d.array(), Ok([1, 2, 3]));
    assert_eq!(d.u8(), Err(DecodeError::Truncated { missing: 1 }));
}

#[test]
fn bytes_behind_the_value_are_refused_with_their_number() {
    let mut d = Decoder::new(&[1, 2, 3]);
    assert_eq!(d.u8(), Ok(1));
    assert_eq!(d.finish(), Err(DecodeError::TrailingBytes { extra: 2 }));
}

#[test]
fn bytes_within_the_announced_capacity_are_not_moved() {
    let mut encoder = Encoder::with_capacity(139);
    encoder.u8(0);
    let begins = encoder.as_slice().as_ptr();
    encoder.bytes(&[7; 138]);
    assert_eq!(encoder.as_slice().as_ptr(), begins);
    assert_eq!(encoder.as_slice(), [&[0][..], &[7; 138]].concat());
}

#[test]
#[should_panic(expected = "short byte string exceeds 65,535 bytes")]
fn a_short_byte_string_is_never_cut() {
    encoded(|e| e.short_bytes(&[0; 65_536]));
}

#[test]
#[should_panic(expected = "list exceeds 65,535 items")]
fn a_list_is_never_cut() {
    encoded(|e| e.list(&[0; 65_536], |e, item| e.u8(*item)));
}
