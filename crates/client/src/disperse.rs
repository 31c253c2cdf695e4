//! Writing one object: plan, stream, seal, count votes, fill what is missing.
//!
//! ```text
//! heads ─► plan ─► source ─► encode (one thread) ─► sender per slot ─► node
//!                                  │                     │ votes
//!                                  └─► root ─► SEAL ─────┴────► writer machine ─► committed
//! ```
//! The bytes of the object pass once. Every stripe lies in one buffer that its n senders share; the
//! encoder waits for a buffer to come back, so the slowest node sets the pace until it is left
//! behind.
//!
//! Resuming: nodes keep the beginning of an interrupted dispersal. For a file, the stripes they have
//! are coded and not sent; if their root differs from ours, the file is read again and all is sent.
//! A pipe cannot be read again, so all of it is sent in any case: skipping would save traffic for
//! the same content and make a write of other content fail half way.
//!
//! Spec: docs/protocol.md WRITE-1, COMMIT-1, HOLD-1, ID-1.
//! Invariant: success is reported only after D verified DELIVERED for our own commitment.
//! Bounds: [`stream::WINDOW_BYTES_MAX`] of stripes.
//! Not here: coding (`coding`), when a vote counts (`protocol::writer`).

mod encode;
mod error;
mod lag;
mod plan;
mod sender;
mod settle;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use avid_protocol::certificate::Predecessor;
use avid_protocol::object::{Manifest, ObjectId, Open, SealBundle, SignedOpen};
use avid_protocol::verify::VerifiedCommit;
use avid_types::limits::{OBJECT_BYTES_MAX, OPEN_LIFETIME_DEFAULT};
use avid_types::{Commitment, Generation, ObjectName, Slot, Timestamp, UploadId};
use tokio::time::Instant;

use crate::client::{Asking, ObjectRef, Shared};
use crate::disperse::encode::Encoded;
use crate::disperse::plan::{Plan, plan};
use crate::disperse::settle::{Settled, settle};
use crate::disperse::stream::{Streaming, Target};
use crate::fault::{FaultBook, NodeFault};
use crate::head::{self, HeadView};
use crate::order;
use crate::progress::Progress;
use crate::source::{OpenSource, Source};

pub use crate::disperse::error::DisperseError;

/// Generations one call may go through: each is ended before the next begins.
const ATTEMPTS_MAX: usize = 3;

/// How to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisperseOptions {
    /// How long to go on placing fragments after the commit.
    pub placement_timeout: Duration,
    /// Cluster time after which the object may go; zero for never.
    pub expires_at: Timestamp,
    /// End an unfinished dispersal of this name instead of resuming it.
    pub cancel_unfinished: bool,
    /// How long the dispersal itself may take before nodes may abort it.
    pub lifetime: Duration,
    /// Most bytes a source of unknown length may have.
    pub object_bytes_max: u64,
}

impl Default for DisperseOptions {
    fn default() -> Self {
        Self {
            placement_timeout: Duration::from_secs(10),
            expires_at: Timestamp::ZERO,
            cancel_unfinished: false,
            lifetime: OPEN_LIFETIME_DEFAULT,
            object_bytes_max: OBJECT_BYTES_MAX,
        }
    }
}

/// A committed object and where it is.
#[derive(Clone, Debug)]
pub struct DisperseReport {
    /// The upload.
    pub upload: UploadId,
    /// The commitment.
    pub commitment: Commitment,
    /// The life of the name.
    pub generation: Generation,
    /// Length, bytes.
    pub object_bytes: u64,
    /// Slots whose node signed that it holds its fragment.
    pub placed: Vec<Slot>,
    /// Fragments there should be.
    pub n: usize,
    /// The same content was committed before this call.
    pub already_stored: bool,
    /// Time taken.
    pub elapsed: Duration,
    /// Nodes that did not do their part at first, and why.
    pub faults: Vec<NodeFault>,
}

/// One call of [`crate::Client::disperse`].
struct Call<'a> {
    shared: &'a Arc<Shared>,
    object: ObjectRef,
    options: &'a DisperseOptions,
    progress: &'a dyn Progress,
    started: Instant,
    faults: FaultBook,
}

pub(crate) async fn disperse(
    shared: &Arc<Shared>,
    name: &ObjectName,
    source: Source,
    options: &DisperseOptions,
    progress: &dyn Progress,
) -> Result<DisperseReport, DisperseError> {
    let object = ObjectRef { owner: shared.key.public(), name: name.clone() };
    let (started, faults) = (Instant::now(), FaultBook::default());
    let mut call = Call { shared, object, options, progress, started, faults };
    for _attempt in 0..ATTEMPTS_MAX {
        let view = call.head().await?;
        match plan(&view, shared.local_time(), options.cancel_unfinished) {
            Plan::Stored(commit) => return call.confirm(*commit, source).await,
            Plan::Write { generation, predecessor, resume } => {
                let again = source.again();
                let begin = Begin { generation, predecessor, resume };
                return call.write(source, again, begin).await;
            }
            Plan::Cancel(generation) => {
                progress.note("ending an unfinished dispersal of this id first");
                order::abort(shared, &call.object, generation).await?;
            }
        }
    }
    Err(DisperseError::Unsettled { attempts: ATTEMPTS_MAX })
}

