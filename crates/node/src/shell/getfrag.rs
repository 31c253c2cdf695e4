//! Serves chunks of one fragment: disk to socket, with what makes each believable.
//!
//! A node does not check what it serves: the reader does, and a node's own word counts for
//! nothing. A worker thread reads ahead by a few chunks while the connection sends.
//!
//! Spec: docs/protocol.md READ-1, READ-2.
//! Bounds: `CHUNKS_IN_FLIGHT_MAX` chunks per request.

use std::sync::Arc;

use avid_coding::fpcc::Fpcc;
use avid_coding::merkle::{MerklePath, path_positions, stripe_leaf};
use avid_net::host::work;
use avid_net::{FrameWriter, LinkError};
use avid_protocol::record::{Phase, UploadRecord};
use avid_protocol::wire::{ChunkPrefix, FRAME_VERSION, FragPrefix, Message, RefusalCode, kind};
use avid_store::{BufferPool, FragmentError, FragmentKey, FragmentReader, PooledBuffer};
use avid_types::limits::{CHUNKS_IN_FLIGHT_MAX, CLIENT_IDLE_MAX};
use avid_types::{Slot, StripeIndex, Timestamp, UploadId};
use tokio::sync::mpsc;

use crate::core::Event;
use crate::shell::Shared;
use crate::shell::engine::Command;

/// One chunk on its way to the socket.
struct Frag {
    prefix: Vec<u8>,
    chunk: PooledBuffer,
}

/// Why this record cannot be served, or nothing if it can.
pub(crate) fn refusal(
    record: Option<&UploadRecord>,
    time: Timestamp,
) -> Option<(RefusalCode, &'static str)> {
    let Some(record) = record else {
        return Some((RefusalCode::NotFound, "nothing of this upload is here"));
    };
    match &record.phase {
        Phase::Committed(proof) => {
            let expires_at = proof.seal.manifest.expires_at;
            if expires_at != Timestamp::ZERO && expires_at <= time {
                return Some((RefusalCode::Expired, "the object has expired"));
            }
            record
                .fragment
                .is_none()
                .then_some((RefusalCode::NotFound, "this node does not hold its fragment"))
        }
        Phase::Deleted(_) => Some((RefusalCode::Deleted, "the owner deleted this object")),
        Phase::Aborted { .. } => Some((RefusalCode::Aborted, "this dispersal was aborted")),
        Phase::Idle | Phase::Echoed(_) | Phase::Ready { .. } => {
            Some((RefusalCode::Pending, "not committed here yet; show the commit proof"))
        }
    }
}

/// Sends `count` chunks from `first`, or a refusal in place of the first that cannot be read.
pub(crate) async fn send(
    shared: &Arc<Shared>,
    writer: &mut FrameWriter,
    key: FragmentKey,
    first: StripeIndex,
    count: u64,
) -> Result<u64, LinkError> {
    let _place = shared.readers.acquire().await;
    let (frags, mut inbox) = mpsc::channel(CHUNKS_IN_FLIGHT_MAX - 2);
    let worker = Arc::clone(shared);
    let reading = async move { read_run(&worker, key, first, count, &frags).await };
    drop(work(&shared.host, reading));
    let mut bytes = 0;
    while let Some(frag) = inbox.recv().await {
        match frag {
            Ok(Frag { prefix, chunk }) => {
                bytes += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
                let parts = [prefix.as_slice(), &chunk];
                let frame = writer.write_frame(kind::FRAG, FRAME_VERSION, &parts);
                avid_net::within(CLIENT_IDLE_MAX, "sending a chunk", frame).await?;
            }
            Err(error) => {
                tracing::warn!(fragment = %key, %error, "fragment cannot be read");
                if is_lost(&error) {
                    let event = Event::FragmentLost(key.upload);
                    drop(shared.commands.send(Command::Event(event, None)).await);
                }
                let refused = Message::refused(RefusalCode::Damaged, &error.to_string());
                writer.write_frame(kind::REFUSED, FRAME_VERSION, &[&refused.to_body()]).await?;
                break;
            }
        }
    }
    avid_net::within(CLIENT_IDLE_MAX, "sending chunks", writer.flush()).await?;
    Ok(bytes)
}

