//! Takes one fragment from a client: socket to verification to disk.
//!
//! ```text
//! connection task                    worker thread
//! read prefix, cross-checksum        check hash and fingerprint
//! read chunk into aligned buffer ──► leaf into the stripe tree
//!        bounded channel             append to the temporary file
//! ```
//! A chunk is in one buffer from socket to disk. What an interrupted stream left is parked and
//! the next OPEN of the same upload goes on from there.
//!
//! Spec: docs/protocol.md ECHO-1, FPCC-1.
//! Bounds: `CHUNKS_IN_FLIGHT_MAX` chunks per stream, `STREAMS_MAX` streams, `PARKED_MAX` parked.
//! Not here: whether the fragment is wanted (`core`), votes about it (`engine`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use avid_coding::ChunkFault;
use avid_coding::fpcc::Fpcc;
use avid_coding::merkle::{MerkleBuilder, TreeKind, stripe_leaf};
use avid_net::host::{Work, work};
use avid_net::{FrameReader, LinkError};
use avid_protocol::object::{SignedOpen, VerifiedSeal};
use avid_protocol::wire::{ChunkPrefix, Opened, RefusalCode};
use avid_store::{
    BufferPool, FragmentError, FragmentKey, FragmentShape, FragmentWriter, PooledBuffer,
};
use avid_types::canary::{self, Canary};
use avid_types::limits::{CHUNKS_IN_FLIGHT_MAX, CLIENT_IDLE_MAX};
use avid_types::{Decoder, ObjectName, PublicKey, Slot, StripeIndex, Timestamp, UploadId};
use tokio::sync::mpsc;

use crate::shell::Shared;
use crate::shell::pace::Pace;

/// Streams at once: each holds a few chunks and a worker thread.
const STREAMS_MAX: usize = 256;
/// Interrupted streams kept; the oldest goes first.
const PARKED_MAX: usize = 256;
/// Space that must stay free, so that deletions, votes and the index always have room.
const RESERVE_BYTES: u64 = 64 << 20;

/// Why a stream ended early; told to the client.
#[derive(Debug)]
pub(crate) struct IngestError {
    pub(crate) code: RefusalCode,
    pub(crate) message: String,
}

impl IngestError {
    pub(crate) fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<FragmentError> for IngestError {
    fn from(error: FragmentError) -> Self {
        let full = matches!(&error, FragmentError::Io { source, .. }
            if source.kind() == std::io::ErrorKind::StorageFull);
        if full {
            return Self::new(RefusalCode::DiskFull, "this node's disk is full");
        }
        if matches!(error, FragmentError::ChunkLength { .. }) {
            return Self::new(RefusalCode::Unverifiable, error.to_string());
        }
        tracing::error!(%error, "fragment could not be written");
        Self::new(RefusalCode::Unavailable, error.to_string())
    }
}

/// A fragment under construction.
#[derive(Debug)]
pub(crate) struct Partial {
    writer: FragmentWriter,
    tree: MerkleBuilder,
}

impl Partial {
    pub(crate) fn new(shared: &Shared, upload: UploadId, slot: Slot) -> Result<Self, IngestError> {
        check_space(shared)?;
        let fpcc_bytes = u32::try_from(shared.cluster.fpcc_bytes()).unwrap_or(u32::MAX);
        let shape = FragmentShape { chunk_bytes: shared.cluster.chunk_bytes, fpcc_bytes };
        let writer = shared.store.fragments().create(FragmentKey { upload, slot }, shape)?;
        Ok(Self { writer, tree: MerkleBuilder::new(TreeKind::Stripes) })
    }

    pub(crate) fn opened(&self) -> Opened {
        Opened { stripes: self.tree.count(), prefix_root: self.tree.root(), complete: false }
    }

    /// Keeps the first `stripes` stripes only.
    fn truncate(&mut self, stripes: u64) -> Result<(), FragmentError> {
        self.writer.truncate(stripes);
        let mut tree = MerkleBuilder::new(TreeKind::Stripes);
        self.writer.visit_leaves(|leaf| tree.push(leaf))?;
        self.tree = tree;
        Ok(())
    }

