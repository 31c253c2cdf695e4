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