/// How a write begins: the announcement is signed once the source's length is known.
struct Begin {
    generation: Generation,
    predecessor: Option<Box<Predecessor>>,
    resume: Option<Box<SignedOpen>>,
}

impl Call<'_> {
    async fn head(&mut self) -> Result<HeadView, DisperseError> {
        let view = head::head(self.shared, &self.object, Asking::UntilEnough).await;
        for failure in &view.failures {
            self.faults.node(failure.node, &failure.error);
        }
        if view.complete {
            return Ok(view);
        }
        let needed = self.shared.config.params.answer_quorum();
        Err(DisperseError::NotEnoughNodes { able: view.answered, needed, failures: view.failures })
    }

    fn open(&self, begin: &Begin, source: &OpenSource) -> Result<SignedOpen, DisperseError> {
        let object_bytes_max = source.length().unwrap_or(self.options.object_bytes_max);
        if let Some(open) = &begin.resume {
            if object_bytes_max > open.open.object_bytes_max && source.length().is_some() {
                return Err(DisperseError::OtherUnfinished);
            }
            return Ok(SignedOpen::clone(open));
        }
        let config = &self.shared.config;
        if object_bytes_max > OBJECT_BYTES_MAX {
            let max = OBJECT_BYTES_MAX;
            return Err(crate::source::SourceError::TooLong { max }.into());
        }
        let open = Open {
            object: ObjectId {
                owner: self.object.owner,
                name: self.object.name.clone(),
                generation: begin.generation,
            },
            params: config.params,
            suite: config.suite,
            chunk_bytes: config.chunk_bytes,
            object_bytes_max,
            expiry: self.shared.local_time().plus(self.options.lifetime),
        };
        Ok(open.sign(config, &self.shared.key))
    }

    /// Writes; once more from the first stripe if nodes keep other content of an unfinished try.
    async fn write(
        &mut self,
        source: Source,
        again: Option<Source>,
        begin: Begin,
    ) -> Result<DisperseReport, DisperseError> {
        let opened = source.open(&self.shared.host).await?;
        self.progress.total(opened.length());
        let open = self.open(&begin, &opened)?;
        let predecessor = begin.predecessor.map(|proof| *proof);
        let target = Target { open, predecessor, may_skip: again.is_some() };
        let settled = match (self.attempt(opened, target.clone()).await, again) {
            (Err(DisperseError::OtherUnfinished), Some(source)) => {
                self.progress.note("nodes keep other content of an unfinished try: sending all");
                let opened = source.open(&self.shared.host).await?;
                self.attempt(opened, Target { may_skip: false, ..target }).await?
            }
            (result, _) => result?,
        };
        Ok(self.report(settled, false))
    }

    /// Streams, seals, settles.
    async fn attempt(&self, source: OpenSource, target: Target) -> Result<Settled, DisperseError> {
        let target = Arc::new(target);
        let mut streaming = Streaming::start(self.shared, &target, source);
        let encoded = streaming.run(self.progress).await?;
        let seal = self.seal(&target.open, encoded);
        settle(self.shared, streaming, seal, self.options, self.progress).await
    }

    fn seal(&self, open: &SignedOpen, encoded: Encoded) -> SealBundle {
        let config = &self.shared.config;
        let manifest = Manifest {
            object: open.open.object.clone(),
            params: config.params,
            suite: config.suite,
            chunk_bytes: config.chunk_bytes,
            object_bytes: encoded.object_bytes,
            stripes: encoded.stripes,
            root: encoded.root,
            expires_at: self.options.expires_at,
        };
        SealBundle::sign(config, open.clone(), manifest, &self.shared.key)
    }

    /// The name is committed: the same content is success, other content is not.
    async fn confirm(
        &mut self,
        commit: VerifiedCommit,
        source: Source,
    ) -> Result<DisperseReport, DisperseError> {
        self.progress.note("this id is stored already: comparing the content");
        let opened = source.open(&self.shared.host).await?;
        self.progress.total(opened.length());
        let other =
            || DisperseError::OtherContent { stored: commit.seal().manifest().object_bytes };
        let stored_bytes = commit.seal().manifest().object_bytes;
        if opened.length().is_some_and(|length| length != stored_bytes) {
            return Err(other());
        }
        let encoded = match stream::digest(self.shared, opened, stored_bytes, self.progress).await {
            Err(DisperseError::Source(crate::source::SourceError::TooLong { .. })) => {
                return Err(other());
            }
            result => result?,
        };
        let same =
            encoded.object_bytes == stored_bytes && encoded.root == commit.seal().manifest().root;
        if !same {
            return Err(other());
        }
        let settled = settle::place(self.shared, commit, BTreeMap::new(), self.options).await;
        Ok(self.report(settled, true))
    }

    fn report(&mut self, settled: Settled, already_stored: bool) -> DisperseReport {
        for (node, error) in &settled.failures {
            self.faults.node(*node, error);
        }
        DisperseReport {
            upload: settled.upload,
            commitment: settled.commitment,
            generation: settled.generation,
            object_bytes: settled.object_bytes,
            placed: settled.placed.into_iter().collect(),
            n: self.shared.config.params.n(),
            already_stored,
            elapsed: self.started.elapsed(),
            faults: self.faults.report(&self.shared.config),
        }
    }
}
