//! A cluster of scripted peers in one process: real frames and signatures, memory for a disk, and
//! misbehaviour on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use avid_client::{Client, ClientConfig, ObjectRef, Timeouts};
use avid_coding::merkle::{paths_of, stripe_leaf};
use avid_coding::{Fpcc, MerkleBuilder, MerklePath, StripeCoder, TreeKind};
use avid_net::{Connection, Hello, Listener, ListenerLimits, Local, Role, StopHandle, SystemHost};
use avid_protocol::certificate::{CommitProof, QuorumCert};
use avid_protocol::object::{Manifest, OrderKind, OwnerOrder, SealBundle, SignedOpen};
use avid_protocol::statement::{Statement, StatementKind};
use avid_protocol::vote::{SignedVote, sign_statements};
use avid_protocol::wire::{
    AbortedHead, ChunkPrefix, FRAME_VERSION, FragPrefix, HeadAnswer, ListEntry, ListPage, Message,
    Opened, RefusalCode, kind,
};
use avid_types::{
    ClusterConfig, ClusterId, Commitment, Decoder, Digest, Epoch, MemberConfig, NodeId, ObjectName,
    Params, SigningKey, Slot, StripeIndex, Suite, Timestamp, UploadId,
};
use tokio::sync::{mpsc, watch};

pub(crate) const CHUNK: usize = 4096;

/// How a peer deviates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Bent {
    #[default]
    Straight,
    /// One bit of every chunk is wrong.
    Flip,
    /// Consistent with itself, but of another object.
    OtherFpcc,
    /// The right cross-checksum with a path of noise.
    ForgedPath,
    /// The chunk of the next stripe under this stripe's number.
    OtherStripe,
    /// Says another stripe's number.
    WrongNumber,
    /// One byte less than the stripe's chunk.
    Short,
    /// Length fields that do not fit the frame.
    BadLengths,
    /// Two frames per stripe.
    Twice,
    /// Accepts questions about chunks and says nothing.
    Stall,
    /// Sends a frame that ends before its chunk, and closes.
    Cut,
    /// Refuses to serve.
    Refuse,
    /// Answers Pending unless shown the proof.
    Pending,
    /// Says that stripe 1 is damaged.
    Damaged,
    /// Shows a commit proof with a changed length.
    FalseProof,
    /// Takes OPEN and then reads no chunk.
    DeafAfterOpen,
    /// Signs its votes with another node's key.
    FalseVotes,
}

#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) fpcc: Fpcc,
    pub(crate) chunk: Vec<u8>,
}

#[derive(Default)]
struct Upload {
    open: Option<SignedOpen>,
    seal: Option<SealBundle>,
    echoes: BTreeMap<Slot, SignedVote>,
    readies: BTreeMap<Slot, SignedVote>,
    proof: Option<CommitProof>,
    deleted: Option<OwnerOrder>,
    aborts: BTreeMap<Slot, SignedVote>,
    chunks: BTreeMap<Slot, Vec<Kept>>,
    complete: BTreeSet<Slot>,
}

struct Peer {
    vote_key: SigningKey,
    transport_key: SigningKey,
    bent: Mutex<Bent>,
    stop: Mutex<Option<StopHandle>>,
    chunks_received: AtomicU64,
    /// Frames of a type that are refused before any is answered.
    refusing: Mutex<Option<(u8, RefusalCode, u32)>>,
    refused: AtomicU64,
    /// A port that was free a moment ago, for the next start.
    reserved: Mutex<Option<SocketAddr>>,
}

pub(crate) struct World {
    pub(crate) config: Arc<ClusterConfig>,
    pub(crate) coder: StripeCoder,
    pub(crate) owner: SigningKey,
    peers: Vec<Peer>,
    uploads: Mutex<BTreeMap<UploadId, Upload>>,
    changed: watch::Sender<u64>,
    addresses: Mutex<BTreeMap<NodeId, SocketAddr>>,
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32])
}

pub(crate) fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

/// Bytes that differ everywhere.
pub(crate) fn bytes_of(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(length)
    .collect()
}

