//! Keys, configurations and objects of a test cluster, all from fixed seeds.

use std::sync::Arc;

use avid_protocol::certificate::{CommitProof, QuorumCert};
use avid_protocol::object::{
    Manifest, ObjectId, Open, OrderKind, OwnerOrder, SealBundle, SignedOpen, VerifiedSeal,
};
use avid_protocol::record::Promise;
use avid_protocol::statement::{Statement, StatementKind};
use avid_protocol::verify::Verifier;
use avid_protocol::vote::{SignedVote, sign_statements};
use avid_types::{
    ClusterConfig, ClusterId, Digest, Epoch, Generation, GroupId, MemberConfig, NodeId, ObjectName,
    Params, SigningKey, Slot, StripeLayout, Suite, Timestamp, UploadId,
};

/// Cluster time at the start of every scenario.
pub(crate) const NOW: Timestamp = Timestamp(1_000_000);
/// Expiry of every OPEN unless a test says otherwise.
pub(crate) const EXPIRY: Timestamp = Timestamp(2_000_000);

/// A cluster of one group whose secret keys the test knows.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) config: Arc<ClusterConfig>,
    /// Vote keys by node.
    pub(crate) keys: Vec<SigningKey>,
    pub(crate) owner: SigningKey,
    pub(crate) operator: SigningKey,
}

fn key(role: u8, number: u8) -> SigningKey {
    let mut seed = [role; 32];
    seed[0] = number;
    SigningKey::from_seed(seed)
}

impl World {
    /// m-of-n with as many liars as that tolerates.
    pub(crate) fn new(m: u8, n: u8) -> Self {
        Self::of(m, n, ClusterId([0xc1; 16]), Epoch(0), 1)
    }

    pub(crate) fn of(m: u8, n: u8, cluster: ClusterId, epoch: Epoch, groups: usize) -> Self {
        let keys: Vec<SigningKey> = (0..n).map(|number| key(1, number)).collect();
        let operator = key(4, 0);
        let members = (0..n).zip(&keys).map(|(number, vote_key)| MemberConfig {
            name: format!("node{number}"),
            vote_key: vote_key.public(),
            transport_key: key(2, number).public(),
            address: format!("node{number}.example:7400"),
            zone: format!("zone{number}"),
        });
        let config = ClusterConfig {
            cluster,
            epoch,
            params: Params::with_most_liars(m, n).unwrap(),
            suite: Suite::default(),
            chunk_bytes: 4096,
            members: members.collect(),
            groups: vec![(0..u16::from(n)).map(NodeId).collect(); groups],
            operators: vec![operator.public()],
        };
        if groups == 1 {
            config.check().unwrap(); // More groups are refused today; their statements differ.
        }
        Self { config: Arc::new(config), keys, owner: key(3, 0), operator }
    }

    pub(crate) fn params(&self) -> Params {
        self.config.params
    }

    pub(crate) fn verifier(&self) -> Verifier {
        Verifier::new(Arc::clone(&self.config))
    }

    pub(crate) fn object(&self, name: &str, generation: u64) -> ObjectId {
        self.object_of(&self.owner, name, generation)
    }

    pub(crate) fn object_of(&self, owner: &SigningKey, name: &str, generation: u64) -> ObjectId {
        ObjectId {
            owner: owner.public(),
            name: ObjectName::new(name).unwrap(),
            generation: Generation(generation),
        }
    }

    pub(crate) fn open(&self, object: ObjectId, expiry: Timestamp) -> Open {
        Open {
            object,
            params: self.params(),
            suite: self.config.suite,
            chunk_bytes: self.config.chunk_bytes,
            object_bytes_max: 1 << 20,
            expiry,
        }
    }

    pub(crate) fn signed_open(&self, object: ObjectId) -> SignedOpen {
        self.open(object, EXPIRY).sign(&self.config, &self.owner)
    }

