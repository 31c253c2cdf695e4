//! The file that says a store exists and which one it is.
//!
//! ```text
//! 0  magic "AVIDSTO\0"  8
//! 8  version = 1        u32     12  zero  u32
//! 16 store id           16
//! 32 crc32c of 0..32    u32
//! ```
//! It is the last file a creation writes: without it nothing was ever promised, so an interrupted
//! creation starts over; with it everything else must be there.
//!
//! Invariant: the file is whole or absent; it appears by rename.

use std::io;
use std::path::Path;

use avid_types::{Decoder, Encoder};

use super::{StoreError, StoreId};
use crate::disk::{Disk, OpenMode};
use crate::number::{to_u64, to_usize};

const NAME: &str = "store";
const TEMPORARY_NAME: &str = "store.new";
const MAGIC: [u8; 8] = *b"AVIDSTO\0";
const VERSION: u32 = 1;
const FILE_BYTES: usize = 36;

/// Reads the identity; none if no store was ever completed here.
pub(super) fn read(disk: &dyn Disk) -> Result<Option<StoreId>, StoreError> {
    let file = match disk.open(Path::new(NAME), OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::Disk(error)),
    };
    let len = file.len()?;
    let mut bytes = vec![0; to_usize(len.min(to_u64(FILE_BYTES)))];
    file.read_at(0, &mut bytes)?;
    match decode(&bytes) {
        Some((VERSION, id)) => Ok(Some(id)),
        Some((version, _)) => Err(StoreError::Version(version)),
        None => Err(StoreError::Damaged("identity file is unreadable")),
    }
}

/// Writes the identity durably.
pub(super) fn write(disk: &dyn Disk, id: StoreId) -> Result<(), StoreError> {
    let temporary = Path::new(TEMPORARY_NAME);
    let file = disk.open(temporary, OpenMode::Create)?;
    file.write_at(0, &encode(id))?;
    file.sync()?;
    disk.rename(temporary, Path::new(NAME))?;
    disk.sync_dir(Path::new(""))?;
    Ok(())
}

fn encode(id: StoreId) -> Vec<u8> {
    let mut encoder = Encoder::with_capacity(FILE_BYTES);
    encoder.bytes(&MAGIC);
    encoder.u32(VERSION);
    encoder.u32(0);
    encoder.bytes(&id.0);
    encoder.u32(crc32c::crc32c(encoder.as_slice()));
    encoder.into_vec()
}

fn decode(bytes: &[u8]) -> Option<(u32, StoreId)> {
    let mut decoder = Decoder::new(bytes);
    let magic = decoder.array::<8>().ok()?;
    let version = decoder.u32().ok()?;
    decoder.u32().ok()?;
    let id = StoreId(decoder.array().ok()?);
    let crc = decoder.u32().ok()?;
    let intact = magic == MAGIC && crc == crc32c::crc32c(bytes.get(..32)?);
    intact.then_some((version, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_byte_is_noticed() {
        let good = encode(StoreId([7; 16]));
        assert_eq!(decode(&good), Some((VERSION, StoreId([7; 16]))));
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 0x40;
            assert_eq!(decode(&bad), None, "byte {index}");
            assert_eq!(decode(&good[..index]), None, "cut at {index}");
        }
    }
}