    /// Checks that the stripes are exactly those of the description.
    fn check_complete(&self, seal: &VerifiedSeal) -> Result<(), IngestError> {
        let wrong = |text: String| Err(IngestError::new(RefusalCode::Unverifiable, text));
        let layout = seal.layout();
        if self.tree.count() != layout.stripes() {
            return wrong(format!(
                "{} stripes arrived, the manifest has {}",
                self.tree.count(),
                layout.stripes()
            ));
        }
        if self.writer.chunk_bytes_total() != layout.fragment_bytes() {
            return wrong("chunk lengths do not add up to the manifest's length".into());
        }
        if self.tree.root() != seal.manifest().root {
            return wrong("stripes do not have the manifest's root".into());
        }
        Ok(())
    }

    /// Makes the fragment durable under its final name; blocks on the disk.
    pub(crate) fn finish(self, seal: &VerifiedSeal) -> Result<(), IngestError> {
        self.check_complete(seal)?;
        self.writer.finish(&seal.manifest().to_bytes())?;
        Ok(())
    }
}

pub(crate) fn check_space(shared: &Shared) -> Result<(), IngestError> {
    // Every stream may write one more chunk after this look.
    let chunk = u64::from(shared.cluster.chunk_bytes);
    let needed =
        RESERVE_BYTES + chunk * u64::try_from(shared.ingests.streams()).unwrap_or(u64::MAX);
    match shared.store.free_bytes() {
        Ok(free) if free >= needed => Ok(()),
        Ok(free) => Err(IngestError::new(
            RefusalCode::DiskFull,
            format!(
                "this node keeps {RESERVE_BYTES} bytes free and has {free}; reads and deletions go on"
            ),
        )),
        Err(error) => Err(IngestError::new(RefusalCode::Unavailable, error.to_string())),
    }
}

#[derive(Debug)]
struct Entry {
    open: Option<SignedOpen>,
    /// Absent while a stream is at work.
    parked: Option<Partial>,
    number: u64,
    /// Of the stream at work.
    pace: Arc<Pace>,
}

/// Streams under way and parked, one per upload.
#[derive(Debug, Default)]
pub(crate) struct Ingests {
    entries: Mutex<(BTreeMap<UploadId, Entry>, u64)>,
}

/// The right to write the fragment of one upload; parks or frees it when dropped.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    ingests: &'a Ingests,
    upload: UploadId,
    pub(crate) partial: Option<Partial>,
    pub(crate) pace: Arc<Pace>,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.ingests.give_back(self.upload, self.partial.take());
    }
}

impl Ingests {
    fn lock(&self) -> std::sync::MutexGuard<'_, (BTreeMap<UploadId, Entry>, u64)> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Streams under way.
    fn streams(&self) -> usize {
        self.lock().0.values().filter(|entry| entry.parked.is_none()).count()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().0.len()
    }

