//! The formats of version 1, byte by byte: what was once signed or stored stays readable.
//!
//! A difference here is a change of format and needs a new version, never new files. The files
//! are written only when `AVID_WRITE_GOLDEN=yes` is set, and the test fails in that case too.

use avid_protocol::record::UploadRecord;
use avid_protocol::wire::{FRAME_VERSION, Message};

use crate::samples::{Named, forms, messages, records};
use crate::world::World;

const FORMS: &str = include_str!("../../testdata/forms.hex");
const MESSAGES: &str = include_str!("../../testdata/messages.hex");
const RECORDS: &str = include_str!("../../testdata/records.hex");

fn rendered(about: &str, values: &Named<Vec<u8>>) -> String {
    let mut text = format!(
        "# {about}\n# One value per entry: its name, then its bytes in hexadecimal, 48 to a line.\n\
         # 3-of-5, keys from the fixed seeds of tests/suite/world.rs. Frozen: see golden.rs.\n"
    );
    for (name, bytes) in values {
        text += &format!("\n{name} ({} bytes)\n", bytes.len());
        for line in bytes.chunks(48) {
            text += &format!("  {}\n", hex::encode(line));
        }
    }
    text
}

fn parsed(text: &str) -> Named<Vec<u8>> {
    let mut values: Named<Vec<u8>> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("  ") {
            Some(bytes) => {
                let last = values.last_mut().expect("bytes follow a name");
                last.1.extend(hex::decode(bytes).unwrap());
            }
            None => values.push((line.rsplit_once(" (").unwrap().0.to_owned(), Vec::new())),
        }
    }
    values
}

#[track_caller]
fn assert_frozen(file: &str, frozen: &str, about: &str, values: &Named<Vec<u8>>) {
    let found = rendered(about, values);
    if write_asked() {
        write(file, &found);
        panic!("{file} was written because AVID_WRITE_GOLDEN is set; look at the difference");
    }
    for ((name, bytes), (frozen_name, frozen_bytes)) in values.iter().zip(parsed(frozen)) {
        assert_eq!(*name, frozen_name);
        assert_eq!(hex::encode(bytes), hex::encode(frozen_bytes), "{name} changed its format");
    }
    assert_eq!(found, frozen, "{file}");
}

#[expect(clippy::disallowed_methods, reason = "the one switch that rewrites golden files")]
fn write_asked() -> bool {
    std::env::var_os("AVID_WRITE_GOLDEN").is_some_and(|value| value == "yes")
}

#[expect(clippy::disallowed_methods, reason = "the one place that rewrites golden files")]
fn write(file: &str, text: &str) {
    let path = format!("{}/testdata/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::write(path, text).unwrap();
}

// Rule: SIGN-1, SIGN-2, ID-1, COMMITMENT-1, OPER-1, GRANT-1, PLACE-1.
#[test]
fn signed_and_stored_forms_are_frozen() {
    let about = "Everything that is signed, and the certificates: format version 1.";
    assert_frozen("forms.hex", FORMS, about, &forms(&World::new(3, 5)));
}

// Rule: WIRE-1. The first bytes are the frame's type and version.
#[test]
fn wire_messages_are_frozen() {
    let of = |message: Message| [vec![message.kind(), FRAME_VERSION], message.to_body()].concat();
    let messages = messages(&World::new(3, 5)).into_iter();
    let bytes = messages.map(|(name, message)| (name, of(message))).collect();
    let about = "Control messages: frame type, frame version, body. Frame version 1.";
    assert_frozen("messages.hex", MESSAGES, about, &bytes);
}

// Rule: ABORT-2. What a node keeps for ever has to be readable for ever.
#[test]
fn records_are_frozen_and_the_frozen_ones_are_readable() {
    let records = records(&World::new(3, 5));
    let bytes = records.iter().map(|(name, record)| (name.clone(), record.to_bytes())).collect();
    let about = "Upload records in every phase: record version 1.";
    assert_frozen("records.hex", RECORDS, about, &bytes);
    let frozen = parsed(RECORDS);
    assert_eq!(records.len(), frozen.len());
    for ((name, record), (_, frozen)) in records.into_iter().zip(frozen) {
        assert_eq!(UploadRecord::from_bytes(&frozen), Ok(record), "{name}");
    }
}

#[test]
fn every_frozen_message_is_readable() {
    let (messages, frozen) = (messages(&World::new(3, 5)), parsed(MESSAGES));
    assert_eq!(messages.len(), frozen.len());
    for ((name, message), (_, frozen)) in messages.into_iter().zip(frozen) {
        assert_eq!(Message::from_body(frozen[0], frozen[1], &frozen[2..]), Ok(message), "{name}");
    }
}
