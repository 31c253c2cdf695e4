//! The name a user gives an object.

use std::fmt;
use std::str::FromStr;

use crate::encode::{DecodeError, Decoder, Encoder};
use crate::limits::NAME_BYTES_MAX;

/// Why a text cannot name an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No characters at all.
    #[error("an object id needs at least one character")]
    Empty,
    /// Longer than the limit.
    #[error("an object id has at most {NAME_BYTES_MAX} bytes of UTF-8, this one has {0}")]
    TooLong(usize),
    /// A control character, which terminals and logs would act on.
    #[error("an object id has no control characters, this one has U+{0:04X}")]
    Control(u32),
    /// The bytes are not UTF-8.
    #[error("an object id is UTF-8")]
    NotUtf8,
}

/// 1 to 1024 bytes of UTF-8 without control characters. `/` and `..` are ordinary characters:
/// no file is ever named after an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct ObjectName(String);

impl ObjectName {
    /// Checks and keeps a name.
    ///
    /// # Errors
    ///
    /// [`NameError`] with the rule it breaks.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong(text.len()));
        }
        if let Some(control) = text.chars().find(|c| c.is_control()) {
            return Err(NameError::Control(u32::from(control)));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Appends a `u16` length and the UTF-8 bytes.
    pub fn encode(&self, encoder: &mut Encoder) {
        encoder.short_bytes(self.0.as_bytes());
    }

    /// Reads and checks a name.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it breaks a rule of [`ObjectName::new`].
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let bytes = decoder.short_bytes("object name", NAME_BYTES_MAX)?;
        let text = std::str::from_utf8(bytes)
            .map_err(|_| DecodeError::Invalid { what: "object name", value: 0 })?;
        Self::new(text).map_err(|_| DecodeError::Invalid { what: "object name", value: 1 })
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ObjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl<'de> serde::Deserialize<'de> for ObjectName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_up_to_1024_bytes_and_no_control_characters() {
        assert_eq!(ObjectName::new(""), Err(NameError::Empty));
        let longest = "n".repeat(NAME_BYTES_MAX);
        assert_eq!(ObjectName::new(&longest).unwrap().as_str(), longest);
        assert_eq!(ObjectName::new(&"n".repeat(1025)), Err(NameError::TooLong(1025)));
        assert_eq!(ObjectName::new(&"é".repeat(513)), Err(NameError::TooLong(1026)), "bytes count");
        assert_eq!(ObjectName::new("a\u{9b}b"), Err(NameError::Control(0x9b)));
        assert_eq!("a\nb".parse::<ObjectName>(), Err(NameError::Control(0x0a)));
        assert_eq!("../a b/é".parse::<ObjectName>().unwrap().to_string(), "../a b/é");
    }

    #[test]
    fn bytes_are_a_length_and_utf8_and_are_checked_when_read() {
        let name = ObjectName::new("é/1").unwrap();
        let mut e = Encoder::new();
        name.encode(&mut e);
        assert_eq!(e.as_slice(), [4, 0, 0xc3, 0xa9, b'/', b'1']);
        assert_eq!(ObjectName::decode(&mut Decoder::new(e.as_slice())), Ok(name));
        let refused = |bytes: &[u8]| ObjectName::decode(&mut Decoder::new(bytes)).unwrap_err();
        let invalid = |value| DecodeError::Invalid { what: "object name", value };
        assert_eq!(refused(&[1, 0, 0xff]), invalid(0), "not UTF-8");
        assert_eq!(refused(&[1, 0, 0x07]), invalid(1), "a control character");
        assert_eq!(refused(&[0, 0]), invalid(1), "empty");
        let too_long = DecodeError::TooLong { what: "object name", len: 1025, max: 1024 };
        assert_eq!(refused(&[&[1, 4][..], &[b'n'; 1025]].concat()), too_long);
    }

    #[test]
    fn a_name_in_a_file_of_configuration_obeys_the_same_rules() {
        use serde::Deserialize;
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, StrDeserializer};
        let read = |text: &'static str| {
            let text: StrDeserializer<'_, Error> = text.into_deserializer();
            ObjectName::deserialize(text)
        };
        assert_eq!(read("a").unwrap().as_str(), "a");
        assert!(read("a\u{1b}[31m").is_err());
    }
}