    /// Begins or goes on with an upload.
    pub(crate) fn take(
        &self,
        upload: UploadId,
        open: Option<SignedOpen>,
    ) -> Result<Ticket<'_>, IngestError> {
        let mut entries = self.lock();
        entries.1 += 1;
        let number = entries.1;
        let busy = |text| Err(IngestError::new(RefusalCode::Busy, text));
        let streams = entries.0.values().filter(|entry| entry.parked.is_none()).count();
        if streams >= STREAMS_MAX {
            return busy("as many dispersals as this node takes at once are under way");
        }
        let mut partial = None;
        if let Some(entry) = entries.0.get_mut(&upload) {
            partial = entry.parked.take();
            if partial.is_none() {
                if entry.pace.is_slow() {
                    entry.pace.claim();
                }
                return busy("another stream of this upload is under way");
            }
        }
        let pace = Arc::new(Pace::new());
        let entry = Entry { open, parked: None, number, pace: Arc::clone(&pace) };
        entries.0.insert(upload, entry);
        Ok(Ticket { ingests: self, upload, partial, pace })
    }

    fn give_back(&self, upload: UploadId, partial: Option<Partial>) {
        let mut entries = self.lock();
        match partial {
            Some(partial) if partial.tree.count() > 0 => {
                if let Some(entry) = entries.0.get_mut(&upload) {
                    entry.parked = Some(partial);
                }
            }
            Some(_) | None => {
                entries.0.remove(&upload);
            }
        }
        let parked = |entries: &BTreeMap<UploadId, Entry>| {
            entries.values().filter(|entry| entry.parked.is_some()).count()
        };
        while parked(&entries.0) > PARKED_MAX {
            let oldest = entries.0.iter().filter(|(_, entry)| entry.parked.is_some());
            let Some(oldest) = oldest.min_by_key(|(_, entry)| entry.number).map(|(u, _)| *u) else {
                return;
            };
            entries.0.remove(&oldest);
        }
    }

    /// The announcement of a dispersal of this name that is under way or parked.
    pub(crate) fn open_of(&self, owner: &PublicKey, name: &ObjectName) -> Option<SignedOpen> {
        let entries = self.lock();
        let opens = entries.0.values().filter_map(|entry| entry.open.as_ref());
        opens
            .filter(|signed| signed.open.object.owner == *owner && signed.open.object.name == *name)
            .max_by_key(|signed| signed.open.object.generation)
            .cloned()
    }

    /// Forgets parked streams whose OPEN expired; their temporary files go with them.
    pub(crate) fn forget_expired(&self, time: Timestamp) {
        self.lock().0.retain(|_, entry| {
            let expired = entry.open.as_ref().is_some_and(|signed| signed.open.expiry < time);
            entry.parked.is_none() || !expired
        });
    }
}

struct Job {
    stripe: StripeIndex,
    fpcc: Vec<u8>,
    chunk: PooledBuffer,
}

/// A stream of chunks into one fragment.
pub(crate) struct Stream {
    jobs: Option<mpsc::Sender<Job>>,
    worker: Work<(Partial, Result<(), IngestError>)>,
    buffers: BufferPool,
    fpcc_bytes: usize,
    chunk_bytes_max: u32,
    next: Option<StripeIndex>,
    kept: u64,
    pace: Arc<Pace>,
}

impl Stream {
    pub(crate) fn start(
        shared: &Arc<Shared>,
        slot: Slot,
        partial: Partial,
        pace: &Arc<Pace>,
    ) -> Self {
        let (jobs, inbox) = mpsc::channel(CHUNKS_IN_FLIGHT_MAX - 2);
        let kept = partial.tree.count();
        let worker_shared = Arc::clone(shared);
        let receiving = async move { receive(&worker_shared, slot, partial, inbox).await };
        let worker = work(&shared.host, receiving);
        let capacity = usize::try_from(shared.cluster.chunk_bytes).unwrap_or(usize::MAX);
        Self {
            jobs: Some(jobs),
            worker,
            buffers: BufferPool::new(CHUNKS_IN_FLIGHT_MAX + 1, capacity),
            fpcc_bytes: shared.cluster.fpcc_bytes(),
            chunk_bytes_max: shared.cluster.chunk_bytes,
            next: None,
            kept,
            pace: Arc::clone(pace),
        }
    }

    /// Stripes received so far, if any were: where the stream stands.
    pub(crate) fn next(&self) -> u64 {
        self.next.map_or(self.kept, |next| next.0)
    }