impl World {
    pub(crate) fn start(m: u8, n: u8) -> Arc<Self> {
        let peer = |i: u8| Peer {
            vote_key: key(10 + i),
            transport_key: key(60 + i),
            bent: Mutex::default(),
            stop: Mutex::default(),
            chunks_received: AtomicU64::new(0),
            refusing: Mutex::default(),
            refused: AtomicU64::new(0),
            reserved: Mutex::default(),
        };
        let peers: Vec<Peer> = (0..n).map(peer).collect();
        let member = |(i, peer): (usize, &Peer)| MemberConfig {
            name: format!("node{i}"),
            vote_key: peer.vote_key.public(),
            transport_key: peer.transport_key.public(),
            address: "127.0.0.1:1".into(),
            zone: String::new(),
        };
        let params = Params::with_most_liars(m, n).unwrap();
        let config = ClusterConfig {
            cluster: ClusterId([9; 16]),
            epoch: Epoch(0),
            params,
            suite: Suite::default(),
            chunk_bytes: u32::try_from(CHUNK).unwrap(),
            members: peers.iter().enumerate().map(member).collect(),
            groups: vec![(0..u16::from(n)).map(NodeId).collect()],
            operators: vec![key(200).public()],
        };
        config.check().unwrap();
        let world = Arc::new(Self {
            coder: StripeCoder::new(params, config.suite),
            config: Arc::new(config),
            owner: key(1),
            peers,
            uploads: Mutex::default(),
            changed: watch::channel(0).0,
            addresses: Mutex::default(),
        });
        for node in 0..u16::from(n) {
            world.up(NodeId(node));
        }
        world
    }

