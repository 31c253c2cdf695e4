//! A cluster of real nodes inside the test process and a client that speaks raw frames.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use avid_coding::fpcc::Fpcc;
use avid_coding::merkle::{MerkleBuilder, TreeKind, check_stripe_path, stripe_leaf};
use avid_coding::stripe_coder::StripeCoder;
use avid_net::{Connection, DialTarget, DialTimeouts, Local, Role, SystemHost, dial};
use avid_node::{Node, NodeConfig, open_data_dir};
use avid_protocol::authority::{Grant, Rights};
use avid_protocol::certificate::Predecessor;
use avid_protocol::object::{Manifest, ObjectId, Open, SealBundle, SignedOpen};
use avid_protocol::statement::StatementKind;
use avid_protocol::verify::Verifier;
use avid_protocol::wire::{
    ChunkPrefix, FRAME_VERSION, FragPrefix, HeadAnswer, Message, Opened, RefusalCode, kind,
};
use avid_types::{
    ClusterConfig, ClusterId, Encoder, Epoch, Generation, MemberConfig, NodeId, ObjectName, Params,
    SigningKey, Slot, StripeIndex, StripeLayout, Suite, Timestamp, UploadId,
};

pub(crate) const CHUNK: u32 = 4096;

pub(crate) fn key(tag: u8, number: u16) -> SigningKey {
    let mut seed = [tag; 32];
    seed[..2].copy_from_slice(&number.to_le_bytes());
    SigningKey::from_seed(seed)
}

pub(crate) struct Cluster {
    pub(crate) config: Arc<ClusterConfig>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) owner: SigningKey,
}

impl Cluster {
    pub(crate) async fn start(m: u8, n: u8) -> Self {
        let members = (0..u16::from(n)).map(|i| MemberConfig {
            name: format!("node{i}"),
            vote_key: key(1, i).public(),
            transport_key: key(2, i).public(),
            address: free_address(),
            zone: String::new(),
        });
        let config = ClusterConfig {
            cluster: ClusterId([7; 16]),
            epoch: Epoch(0),
            params: Params::with_most_liars(m, n).unwrap(),
            suite: Suite::default(),
            chunk_bytes: CHUNK,
            members: members.collect(),
            groups: vec![(0..u16::from(n)).map(NodeId).collect()],
            operators: vec![key(3, 0).public()],
        };
        config.check().unwrap();
        let mut cluster = Self {
            config: Arc::new(config),
            dir: tempfile::tempdir().unwrap(),
            nodes: BTreeMap::new(),
            owner: key(4, 0),
        };
        for node in 0..u16::from(n) {
            cluster.start_node(NodeId(node)).await;
        }
        cluster.wait_voting().await;
        cluster
    }

    pub(crate) fn data_dir(&self, node: NodeId) -> std::path::PathBuf {
        self.dir.path().join(format!("node{node}"))
    }

    pub(crate) async fn start_node(&mut self, node: NodeId) {
        let host = SystemHost::shared();
        let config = NodeConfig {
            disk: open_data_dir(&host, &self.data_dir(node)).await.unwrap(),
            host,
            observer: None,
            listen: vec![self.config.members[node.index()].address.clone()],
            cluster: Arc::clone(&self.config),
            node,
            vote_key: key(1, node.0),
            transport_key: key(2, node.0),
        };
        self.nodes.insert(node, Node::start(config).await.unwrap());
    }

    pub(crate) async fn stop_node(&mut self, node: NodeId) {
        self.nodes.remove(&node).unwrap().stop().await.unwrap();
    }

    /// Until every running node may vote and knows cluster time.
    pub(crate) async fn wait_voting(&self) {
        for node in self.nodes.keys() {
            eventually("every node votes", || async {
                let status = self.client(*node).await.status().await;
                status["voting"] == true && status["cluster_time_ms"].as_u64() > Some(0)
            })
            .await;
        }
    }

    pub(crate) async fn client(&self, node: NodeId) -> Client {
        self.client_as(node, &self.owner).await
    }

    pub(crate) async fn client_as(&self, node: NodeId, owner: &SigningKey) -> Client {
        let connection = self.dial(node, owner, true).await.unwrap();
        Client { connection, config: Arc::clone(&self.config), node }
    }

    pub(crate) async fn dial(
        &self,
        node: NodeId,
        client: &SigningKey,
        granted: bool,
    ) -> Result<Connection, avid_net::DialError> {
        let rights = Rights { read: true, write: true };
        let grant = Grant { client: client.public(), rights, not_after: Timestamp::ZERO };
        let mut payload = Encoder::new();
        if granted {
            grant.sign(&self.config, &key(3, 0)).encode(&mut payload);
        }
        let local = Local {
            key: client.clone(),
            role: Role::Client,
            cluster: self.config.cluster,
            epoch: self.config.epoch,
            config: self.config.digest(),
            payload: payload.into_vec(),
        };
        let member = &self.config.members[node.index()];
        let target =
            DialTarget { addresses: vec![member.address.clone()], key: member.transport_key };
        dial(&SystemHost::shared(), &target, &local, DialTimeouts::default()).await
    }

