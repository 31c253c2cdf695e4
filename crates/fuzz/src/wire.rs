//! Frames, messages and the prefixes of bulk bytes: what arrives from a connection.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use avid_coding::{Fpcc, MerklePath};
use avid_net::frame::{FrameCap, HEADER_BYTES};
use avid_net::{FrameHeader, FrameReader, KIND_HANDSHAKE_MIN};
use avid_protocol::wire::{ChunkPrefix, FRAME_VERSION, FragPrefix};
use avid_types::limits::{
    CHUNK_BYTES_MAX, CHUNK_OVERHEAD_BYTES_MAX, CONTROL_FRAME_BYTES_MAX, STRIPE_PATH_MAX,
};
use avid_types::{Decoder, Encoder, FingerprintKind, Params, Slot, Suite};
use tokio::io::AsyncRead;

use crate::check::{self, canonical};
use crate::{golden, handshake};

/// A control message of any kind: frame type, frame version, body.
pub fn target_message(bytes: &[u8]) {
    let Some(message) = golden::message_of(bytes) else {
        return;
    };
    let mut frame = vec![message.kind(), FRAME_VERSION];
    frame.extend(message.to_body());
    assert!(frame == bytes, "a decoded message is written as other bytes");
    check::message(&message);
}

/// The header of a frame, in both phases of a connection.
pub fn target_frame_header(bytes: &[u8]) {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        return;
    };
    for cap in [FrameCap::Handshake, FrameCap::Open] {
        if let Ok(decoded) = FrameHeader::decode(*header, cap) {
            let longest = cap.frame_bytes_max() - HEADER_BYTES;
            assert!(decoded.body_bytes <= longest, "frame longer than its phase allows");
            let reserved = cap == FrameCap::Open && decoded.kind >= KIND_HANDSHAKE_MIN;
            assert!(!reserved, "frame of the handshake after it");
            assert!(decoded.encode(cap).ok() == Some(*header), "header is written differently");
        }
    }
}

/// Frames off a connection: the first byte chooses the phase, the rest is what the peer sends.
pub fn target_frame_stream(bytes: &[u8]) {
    let Some((phase, stream)) = bytes.split_first() else {
        return;
    };
    if phase.is_multiple_of(2) {
        read_frames(FrameReader::new(stream), FrameCap::Handshake, stream);
    } else {
        handshake::with_open_reader(stream, |reader| read_frames(reader, FrameCap::Open, stream));
    }
}

/// Reads all frames, whole or in parts as their types say, and compares them with the stream.
fn read_frames<R: AsyncRead + Unpin>(mut reader: FrameReader<R>, cap: FrameCap, stream: &[u8]) {
    let mut expected = Decoder::new(stream);
    while let Some(Ok(Some(header))) = ready(reader.next_header()) {
        let raw = header.encode(cap).ok();
        let sent = expected.array::<HEADER_BYTES>().ok();
        assert!(raw.is_some() && raw == sent, "a header that was not sent");
        let body = match header.kind % 3 {
            0 => ready(reader.read_body()).and_then(Result::ok),
            1 => read_in_parts(&mut reader),
            _ => ready(reader.skip()).and_then(Result::ok).map(|()| Vec::new()),
        };
        let Some(body) = body else {
            let long = header.body_bytes > CONTROL_FRAME_BYTES_MAX;
            assert!(long || header.body_bytes > expected.remaining(), "a whole body was refused");
            return;
        };
        let sent = expected.bytes(header.body_bytes);
        let skipped = header.kind % 3 == 2;
        assert!(sent.is_ok_and(|sent| skipped || sent == body), "a body that was not sent");
        assert!(reader.body_left() == 0, "a body that goes on after its end");
    }
}

/// Reads a body as bulk bytes are read: a prefix, then the rest; asking for more is refused.
fn read_in_parts<R: AsyncRead + Unpin>(reader: &mut FrameReader<R>) -> Option<Vec<u8>> {
    let mut prefix = vec![0; ChunkPrefix::BYTES.min(reader.body_left())];
    ready(reader.read_exact(&mut prefix))?.ok()?;
    let mut too_much = vec![0; ChunkPrefix::BYTES];
    if reader.body_left() < too_much.len() {
        let refused = ready(reader.read_exact(&mut too_much));
        assert!(refused.is_some_and(|read| read.is_err()), "bytes beyond the body were read");
    }
    // The shell takes a buffer from its pool here; what the peer claims must be there first.
    let mut rest = vec![0; reader.body_left().min(CHUNK_OVERHEAD_BYTES_MAX)];
    while reader.body_left() > 0 {
        let len = rest.len().min(reader.body_left());
        let part = rest.get_mut(..len)?;
        ready(reader.read_exact(part))?.ok()?;
        prefix.extend_from_slice(part);
    }
    Some(prefix)
}

/// The outcome of something that never has to wait, since its input is in memory.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// What stands before the bytes of a CHUNK frame.
pub fn target_chunk_prefix(bytes: &[u8]) {
    let mut decoder = Decoder::new(bytes);
    let Ok(prefix) = ChunkPrefix::decode(&mut decoder) else {
        return;
    };
    assert!((1..=CHUNK_BYTES_MAX).contains(&prefix.chunk_bytes), "length of a chunk");
    let rest = decoder.bytes(decoder.remaining()).unwrap_or_default();
    assert!(prefix.to_bytes(rest) == bytes, "a chunk prefix is written as other bytes");
}