    /// Starts (again) to listen, on the reserved port or a fresh one.
    pub(crate) fn up(self: &Arc<Self>, node: NodeId) {
        let reserved = self.peers[node.index()].reserved.lock().unwrap().take();
        let address = reserved.unwrap_or_else(|| "127.0.0.1:0".parse().unwrap());
        let listener =
            Listener::bind(&SystemHost::shared(), &[address], ListenerLimits::default()).unwrap();
        self.addresses.lock().unwrap().insert(node, listener.addresses()[0]);
        let (stop, stopped) = StopHandle::new();
        *self.peers[node.index()].stop.lock().unwrap() = Some(stop);
        let local = Local {
            key: self.peers[node.index()].transport_key.clone(),
            role: Role::Node,
            cluster: self.config.cluster,
            epoch: self.config.epoch,
            config: self.config.digest(),
            payload: Vec::new(),
        };
        let (accepted, mut connections) = mpsc::channel(16);
        let watching = stopped.clone();
        tokio::spawn(async move {
            let admit = |_: &Hello| Ok(Vec::new());
            listener.run(stopped, move || local.clone(), admit, accepted).await;
        });
        let world = Arc::clone(self);
        tokio::spawn(async move {
            while let Some(connection) = connections.recv().await {
                let (world, watching) = (Arc::clone(&world), watching.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = watching.stopped() => {}
                        _ended = world.serve(node, connection) => {}
                    }
                });
            }
        });
    }

    pub(crate) fn down(&self, node: NodeId) {
        self.peers[node.index()].stop.lock().unwrap().take().unwrap().stop();
    }

    /// Stops, and names the port where it will listen again: connections there are refused.
    pub(crate) fn down_until_up(&self, node: NodeId) {
        self.down(node);
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        *self.peers[node.index()].reserved.lock().unwrap() = Some(free);
        self.addresses.lock().unwrap().insert(node, free);
    }

    /// Refuses the first messages of a type.
    pub(crate) fn refuse(&self, node: NodeId, kind: u8, code: RefusalCode, times: u32) {
        *self.peers[node.index()].refusing.lock().unwrap() = Some((kind, code, times));
    }

    /// Messages refused so.
    pub(crate) fn refused(&self, node: NodeId) -> u64 {
        self.peers[node.index()].refused.load(Ordering::Acquire)
    }

    fn refusal(&self, node: NodeId, message: &Message) -> Option<Message> {
        let peer = &self.peers[node.index()];
        let mut refusing = peer.refusing.lock().unwrap();
        let (_, code, left) = refusing.as_mut().filter(|(kind, ..)| *kind == message.kind())?;
        *left = left.checked_sub(1)?;
        peer.refused.fetch_add(1, Ordering::AcqRel);
        Some(Message::refused(*code, "scripted: not yet"))
    }

    /// Resolves once any node was sent any message.
    pub(crate) async fn asked(&self) {
        self.changed.subscribe().wait_for(|count| *count > 0).await.unwrap();
    }

    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.config.nodes().map(|(node, _)| node).collect()
    }

    pub(crate) fn bend(&self, node: NodeId, bent: Bent) {
        *self.peers[node.index()].bent.lock().unwrap() = bent;
    }

    fn bent(&self, node: NodeId) -> Bent {
        *self.peers[node.index()].bent.lock().unwrap()
    }

    pub(crate) fn chunks_received(&self, node: NodeId) -> u64 {
        self.peers[node.index()].chunks_received.load(Ordering::Acquire)
    }

    pub(crate) fn client(&self) -> Client {
        self.client_with(Timeouts {
            hedge: Duration::from_millis(100),
            lag_grace: Duration::from_millis(200),
            votes: Duration::from_secs(5),
            not_listening: Duration::from_millis(60),
            down_memory: Duration::ZERO,
            ..Timeouts::default()
        })
    }

    pub(crate) fn client_with(&self, timeouts: Timeouts) -> Client {
        let addresses = self.addresses.lock().unwrap();
        Client::new(ClientConfig {
            cluster: Arc::clone(&self.config),
            key: self.owner.clone(),
            grant: None,
            addresses: addresses.iter().map(|(node, a)| (*node, a.to_string())).collect(),
            timeouts,
            host: SystemHost::shared(),
        })
    }

    pub(crate) fn object(&self, text: &str) -> ObjectRef {
        ObjectRef { owner: self.owner.public(), name: name(text) }
    }

    /// The node at a slot of the newest generation-0 upload of a name.
    pub(crate) fn node_at(&self, text: &str, slot: u8) -> NodeId {
        let upload = self.upload_of(text);
        self.config.node_at(upload, Slot(slot)).unwrap()
    }

    pub(crate) fn upload_of(&self, text: &str) -> UploadId {
        let generation = avid_types::Generation(0);
        let owner = self.owner.public();
        avid_protocol::object::upload_id(&self.config, &owner, &name(text), generation)
    }

    /// Forgets a node's fragment of an object.
    pub(crate) fn forget(&self, text: &str, slot: u8) {
        let upload = self.upload_of(text);
        let mut uploads = self.uploads.lock().unwrap();
        let upload = uploads.get_mut(&upload).unwrap();
        upload.complete.remove(&Slot(slot));
        upload.chunks.remove(&Slot(slot));
    }

    /// Keeps only the first stripes of a fragment, as if the stream had broken there.
    pub(crate) fn interrupt(&self, text: &str, stripes: usize) {
        let upload = self.upload_of(text);
        let mut uploads = self.uploads.lock().unwrap();
        let upload = uploads.get_mut(&upload).unwrap();
        for kept in upload.chunks.values_mut() {
            kept.truncate(stripes);
        }
        upload.complete.clear();
        upload.echoes.clear();
        upload.readies.clear();
        upload.proof = None;
        upload.seal = None;
    }

    fn vote(&self, node: NodeId, statement: Statement) -> SignedVote {
        let is_false = self.bent(node) == Bent::FalseVotes;
        let n = u16::from(self.config.params.n_byte());
        let signer = if is_false { NodeId((node.0 + 1) % n) } else { node };
        let key = &self.peers[signer.index()].vote_key;
        sign_statements(&self.config, key, &[statement]).remove(0)
    }

    async fn serve(&self, node: NodeId, mut connection: Connection) -> Option<()> {
        loop {
            let header = connection.reader().next_header().await.ok()??;
            let body = connection.reader().read_body().await.ok()?;
            let message = Message::from_body(header.kind, header.version, &body).ok()?;
            self.changed.send_modify(|count| *count += 1);
            if let Some(refused) = self.refusal(node, &message) {
                send_refused(&mut connection, &message, &refused).await?;
                continue;
            }
            match message {
                Message::Open { open, .. } => self.on_open(node, &mut connection, *open).await?,
                Message::Fill(proof) => self.on_fill(node, &mut connection, &proof).await?,
                Message::GetFrag { upload, first, count, proof } => {
                    let range = (first.0, count, proof.is_some());
                    self.on_get(node, &mut connection, upload, range).await?;
                }
                other => {
                    let answer = self.answer(node, other);
                    send(&mut connection, &answer).await?;
                }
            }
        }
    }

    fn answer(&self, node: NodeId, message: Message) -> Message {
        match message {
            Message::Head { owner, name } => {
                let mut answer = self.head(&owner, &name, node);
                if self.bent(node) == Bent::FalseProof
                    && let Some(proof) = &mut answer.committed
                {
                    proof.seal.manifest.object_bytes += 1;
                }
                Message::HeadAnswer(Box::new(answer))
            }
            Message::Stat { upload, nonce } => self.stat(node, upload, nonce),
            Message::Order(order) => self.order(node, order),
            Message::List { owner, prefix, after, .. } => {
                let uploads = self.uploads.lock().unwrap();
                let mut entries = Vec::new();
                for upload in uploads.values() {
                    if let Some(proof) = &upload.proof {
                        let id = &proof.seal.manifest.object;
                        let is_after = after.as_ref().is_none_or(|after| id.name > *after);
                        if id.owner == owner && id.name.as_str().starts_with(&prefix) && is_after {
                            entries.push(ListEntry::Committed(Box::new(proof.clone())));
                            entries.extend(upload.deleted.clone().map(ListEntry::Deleted));
                        }
                    }
                }
                Message::ListAnswer(ListPage { entries, complete_to: None })
            }
            Message::Status => Message::StatusAnswer("{}".into()),
            _ => Message::refused(RefusalCode::BadRequest, "not scripted"),
        }
    }

    fn head(&self, owner: &avid_types::PublicKey, name: &ObjectName, node: NodeId) -> HeadAnswer {
        let uploads = self.uploads.lock().unwrap();
        let mut answer = HeadAnswer::default();
        for (id, upload) in uploads.iter() {
            let Some(open) = &upload.open else { continue };
            let object = &open.open.object;
            if object.owner != *owner || object.name != *name {
                continue;
            }
            if let Some(order) = &upload.deleted {
                answer.deleted = Some(order.clone());
            } else if let Some(proof) = &upload.proof {
                answer.committed = Some(Box::new(proof.clone()));
            } else if let Some(vote) = upload.aborts.get(&self.config.slot_of(*id, node).unwrap()) {
                answer.aborted = Some(AbortedHead {
                    generation: object.generation,
                    vote: Some(vote.clone()),
                    cert: None,
                });
            } else {
                answer.pending = Some(open.clone());
            }
        }
        answer
    }

    fn stat(&self, node: NodeId, id: UploadId, nonce: avid_types::Nonce) -> Message {
        let slot = self.config.slot_of(id, node).unwrap();
        let uploads = self.uploads.lock().unwrap();
        let upload = uploads.get(&id).filter(|upload| upload.complete.contains(&slot));
        let Some(proof) = upload.and_then(|upload| upload.proof.as_ref()) else {
            return Message::refused(RefusalCode::NotFound, "no fragment");
        };
        let statement = Statement {
            commitment: proof.echo.commitment,
            nonce,
            ..Statement::about_upload(StatementKind::HoldNow, id, slot)
        };
        Message::Vote { vote: Box::new(self.vote(node, statement)), echo_cert: None }
    }

    fn order(&self, node: NodeId, order: OwnerOrder) -> Message {
        let id = order.object.upload(&self.config);
        let slot = self.config.slot_of(id, node).unwrap();
        let kind = order.kind;
        order.clone().verify(&self.config).unwrap();
        let mut uploads = self.uploads.lock().unwrap();
        let upload = uploads.entry(id).or_default();
        let statement = match kind {
            OrderKind::Delete => {
                upload.deleted = Some(order);
                StatementKind::Deleted
            }
            OrderKind::Cancel if upload.readies.contains_key(&slot) => {
                return Message::refused(RefusalCode::AlreadyReady, "ready");
            }
            OrderKind::Cancel => StatementKind::Abort,
        };
        let vote = self.vote(node, Statement::about_upload(statement, id, slot));
        if kind == OrderKind::Cancel {
            upload.aborts.insert(slot, vote.clone());
        }
        Message::Vote { vote: Box::new(vote), echo_cert: None }
    }

    async fn on_open(
        &self,
        node: NodeId,
        connection: &mut Connection,
        open: SignedOpen,
    ) -> Option<()> {
        let open = open.verify(&self.config).unwrap();
        let (id, slot) = (open.upload(), self.config.slot_of(open.upload(), node).unwrap());
        let opened = {
            let mut uploads = self.uploads.lock().unwrap();
            let upload = uploads.entry(id).or_default();
            upload.open = Some(open.signed().clone());
            self.opened(upload, slot)
        };
        send(connection, &Message::Opened(opened)).await?;
        if self.bent(node) == Bent::DeafAfterOpen {
            return std::future::pending().await;
        }
        let (manifest, seal) = self.receive(node, connection, id, slot).await?;
        let seal = SealBundle { open: open.signed().clone(), manifest, seal };
        self.on_seal(node, connection, slot, seal).await
    }

    fn opened(&self, upload: &Upload, slot: Slot) -> Opened {
        let kept = upload.chunks.get(&slot).map(Vec::as_slice).unwrap_or_default();
        Opened {
            stripes: u64::try_from(kept.len()).unwrap(),
            prefix_root: self.root(kept),
            complete: upload.complete.contains(&slot),
        }
    }

    fn root(&self, kept: &[Kept]) -> Digest {
        let mut tree = MerkleBuilder::new(TreeKind::Stripes);
        for leaf in self.leaves(kept) {
            tree.push(leaf);
        }
        tree.root()
    }

    fn leaves(&self, kept: &[Kept]) -> Vec<Digest> {
        let leaf = |(s, kept): (u64, &Kept)| {
            let length = u32::try_from(kept.chunk.len()).unwrap();
            let fpd = kept.fpcc.digest(self.config.params, self.config.suite, length);
            stripe_leaf(StripeIndex(s), length, &fpd)
        };
        (0..).zip(kept).map(leaf).collect()
    }

    /// Reads and checks chunks up to SEAL, or to the end of the object for a fill.
    async fn receive(
        &self,
        node: NodeId,
        connection: &mut Connection,
        id: UploadId,
        slot: Slot,
    ) -> Option<(Manifest, avid_types::Signature)> {
        loop {
            let header = connection.reader().next_header().await.ok()??;
            if header.kind == kind::SEAL {
                let body = connection.reader().read_body().await.ok()?;
                let Ok(Message::Seal { manifest, seal }) =
                    Message::from_body(header.kind, header.version, &body)
                else {
                    panic!("malformed seal");
                };
                return Some((*manifest, seal));
            }
            assert_eq!(header.kind, kind::CHUNK);
            self.receive_chunk(node, connection, id, slot).await?;
        }
    }

    async fn receive_chunk(
        &self,
        node: NodeId,
        connection: &mut Connection,
        id: UploadId,
        slot: Slot,
    ) -> Option<()> {
        let reader = connection.reader();
        let mut fixed = [0; ChunkPrefix::BYTES];
        reader.read_exact(&mut fixed).await.ok()?;
        let prefix = ChunkPrefix::decode(&mut Decoder::new(&fixed)).unwrap();
        let mut fpcc = vec![0; self.config.fpcc_bytes()];
        reader.read_exact(&mut fpcc).await.ok()?;
        let mut chunk = vec![0; usize::try_from(prefix.chunk_bytes).unwrap()];
        assert_eq!(reader.body_left(), chunk.len(), "frame and chunk length differ");
        reader.read_exact(&mut chunk).await.ok()?;
        let fpcc = Fpcc::from_bytes(self.config.params, self.config.suite, &fpcc).unwrap();
        self.coder.check_chunk(slot, &chunk, &fpcc).expect("the client sent a bad chunk");
        self.peers[node.index()].chunks_received.fetch_add(1, Ordering::AcqRel);
        let mut uploads = self.uploads.lock().unwrap();
        let kept = uploads.entry(id).or_default().chunks.entry(slot).or_default();
        let stripe = usize::try_from(prefix.stripe.0).unwrap();
        assert!(stripe <= kept.len(), "a gap before stripe {stripe}");
        kept.truncate(stripe);
        kept.push(Kept { fpcc, chunk });
        Some(())
    }

    async fn on_seal(
        &self,
        node: NodeId,
        connection: &mut Connection,
        slot: Slot,
        seal: SealBundle,
    ) -> Option<()> {
        let verified = seal.clone().verify(&self.config).expect("the client's seal verifies");
        let (id, commitment) = (verified.upload(), verified.commitment());
        let (expiry, params) = (verified.expiry(), self.config.params);
        let say =
            |kind| Statement { commitment, expiry, ..Statement::about_upload(kind, id, slot) };
        let echo = self.vote(node, say(StatementKind::Echo));
        let fits = self.with(id, |upload| {
            let kept = upload.chunks.entry(slot).or_default();
            if self.root(kept) != seal.manifest.root {
                return false;
            }
            upload.complete.insert(slot);
            upload.seal = Some(seal);
            upload.echoes.insert(slot, echo.clone());
            true
        });
        if !fits {
            let refused = Message::refused(RefusalCode::Unverifiable, "root differs");
            send(connection, &refused).await;
            return None;
        }
        send(connection, &Message::Vote { vote: Box::new(echo), echo_cert: None }).await?;
        self.until(id, |upload| upload.echoes.len() >= params.echo_quorum()).await;
        let ready = self.vote(node, say(StatementKind::Ready));
        self.with(id, |upload| {
            upload.readies.insert(slot, ready.clone());
        });
        let cert = self.with(id, |upload| self.cert(&upload.echoes));
        let message = Message::Vote { vote: Box::new(ready), echo_cert: Some(cert) };
        send(connection, &message).await?;
        self.until(id, |upload| upload.readies.len() >= params.deliver_quorum()).await;
        self.with(id, |upload| {
            let seal = upload.seal.clone().unwrap();
            let (echo, ready) = (self.cert(&upload.echoes), self.cert(&upload.readies));
            upload.proof.get_or_insert(CommitProof { seal, echo, ready });
        });
        self.say_held(node, connection, &say).await
    }

    async fn say_held(
        &self,
        node: NodeId,
        connection: &mut Connection,
        say: &impl Fn(StatementKind) -> Statement,
    ) -> Option<()> {
        for kind in [StatementKind::Delivered, StatementKind::Hold] {
            let vote = Box::new(self.vote(node, say(kind)));
            send(connection, &Message::Vote { vote, echo_cert: None }).await?;
        }
        Some(())
    }

    fn cert(&self, votes: &BTreeMap<Slot, SignedVote>) -> QuorumCert {
        let first = votes.values().next().unwrap();
        QuorumCert::of_votes(self.config.epoch, &first.statement, votes.values())
    }

    fn with<T>(&self, id: UploadId, change: impl FnOnce(&mut Upload) -> T) -> T {
        let result = change(self.uploads.lock().unwrap().entry(id).or_default());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    async fn until(&self, id: UploadId, is: impl Fn(&Upload) -> bool) {
        let mut changed = self.changed.subscribe();
        let reached = |_: &u64| self.uploads.lock().unwrap().get(&id).is_some_and(&is);
        changed.wait_for(reached).await.unwrap();
    }

    async fn on_fill(
        &self,
        node: NodeId,
        connection: &mut Connection,
        proof: &CommitProof,
    ) -> Option<()> {
        let manifest = &proof.seal.manifest;
        let id = manifest.object.upload(&self.config);
        let slot = self.config.slot_of(id, node).unwrap();
        let opened = self.with(id, |upload| {
            upload.open = Some(proof.seal.open.clone());
            self.opened(upload, slot)
        });
        send(connection, &Message::Opened(opened)).await?;
        if !opened.complete {
            for _ in opened.stripes..manifest.stripes {
                let header = connection.reader().next_header().await.ok()??;
                assert_eq!(header.kind, kind::CHUNK);
                self.receive_chunk(node, connection, id, slot).await?;
            }
        }
        let commitment: Commitment = manifest.commitment();
        self.with(id, |upload| {
            let kept = upload.chunks.entry(slot).or_default();
            assert_eq!(self.root(kept), manifest.root, "a fill must give the object's chunks");
            upload.complete.insert(slot);
            upload.proof.get_or_insert(proof.clone());
        });
        let expiry: Timestamp = proof.echo.expiry;
        let say =
            |kind| Statement { commitment, expiry, ..Statement::about_upload(kind, id, slot) };
        self.say_held(node, connection, &say).await
    }

    async fn on_get(
        &self,
        node: NodeId,
        connection: &mut Connection,
        id: UploadId,
        (first, count, has_proof): (u64, u64, bool),
    ) -> Option<()> {
        let slot = self.config.slot_of(id, node).unwrap();
        let bent = self.bent(node);
        let kept = self.with(id, |upload| upload.chunks.get(&slot).cloned().unwrap_or_default());
        let refusal = match bent {
            Bent::Refuse => Some(RefusalCode::NotFound),
            Bent::Pending if !has_proof => Some(RefusalCode::Pending),
            _ if kept.is_empty() => Some(RefusalCode::NotFound),
            _ => None,
        };
        if let Some(code) = refusal {
            return send(connection, &Message::refused(code, "scripted\u{1b}[31m")).await;
        }
        let paths = paths_of(TreeKind::Stripes, &self.leaves(&kept));
        for stripe in first..first + count {
            if bent == Bent::Damaged && stripe == 1 {
                return send(connection, &Message::refused(RefusalCode::Damaged, "")).await;
            }
            let (prefix, chunk) = self.frag((slot, bent), &kept, &paths, stripe);
            send_frag(connection, bent, &prefix, &chunk).await?;
        }
        connection.writer().flush().await.ok()
    }

    /// What stands before a chunk, and the chunk, bent as told.
    fn frag(
        &self,
        (slot, bent): (Slot, Bent),
        kept: &[Kept],
        paths: &[MerklePath],
        stripe: u64,
    ) -> (Vec<u8>, Vec<u8>) {
        let at = usize::try_from(stripe).unwrap();
        let from = if bent == Bent::OtherStripe { (at + 1) % kept.len() } else { at };
        let mut chunk = kept[from].chunk.clone();
        let mut fpcc = kept[from].fpcc.clone();
        let mut path = paths[from].clone();
        if bent == Bent::OtherFpcc {
            // Another object's stripe: chunk and cross-checksum agree with each other.
            let (other, chunks) = self.encode(&vec![7; chunk.len() * self.config.params.m()]);
            fpcc = other;
            chunk.clone_from(&chunks[slot.index()]);
        }
        if bent == Bent::Flip {
            chunk[0] ^= 1;
        }
        if bent == Bent::Short {
            chunk.pop();
        }
        if bent == Bent::ForgedPath {
            path.siblings.iter_mut().for_each(|sibling| sibling.0[0] ^= 1);
        }
        let length = if bent == Bent::BadLengths { 4 << 20 } else { chunk.len() };
        let chunk_bytes = u32::try_from(length).unwrap();
        let stripe = StripeIndex(stripe + u64::from(bent == Bent::WrongNumber));
        let chunk_prefix = ChunkPrefix { stripe, chunk_bytes };
        let fpcc = fpcc.as_bytes().to_vec();
        (FragPrefix { chunk: chunk_prefix, fpcc, path }.to_bytes(), chunk)
    }

    fn encode(&self, data: &[u8]) -> (Fpcc, Vec<Vec<u8>>) {
        let params = self.config.params;
        let length = data.len() / params.m();
        let mut chunks: Vec<Vec<u8>> = data.chunks_exact(length).map(<[u8]>::to_vec).collect();
        let mut parity = vec![vec![0; length]; params.parity()];
        let fpcc = {
            let data: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            let mut parity: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
            self.coder.encode(&data, &mut parity).unwrap()
        };
        chunks.extend(parity);
        (fpcc, chunks)
    }
}

