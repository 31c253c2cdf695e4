//! Canonical encoding: fixed-width little-endian, lengths before bytes, nothing optional.
//!
//! Signed bytes, wire messages and stored records are all built from these few calls, so that a
//! value has exactly one encoding. A [`Decoder`] checks every length against what is left
//! *before* it allocates.
//!
//! Invariant: `decode(encode(x)) == x`, and decoding arbitrary bytes never panics.
//! Bounds: a decoder never allocates more than the length of its input.

/// Bytes were not the canonical encoding of the expected value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends before the value does.
    #[error("input ends {missing} bytes early")]
    Truncated {
        /// Bytes that were needed and absent.
        missing: usize,
    },
    /// Bytes follow the value.
    #[error("{extra} bytes follow the value")]
    TrailingBytes {
        /// How many.
        extra: usize,
    },
    /// A list or string is longer than its limit.
    #[error("{what} has length {len}, limit {max}")]
    TooLong {
        /// Which field.
        what: &'static str,
        /// Length found.
        len: usize,
        /// Longest allowed.
        max: usize,
    },
    /// A field holds a value outside its set.
    #[error("{what} has invalid value {value}")]
    Invalid {
        /// Which field.
        what: &'static str,
        /// The value, as far as it fits.
        value: u64,
    },
    /// A format version this build does not read.
    #[error("{what} has version {found}, this build reads up to {newest}")]
    Version {
        /// Which format.
        what: &'static str,
        /// Version found.
        found: u8,
        /// Newest version known here.
        newest: u8,
    },
}

/// Appends canonical bytes to a growing buffer.
#[derive(Debug, Default, Clone)]
pub struct Encoder {
    buffer: Vec<u8>,
}

impl Encoder {
    /// An empty encoder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty encoder with room for `bytes`.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: Vec::with_capacity(bytes) }
    }

    /// The bytes so far.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.buffer
    }

    /// The finished bytes.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.buffer
    }

    /// Appends raw bytes without a length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) {
        self.buffer.push(value);
    }

    /// Appends two bytes, little-endian.
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    /// Appends four bytes, little-endian.
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    /// Appends eight bytes, little-endian.
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    /// Appends a `u16` length and the bytes. Longer input is cut at 65,535 by the caller's check.
    ///
    /// Lengths are bounded by `limits` long before this; a longer slice is a bug of ours.
    pub fn short_bytes(&mut self, bytes: &[u8]) {
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        assert_eq!(usize::from(len), bytes.len(), "short byte string exceeds 65,535 bytes");
        self.u16(len);
        self.bytes(bytes);
    }

    /// Appends a `u32` length and the bytes.
    pub fn long_bytes(&mut self, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        assert_eq!(len as usize, bytes.len(), "byte string exceeds 4 GiB");
        self.u32(len);
        self.bytes(bytes);
    }

    /// Appends a `u16` count and each item.
    pub fn list<T>(&mut self, items: &[T], mut encode: impl FnMut(&mut Self, &T)) {
        let count = u16::try_from(items.len()).unwrap_or(u16::MAX);
        assert_eq!(usize::from(count), items.len(), "list exceeds 65,535 items");
        self.u16(count);
        for item in items {
            encode(self, item);
        }
    }

    /// Appends 0 for absent, or 1 and the value.
    pub fn option<T>(&mut self, value: Option<&T>, encode: impl FnOnce(&mut Self, &T)) {
        let Some(value) = value else {
            self.u8(0);
            return;
        };
        self.u8(1);
        encode(self, value);
    }
}

/// Reads canonical bytes from a slice.
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not yet read.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Takes `len` raw bytes, borrowed from the input.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let Some((head, tail)) = self.rest.split_at_checked(len) else {
            return Err(DecodeError::Truncated { missing: len - self.rest.len() });
        };
        self.rest = tail;
        Ok(head)
    }

    /// Takes a fixed number of raw bytes.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    /// Takes one byte.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`] at the end of the input.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes two bytes, little-endian.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Takes four bytes, little-endian.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Takes eight bytes, little-endian.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes a `u16` length and that many bytes.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if longer than `max` or than the input.
    pub fn short_bytes(&mut self, what: &'static str, max: usize) -> Result<&'a [u8], DecodeError> {
        let len = usize::from(self.u16()?);
        self.bounded(what, len, max)
    }

    /// Takes a `u32` length and that many bytes.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if longer than `max` or than the input.
    pub fn long_bytes(&mut self, what: &'static str, max: usize) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        self.bounded(what, len, max)
    }

    fn bounded(
        &mut self,
        what: &'static str,
        len: usize,
        max: usize,
    ) -> Result<&'a [u8], DecodeError> {
        if len > max {
            return Err(DecodeError::TooLong { what, len, max });
        }
        self.bytes(len)
    }

    /// Takes a `u16` count and that many items.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if there are more than `max`, or an item is malformed.
    pub fn list<T>(
        &mut self,
        what: &'static str,
        max: usize,
        mut decode: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let len = usize::from(self.u16()?);
        if len > max {
            return Err(DecodeError::TooLong { what, len, max });
        }
        // Never more memory than the input has bytes, whatever an item takes.
        let room = self.remaining() / size_of::<T>().max(1);
        let mut items = Vec::with_capacity(len.min(room));
        for _ in 0..len {
            items.push(decode(self)?);
        }
        Ok(items)
    }

    /// Takes a value that may be absent.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the marker is neither 0 nor 1, or the value is malformed.
    pub fn option<T>(
        &mut self,
        what: &'static str,
        decode: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        match self.u8()? {
            0 => Ok(None),
            1 => decode(self).map(Some),
            value => Err(DecodeError::Invalid { what, value: u64::from(value) }),
        }
    }

    /// Ends decoding.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TrailingBytes`] if bytes are left: one value has one encoding.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(DecodeError::TrailingBytes { extra: self.rest.len() })
    }
}

#[cfg(test)]
mod tests;