/// What stands before the bytes of a FRAG frame, for the shape of the golden cluster.
pub fn target_frag_prefix(bytes: &[u8]) {
    let Some((fixed, variable)) = bytes.split_at_checked(FragPrefix::FIXED_BYTES) else {
        return;
    };
    let Ok((chunk, length)) = FragPrefix::decode_fixed(fixed) else {
        return;
    };
    assert!((1..=CHUNK_BYTES_MAX).contains(&chunk.chunk_bytes), "length of a chunk");
    let Some(variable) = variable.get(..length) else {
        return;
    };
    let params = shape(0).0;
    let fpcc_bytes = Fpcc::bytes_of(params, Suite::default());
    if let Ok(prefix) = FragPrefix::decode_variable(chunk, fpcc_bytes, variable) {
        check::path(&prefix.path, STRIPE_PATH_MAX);
        assert!(prefix.fpcc.len() == fpcc_bytes, "length of a cross-checksum");
        let written = prefix.to_bytes();
        assert!(bytes.starts_with(&written), "a fragment prefix is written as other bytes");
        assert!(written.len() <= CHUNK_OVERHEAD_BYTES_MAX, "prefix longer than its room");
    }
}

/// A cross-checksum of the shape that the first byte chooses.
pub fn target_cross_checksum(bytes: &[u8]) {
    let Some((&choice, bytes)) = bytes.split_first() else {
        return;
    };
    let (params, suite) = shape(choice);
    let Ok(fpcc) = Fpcc::from_bytes(params, suite, bytes) else {
        assert!(bytes.len() != Fpcc::bytes_of(params, suite), "a length that fits was refused");
        return;
    };
    assert!(fpcc.as_bytes() == bytes && fpcc.has_shape(params, suite), "bytes or shape changed");
    for slot in (0..=u8::MAX).map(Slot) {
        assert!(fpcc.cc(slot).is_some() == params.has_slot(slot), "digests of the slots");
        assert!(fpcc.fp(slot).is_some() == params.is_data(slot), "fingerprints of data slots");
    }
}

/// Small, default and largest shapes, with both lengths of fingerprints.
fn shape(choice: u8) -> (Params, Suite) {
    let (m, n) = match (choice >> 1) % 4 {
        0 => (3, 5),
        1 => (1, 2),
        2 => (10, 16),
        _ => (254, 255),
    };
    let default = Suite::default();
    let fingerprint =
        if choice.is_multiple_of(2) { default.fingerprint } else { FingerprintKind::Fp64 };
    let params = Params::with_most_liars(m, n);
    let Ok(params) = params else { return (golden::config().params, default) };
    check::params(params);
    (params, Suite { fingerprint, ..default })
}

/// A Merkle path under the limit that the first byte gives.
pub fn target_merkle_path(bytes: &[u8]) {
    let Some((&max, bytes)) = bytes.split_first() else {
        return;
    };
    let max = usize::from(max);
    let decoded = canonical(bytes, |d| MerklePath::decode(d, max), MerklePath::encode);
    decoded.iter().for_each(|path| check::path(path, max.min(64)));
}

/// Frames, and bare headers around the longest frame of each phase.
pub(crate) fn frame_header_seeds() -> Vec<Vec<u8>> {
    let mut seeds = frames();
    for cap in [FrameCap::Handshake, FrameCap::Open] {
        let longest = u32::try_from(cap.frame_bytes_max()).unwrap_or(u32::MAX);
        let around = longest.saturating_sub(8)..longest.saturating_add(8);
        let header = |length: u32| [length.to_le_bytes().as_slice(), &[0x01, 1]].concat();
        seeds.extend(around.map(header));
    }
    seeds
}

fn frames() -> Vec<Vec<u8>> {
    golden::message_bytes().iter().filter_map(|message| frame(message)).collect()
}

/// A golden message as it crosses a connection.
fn frame(message: &[u8]) -> Option<Vec<u8>> {
    let (&[kind, version], body) = message.split_first_chunk()?;
    let header = FrameHeader { kind, version, body_bytes: body.len() }.encode(FrameCap::Open);
    Some([header.ok()?.as_slice(), body].concat())
}

pub(crate) fn frame_stream_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = frames().chunks(8).map(<[Vec<u8>]>::concat).collect();
    seeds.push(handshake::transcript());
    seeds
        .iter()
        .flat_map(|seed| [0_u8, 1].map(|phase| [&[phase], seed.as_slice()].concat()))
        .collect()
}

/// The golden prefix, and lengths around the shortest and the longest chunk.
pub(crate) fn chunk_prefix_seeds() -> Vec<Vec<u8>> {
    let lengths = [0, 1, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1];
    let around = lengths.map(|length| [[7; 8].as_slice(), &length.to_le_bytes()].concat());
    golden::forms("chunk prefix").into_iter().chain(around).collect()
}

pub(crate) fn frag_prefix_seeds() -> Vec<Vec<u8>> {
    golden::forms("frag prefix")
}

pub(crate) fn cross_checksum_seeds() -> Vec<Vec<u8>> {
    let choices = 0..8_u8;
    choices
        .map(|choice| {
            let (params, suite) = shape(choice);
            let mut seed = vec![0x5a; 1 + Fpcc::bytes_of(params, suite)];
            seed.iter_mut().take(1).for_each(|first| *first = choice);
            seed
        })
        .collect()
}

pub(crate) fn merkle_path_seeds() -> Vec<Vec<u8>> {
    let path_of = |seed: &Vec<u8>| {
        let mut decoder = Decoder::new(seed.get(FragPrefix::FIXED_BYTES..)?);
        decoder.bytes(Fpcc::bytes_of(golden::config().params, Suite::default())).ok()?;
        let path = MerklePath::decode(&mut decoder, STRIPE_PATH_MAX).ok()?;
        let mut encoder = Encoder::new();
        encoder.u8(40);
        path.encode(&mut encoder);
        Some(encoder.into_vec())
    };
    frag_prefix_seeds().iter().filter_map(path_of).collect()
}