async fn send_frag(
    connection: &mut Connection,
    bent: Bent,
    prefix: &[u8],
    chunk: &[u8],
) -> Option<()> {
    let writer = connection.writer();
    if bent == Bent::Stall {
        return std::future::pending().await;
    }
    if bent == Bent::Cut {
        writer.write_frame(kind::FRAG, FRAME_VERSION, &[&prefix[..20]]).await.ok()?;
        writer.flush().await.ok()?;
        return None;
    }
    for _ in 0..=u8::from(bent == Bent::Twice) {
        writer.write_frame(kind::FRAG, FRAME_VERSION, &[prefix, chunk]).await.ok()?;
    }
    Some(())
}

/// Like a node, closes after refusing a stream.
async fn send_refused(
    connection: &mut Connection,
    message: &Message,
    refused: &Message,
) -> Option<()> {
    send(connection, refused).await?;
    (!matches!(message, Message::Open { .. } | Message::Fill(_))).then_some(())
}

async fn send(connection: &mut Connection, message: &Message) -> Option<()> {
    let writer = connection.writer();
    writer.write_frame(message.kind(), FRAME_VERSION, &[&message.to_body()]).await.ok()?;
    writer.flush().await.ok()
}

/// Fails a test that hangs, with the place.
pub(crate) async fn soon<T>(operation: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), operation).await.expect("finished in time")
}