async fn read_run(
    shared: &Shared,
    key: FragmentKey,
    first: StripeIndex,
    count: u64,
    frags: &mpsc::Sender<Result<Frag, FragmentError>>,
) {
    let reader = match shared.store.fragments().open_fragment(key) {
        Ok(reader) => reader,
        Err(error) => return drop(frags.send(Err(error)).await),
    };
    let capacity = usize::try_from(reader.info().shape.chunk_bytes).unwrap_or(usize::MAX);
    let buffers = BufferPool::new(CHUNKS_IN_FLIGHT_MAX + 1, capacity);
    for offset in 0..count {
        let stripe = first.0.saturating_add(offset);
        let frag = read_chunk(shared, &reader, &buffers, stripe);
        let failed = frag.is_err();
        if frags.send(frag).await.is_err() || failed {
            return;
        }
    }
}

fn read_chunk(
    shared: &Shared,
    reader: &FragmentReader,
    buffers: &BufferPool,
    stripe: u64,
) -> Result<Frag, FragmentError> {
    let info = reader.info();
    let damaged = |reason| FragmentError::Damaged { key: info.key, reason };
    let mut chunk = buffers.take().ok_or_else(|| FragmentError::Io {
        action: "find a buffer for",
        path: info.key.to_string().into(),
        source: std::io::ErrorKind::OutOfMemory.into(),
    })?;
    if !chunk.set_len(reader.chunk_len(stripe)) {
        return Err(damaged("chunk is longer than a buffer"));
    }
    reader.read_chunk(stripe, &mut chunk)?;
    let mut fpcc = vec![0; shared.cluster.fpcc_bytes()];
    reader.read_fpcc(stripe, &mut fpcc)?;
    let steps = path_positions(info.stripes, stripe).ok_or(damaged("no such stripe"))?;
    let mut path = MerklePath::default();
    for (step, sibling) in steps.iter().zip(reader.read_path(stripe)?) {
        path.push(step.side, sibling);
    }
    let chunk_bytes = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
    let prefix =
        FragPrefix { chunk: ChunkPrefix { stripe: StripeIndex(stripe), chunk_bytes }, fpcc, path };
    Ok(Frag { prefix: prefix.to_bytes(), chunk })
}

/// Whether an error says that the fragment is gone, rather than that the system is short of
/// something for the moment.
pub(crate) fn is_lost(error: &FragmentError) -> bool {
    matches!(error, FragmentError::NotFound(_) | FragmentError::Damaged { .. })
}

/// Whether the fragment on disk is whole: every chunk has its hash and fingerprint. Blocks.
pub(crate) fn is_whole(
    shared: &Shared,
    upload: UploadId,
    slot: Slot,
) -> Result<bool, FragmentError> {
    let key = FragmentKey { upload, slot };
    let reader = match shared.store.fragments().open_fragment(key) {
        Ok(reader) => reader,
        Err(error) if is_lost(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    let buffers = BufferPool::new(1, usize::try_from(shared.cluster.chunk_bytes).unwrap_or(0));
    for stripe in 0..reader.info().stripes {
        if !check(shared, &reader, &buffers, slot, stripe)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn check(
    shared: &Shared,
    reader: &FragmentReader,
    buffers: &BufferPool,
    slot: Slot,
    stripe: u64,
) -> Result<bool, FragmentError> {
    let (params, suite) = (shared.cluster.params, shared.cluster.suite);
    let Frag { chunk, .. } = match read_chunk(shared, reader, buffers, stripe) {
        Ok(frag) => frag,
        Err(error) if is_lost(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut bytes = vec![0; shared.cluster.fpcc_bytes()];
    reader.read_fpcc(stripe, &mut bytes)?;
    let Ok(fpcc) = Fpcc::from_bytes(params, suite, &bytes) else {
        return Ok(false);
    };
    let chunk_bytes = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
    let leaf =
        stripe_leaf(StripeIndex(stripe), chunk_bytes, &fpcc.digest(params, suite, chunk_bytes));
    Ok(leaf == reader.read_leaf(stripe)? && shared.coder.check_chunk(slot, &chunk, &fpcc).is_ok())
}