    pub(crate) fn object(&self, name: &str, bytes: &[u8]) -> Object {
        self.object_in(name, bytes, Generation(0))
    }

    pub(crate) fn object_in(&self, name: &str, bytes: &[u8], generation: Generation) -> Object {
        Object::new(&self.config, &self.owner, name, bytes, generation)
    }
}

pub(crate) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let mut polls = tokio::time::interval(Duration::from_millis(20));
    while !check().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        polls.tick().await;
    }
}

/// An object cut, coded and sealed by its owner.
pub(crate) struct Object {
    pub(crate) bundle: SealBundle,
    pub(crate) upload: UploadId,
    pub(crate) layout: StripeLayout,
    pub(crate) stripes: Vec<(Fpcc, Vec<Vec<u8>>)>,
}

impl Object {
    pub(crate) fn new(
        config: &ClusterConfig,
        owner: &SigningKey,
        name: &str,
        bytes: &[u8],
        generation: Generation,
    ) -> Self {
        let coder = StripeCoder::new(config.params, config.suite);
        let length = u64::try_from(bytes.len()).unwrap();
        let layout = StripeLayout::new(config.params, CHUNK, length).unwrap();
        let mut tree = MerkleBuilder::new(TreeKind::Stripes);
        let mut stripes = Vec::new();
        let (m, n) = (config.params.m(), config.params.n());
        let stripe_bytes = usize::try_from(layout.stripe_bytes()).unwrap();
        for (index, data) in bytes.chunks(stripe_bytes).enumerate() {
            let stripe = StripeIndex(u64::try_from(index).unwrap());
            let chunk_bytes = usize::try_from(layout.chunk_bytes(stripe)).unwrap();
            let mut chunks = vec![vec![0; chunk_bytes]; n];
            for (chunk, part) in chunks.iter_mut().zip(data.chunks(chunk_bytes)) {
                chunk[..part.len()].copy_from_slice(part);
            }
            let (data, parity) = chunks.split_at_mut(m);
            let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
            let mut parity: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
            let fpcc = coder.encode(&data, &mut parity).unwrap();
            let chunk_bytes = layout.chunk_bytes(stripe);
            let fpd = fpcc.digest(config.params, config.suite, chunk_bytes);
            tree.push(stripe_leaf(stripe, chunk_bytes, &fpd));
            stripes.push((fpcc, chunks));
        }
        let object =
            ObjectId { owner: owner.public(), name: ObjectName::new(name).unwrap(), generation };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let open = Open {
            object: object.clone(),
            params: config.params,
            suite: config.suite,
            chunk_bytes: CHUNK,
            object_bytes_max: 1 << 40,
            expiry: Timestamp(u64::try_from(now.as_millis()).unwrap() + 3_600_000),
        };
        let manifest = Manifest {
            object,
            params: config.params,
            suite: config.suite,
            chunk_bytes: CHUNK,
            object_bytes: length,
            stripes: layout.stripes(),
            root: tree.root(),
            expires_at: Timestamp::ZERO,
        };
        let upload = open.object.upload(config);
        let bundle = SealBundle::sign(config, open.sign(config, owner), manifest, owner);
        Self { bundle, upload, layout, stripes }
    }
}

pub(crate) struct Client {
    pub(crate) connection: Connection,
    pub(crate) config: Arc<ClusterConfig>,
    pub(crate) node: NodeId,
}

impl Client {
    pub(crate) async fn send(&mut self, message: &Message) {
        let body = message.to_body();
        let writer = self.connection.writer();
        writer.write_frame(message.kind(), FRAME_VERSION, &[&body]).await.unwrap();
        writer.flush().await.unwrap();
    }

    pub(crate) async fn receive(&mut self) -> Message {
        let receive = async {
            let header = self.connection.reader().next_header().await.unwrap().unwrap();
            let body = self.connection.reader().read_body().await.unwrap();
            Message::from_body(header.kind, header.version, &body).unwrap()
        };
        tokio::time::timeout(Duration::from_secs(30), receive).await.expect("an answer in time")
    }

    pub(crate) async fn ask(&mut self, message: &Message) -> Message {
        self.send(message).await;
        self.receive().await
    }