    /// Reads one CHUNK frame whose header was read.
    ///
    /// `Ok(Err(_))` refuses the stream; `Err(_)` is the socket's.
    pub(crate) async fn chunk(
        &mut self,
        reader: &mut FrameReader,
    ) -> Result<Result<(), IngestError>, LinkError> {
        let bad = |text: &str| Ok(Err(IngestError::new(RefusalCode::BadRequest, text)));
        let mut head = vec![0; ChunkPrefix::BYTES + self.fpcc_bytes];
        if reader.body_left() < head.len() {
            return bad("chunk frame is shorter than its prefix");
        }
        avid_net::within(CLIENT_IDLE_MAX, "reading a chunk", reader.read_exact(&mut head)).await?;
        let mut d = Decoder::new(&head);
        let Ok(prefix) = ChunkPrefix::decode(&mut d) else {
            return bad("chunk length is out of range");
        };
        let fpcc = d.bytes(d.remaining()).map(<[u8]>::to_vec).unwrap_or_default();
        let chunk_bytes = usize::try_from(prefix.chunk_bytes).unwrap_or(usize::MAX);
        let fits = prefix.chunk_bytes <= self.chunk_bytes_max && reader.body_left() == chunk_bytes;
        if !fits {
            return bad("chunk frame does not have the length it states");
        }
        let in_order = match self.next {
            None => prefix.stripe.0 <= self.kept,
            Some(next) => prefix.stripe == next,
        };
        if !in_order {
            return bad("stripes are out of order");
        }
        let Some(mut chunk) = self.buffers.take() else {
            return Ok(Err(IngestError::new(RefusalCode::Unavailable, "no buffer is free")));
        };
        if !chunk.set_len(chunk_bytes) {
            return bad("chunk is longer than the cluster's chunk size");
        }
        avid_net::within(CLIENT_IDLE_MAX, "reading a chunk", reader.read_exact(&mut chunk)).await?;
        self.next = Some(StripeIndex(prefix.stripe.0 + 1));
        self.pace.add(chunk_bytes);
        let job = Job { stripe: prefix.stripe, fpcc, chunk };
        if let Some(jobs) = &self.jobs
            && jobs.send(job).await.is_ok()
        {
            return Ok(Ok(()));
        }
        // The worker ended: its reason comes from `end`.
        self.jobs = None;
        bad("the stream has ended")
    }

    /// Whether the worker refused a chunk.
    pub(crate) fn is_refused(&self) -> bool {
        self.jobs.as_ref().is_none_or(mpsc::Sender::is_closed)
    }

    /// Waits until every chunk is checked and written.
    pub(crate) async fn end(mut self) -> (Option<Partial>, Result<(), IngestError>) {
        self.jobs = None;
        match self.worker.await {
            Ok((partial, result)) => (Some(partial), result),
            Err(_) => {
                (None, Err(IngestError::new(RefusalCode::Unavailable, "the stream was stopped")))
            }
        }
    }
}

async fn receive(
    shared: &Shared,
    slot: Slot,
    mut partial: Partial,
    mut inbox: mpsc::Receiver<Job>,
) -> (Partial, Result<(), IngestError>) {
    let mut is_first = true;
    while let Some(job) = inbox.recv().await {
        let result = take_chunk(shared, slot, &mut partial, &job, is_first);
        if result.is_err() {
            return (partial, result);
        }
        is_first = false;
    }
    (partial, Ok(()))
}

fn take_chunk(
    shared: &Shared,
    slot: Slot,
    partial: &mut Partial,
    job: &Job,
    is_first: bool,
) -> Result<(), IngestError> {
    let unverifiable = |text: String| IngestError::new(RefusalCode::Unverifiable, text);
    let (params, suite) = (shared.cluster.params, shared.cluster.suite);
    check_space(shared)?;
    if is_first && job.stripe.0 < partial.tree.count() {
        partial.truncate(job.stripe.0)?;
    }
    let fpcc = Fpcc::from_bytes(params, suite, &job.fpcc)
        .map_err(|error| unverifiable(format!("stripe {}: {error}", job.stripe)))?;
    match shared.coder.check_chunk(slot, &job.chunk, &fpcc) {
        Err(ChunkFault::Fingerprint) if canary::sings(Canary::HashOnlyWrites) => {}
        checked => {
            checked.map_err(|fault| unverifiable(format!("stripe {}: {fault}", job.stripe)))?;
        }
    }
    let chunk_bytes = u32::try_from(job.chunk.len()).unwrap_or(u32::MAX);
    let leaf = stripe_leaf(job.stripe, chunk_bytes, &fpcc.digest(params, suite, chunk_bytes));
    partial.writer.append(&job.chunk, &job.fpcc, leaf)?;
    partial.tree.push(leaf);
    Ok(())
}