    /// A well-formed manifest of three stripes; `root` stands for the bytes.
    pub(crate) fn manifest(&self, object: ObjectId, root: u8) -> Manifest {
        let object_bytes = 2 * 4096 * u64::from(self.params().m_byte()) + 1;
        let chunk_bytes = self.config.chunk_bytes;
        let layout = StripeLayout::new(self.params(), chunk_bytes, object_bytes).unwrap();
        Manifest {
            object,
            params: self.params(),
            suite: self.config.suite,
            chunk_bytes,
            object_bytes,
            stripes: layout.stripes(),
            root: Digest([root; 32]),
            expires_at: Timestamp::ZERO,
        }
    }

    /// The owner's signed word about generation 0 of "photo" with these bytes.
    pub(crate) fn bundle(&self, root: u8) -> SealBundle {
        self.bundle_of(self.object("photo", 0), root)
    }

    pub(crate) fn bundle_of(&self, object: ObjectId, root: u8) -> SealBundle {
        let manifest = self.manifest(object.clone(), root);
        SealBundle::sign(&self.config, self.signed_open(object), manifest, &self.owner)
    }

    pub(crate) fn seal(&self, bundle: &SealBundle) -> VerifiedSeal {
        bundle.clone().verify(&self.config).unwrap()
    }

    pub(crate) fn order(&self, kind: OrderKind, object: ObjectId) -> OwnerOrder {
        OwnerOrder::sign(&self.config, kind, object, &self.owner)
    }

    /// The secret key of the node at a slot.
    pub(crate) fn key_at(&self, upload: UploadId, slot: Slot) -> &SigningKey {
        &self.keys[self.config.node_at(upload, slot).unwrap().index()]
    }

    /// Signed by the node at the statement's slot, alone in its batch.
    pub(crate) fn sign(&self, statement: &Statement) -> SignedVote {
        let key = self.key_at(statement.upload, statement.slot);
        sign_statements(&self.config, key, &[*statement]).remove(0)
    }

    /// What the node at `slot` would say about this content.
    pub(crate) fn statement(
        &self,
        kind: StatementKind,
        bundle: &SealBundle,
        slot: u8,
    ) -> Statement {
        let upload = bundle.open.open.object.upload(&self.config);
        let bare = Statement::about_upload(kind, upload, Slot(slot));
        if matches!(kind, StatementKind::Abort | StatementKind::Deleted) {
            return bare;
        }
        let promise = promise(bundle);
        Statement { commitment: promise.commitment, expiry: promise.expiry, ..bare }
    }

    pub(crate) fn vote(&self, kind: StatementKind, bundle: &SealBundle, slot: u8) -> SignedVote {
        self.sign(&self.statement(kind, bundle, slot))
    }

    pub(crate) fn cert(
        &self,
        kind: StatementKind,
        bundle: &SealBundle,
        slots: &[u8],
    ) -> QuorumCert {
        let votes: Vec<SignedVote> =
            slots.iter().map(|slot| self.vote(kind, bundle, *slot)).collect();
        QuorumCert::of_votes(self.config.epoch, &self.statement(kind, bundle, 0), votes.iter())
    }

    /// A commit proof of the first E echoes and the first D readies.
    pub(crate) fn proof(&self, bundle: &SealBundle) -> CommitProof {
        let slots: Vec<u8> = (0..self.params().n_byte()).collect();
        let (echoes, readies) = (self.params().echo_quorum(), self.params().deliver_quorum());
        CommitProof {
            seal: bundle.clone(),
            echo: self.cert(StatementKind::Echo, bundle, &slots[..echoes]),
            ready: self.cert(StatementKind::Ready, bundle, &slots[..readies]),
        }
    }

    pub(crate) fn abort_cert(&self, bundle: &SealBundle) -> QuorumCert {
        let slots: Vec<u8> = (0..self.params().n_byte()).collect();
        self.cert(StatementKind::Abort, bundle, &slots[..self.params().answer_quorum()])
    }

    pub(crate) fn group_of(&self, bundle: &SealBundle) -> GroupId {
        self.config.placement(bundle.open.open.object.upload(&self.config)).group
    }
}

/// What votes name of this content.
pub(crate) fn promise(bundle: &SealBundle) -> Promise {
    Promise { commitment: bundle.manifest.commitment(), expiry: bundle.open.open.expiry }
}