    pub(crate) async fn status(&mut self) -> serde_json::Value {
        match self.ask(&Message::Status).await {
            Message::StatusAnswer(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn head(&mut self, object: &ObjectId) -> HeadAnswer {
        let message = Message::Head { owner: object.owner, name: object.name.clone() };
        match self.ask(&message).await {
            Message::HeadAnswer(answer) => *answer,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn open(
        &mut self,
        open: &SignedOpen,
        predecessor: Option<Predecessor>,
    ) -> Message {
        self.ask(&Message::Open { open: Box::new(open.clone()), predecessor }).await
    }

    pub(crate) async fn chunks(&mut self, object: &Object, from: u64, to: u64) {
        let slot = self.config.slot_of(object.upload, self.node).unwrap();
        for stripe in from..to {
            let (fpcc, chunks) = &object.stripes[usize::try_from(stripe).unwrap()];
            self.chunk(StripeIndex(stripe), fpcc.as_bytes(), &chunks[slot.index()]).await;
        }
    }

    pub(crate) async fn chunk(&mut self, stripe: StripeIndex, fpcc: &[u8], chunk: &[u8]) {
        let prefix = ChunkPrefix { stripe, chunk_bytes: u32::try_from(chunk.len()).unwrap() };
        let parts = [&prefix.to_bytes(fpcc), chunk];
        // A refused stream is closed while chunks are on their way.
        drop(self.connection.writer().write_frame(kind::CHUNK, FRAME_VERSION, &parts).await);
    }

    pub(crate) async fn seal(&mut self, object: &Object) {
        let manifest = Box::new(object.bundle.manifest.clone());
        self.send(&Message::Seal { manifest, seal: object.bundle.seal }).await;
    }

    /// OPEN, chunks and SEAL; does not wait for votes.
    pub(crate) async fn disperse(&mut self, object: &Object, predecessor: Option<Predecessor>) {
        let opened = match self.open(&object.bundle.open, predecessor).await {
            Message::Opened(opened) => opened,
            other => panic!("{other:?}"),
        };
        let Opened { stripes, complete, .. } = opened;
        if !complete {
            self.chunks(object, stripes, object.layout.stripes()).await;
        }
        self.seal(object).await;
    }

    /// Votes until HOLD, each checked.
    pub(crate) async fn votes(&mut self) -> Vec<StatementKind> {
        let mut verifier = Verifier::new(Arc::clone(&self.config));
        let mut kinds = Vec::new();
        while kinds.last() != Some(&StatementKind::Hold) {
            match self.receive().await {
                Message::Vote { vote, .. } => {
                    let vote = verifier.vote(*vote).unwrap();
                    assert_eq!(vote.signer(), self.node);
                    kinds.push(vote.statement().kind);
                }
                other => panic!("{other:?} after {kinds:?}"),
            }
        }
        kinds
    }

    pub(crate) async fn refusal(&mut self) -> RefusalCode {
        match self.receive().await {
            Message::Refused(refused) => refused.code,
            other => panic!("{other:?}"),
        }
    }

    /// All chunks of this node's fragment, each checked against the manifest.
    pub(crate) async fn fragment(&mut self, object: &Object) -> Result<Vec<Vec<u8>>, RefusalCode> {
        let count = object.layout.stripes();
        let first = StripeIndex(0);
        self.send(&Message::GetFrag { upload: object.upload, first, count, proof: None }).await;
        let slot = self.config.slot_of(object.upload, self.node).unwrap();
        let mut chunks = Vec::new();
        for stripe in 0..count {
            let reader = self.connection.reader();
            let header = reader.next_header().await.unwrap().unwrap();
            let body = reader.read_body().await.unwrap();
            if header.kind == kind::REFUSED {
                let refused = Message::from_body(header.kind, header.version, &body).unwrap();
                let Message::Refused(refused) = refused else { panic!("{refused:?}") };
                return Err(refused.code);
            }
            chunks.push(self.check(object, slot, StripeIndex(stripe), &body));
        }
        Ok(chunks)
    }

    fn check(&self, object: &Object, slot: Slot, stripe: StripeIndex, body: &[u8]) -> Vec<u8> {
        let config = &self.config;
        let (fixed, rest) = body.split_at(FragPrefix::FIXED_BYTES);
        let (prefix, variable) = FragPrefix::decode_fixed(fixed).unwrap();
        assert_eq!(prefix.stripe, stripe);
        let (variable, chunk) = rest.split_at(variable);
        let frag = FragPrefix::decode_variable(prefix, config.fpcc_bytes(), variable).unwrap();
        let fpcc = Fpcc::from_bytes(config.params, config.suite, &frag.fpcc).unwrap();
        let fpd = fpcc.digest(config.params, config.suite, prefix.chunk_bytes);
        let leaf = stripe_leaf(stripe, prefix.chunk_bytes, &fpd);
        let manifest = &object.bundle.manifest;
        assert!(check_stripe_path(&manifest.root, manifest.stripes, stripe, leaf, &frag.path));
        let coder = StripeCoder::new(config.params, config.suite);
        coder.check_chunk(slot, chunk, &fpcc).unwrap();
        chunk.to_vec()
    }
}

/// Disperses to the given nodes at once and returns the votes of each.
pub(crate) async fn disperse_to(
    cluster: &Cluster,
    object: &Object,
    nodes: impl IntoIterator<Item = u16>,
    predecessor: Option<Predecessor>,
) -> BTreeMap<u16, Vec<StatementKind>> {
    let mut clients = Vec::new();
    for node in nodes {
        let mut client = cluster.client(NodeId(node)).await;
        client.disperse(object, predecessor.clone()).await;
        clients.push(client);
    }
    let mut votes = BTreeMap::new();
    for mut client in clients {
        votes.insert(client.node.0, client.votes().await);
    }
    votes
}

pub(crate) fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| u8::try_from((i * 31 + i / 251) % 256).unwrap()).collect()
}

pub(crate) fn wipe(dir: &Path) {
    std::fs::remove_dir_all(dir).unwrap();
}
