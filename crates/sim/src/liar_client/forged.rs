//! Objects made by hand: everything an owner signs and sends, with any part of it changed.
//!
//! A [`Forged`] begins as what an honest client would send. Every change keeps the rest consistent
//! with it (digests, points, fingerprints, Merkle root, signatures) unless it says otherwise, so
//! that exactly one check of a node can object: the one that is to be tested.
//!
//! May: whatever the owner's own key can sign, and any bytes.
//! May not: find collisions of the hash, sign for anybody else.
//!
//! Spec: docs/protocol.md FPCC-1, COMMITMENT-1, sections 1.2 and 2.2.

use avid_coding::digest::chunk_digests;
use avid_coding::fingerprint::{Fingerprint, at_seed, point_seed};
use avid_coding::fpcc::Fpcc;
use avid_coding::merkle::{MerkleBuilder, TreeKind, stripe_leaf};
use avid_coding::stripe_coder::StripeCoder;
use avid_protocol::object::{Manifest, ObjectId, Open, SealBundle, SignedOpen};
use avid_protocol::statement::{Statement, StatementKind};
use avid_types::{
    ClusterConfig, Digest, Generation, ObjectName, Signature, SigningKey, Slot, StripeIndex,
    StripeLayout, Timestamp, UploadId,
};

/// Bytes of a digest in a cross-checksum.
const DIGEST_BYTES: usize = 32;

/// One stripe as it will be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgedStripe {
    /// Chunk of each slot.
    pub chunks: Vec<Vec<u8>>,
    /// Canonical cross-checksum bytes, or what passes for them.
    pub fpcc: Vec<u8>,
}

/// An object as its owner will send it, honest until changed.
#[derive(Clone, Debug)]
pub struct Forged {
    /// What its honest chunks decode to: the only bytes a read may return.
    pub content: Vec<u8>,
    /// Its stripes.
    pub stripes: Vec<ForgedStripe>,
    /// Its description; call [`Forged::seal_again`] after a change.
    pub manifest: Manifest,
    /// Its announcement.
    pub open: SignedOpen,
    /// The owner's signature of SEAL.
    pub seal: Signature,
    owner: SigningKey,
    config: ClusterConfig,
}

/// Which life of which name, until when.
#[derive(Clone, Debug)]
pub struct Named<'a> {
    /// The name.
    pub name: &'a str,
    /// The life of the name.
    pub generation: Generation,
    /// Cluster time after which nodes may abort.
    pub expiry: Timestamp,
}

impl Forged {
    /// What an honest owner would send.
    ///
    /// # Panics
    ///
    /// If the name is not valid.
    #[must_use]
    pub fn honest(
        config: &ClusterConfig,
        owner: &SigningKey,
        named: &Named<'_>,
        content: &[u8],
    ) -> Self {
        let coder = StripeCoder::new(config.params, config.suite);
        let layout = layout_of(config, content);
        let stripe_bytes = usize::try_from(layout.stripe_bytes()).expect("small objects");
        let mut stripes = Vec::new();
        for (index, data) in content.chunks(stripe_bytes).enumerate() {
            let len = usize::try_from(layout.chunk_bytes(stripe_index(index))).expect("short");
            stripes.push(honest_stripe(&coder, data, len));
        }
        let name = ObjectName::new(named.name).expect("scenarios use valid names");
        let object = ObjectId { owner: owner.public(), name, generation: named.generation };
        let open = Open {
            object: object.clone(),
            params: config.params,
            suite: config.suite,
            chunk_bytes: config.chunk_bytes,
            object_bytes_max: 1 << 40,
            expiry: named.expiry,
        };
        let manifest = Manifest {
            object,
            params: config.params,
            suite: config.suite,
            chunk_bytes: config.chunk_bytes,
            object_bytes: layout.object_bytes(),
            stripes: layout.stripes(),
            root: Digest::ZERO,
            expires_at: Timestamp::ZERO,
        };
        let open = open.sign(config, owner);
        let bundle = SealBundle::sign(config, open, manifest, owner);
        let mut forged = Self {
            content: content.to_vec(),
            stripes,
            manifest: bundle.manifest,
            open: bundle.open,
            seal: bundle.seal,
            owner: owner.clone(),
            config: config.clone(),
        };
        forged.root_again();
        forged
    }

    /// The upload it is dispersed as.
    #[must_use]
    pub fn upload(&self) -> UploadId {
        self.open.open.object.upload(&self.config)
    }

    /// Takes the Merkle root over the stripes as they are, and seals.
    pub fn root_again(&mut self) {
        let mut tree = MerkleBuilder::new(TreeKind::Stripes);
        for (index, stripe) in self.stripes.iter().enumerate() {
            tree.push(leaf_of(&self.config, index, stripe));
        }
        self.manifest.root = tree.root();
        self.seal_again();
    }

    /// Signs SEAL over the manifest as it is, whatever it says.
    pub fn seal_again(&mut self) {
        let statement = Statement {
            commitment: self.manifest.commitment(),
            expiry: self.open.open.expiry,
            ..Statement::about_upload(StatementKind::Seal, self.upload(), Slot(0))
        };
        self.seal = statement.sign_as_owner(&self.config, &self.owner);
    }

    /// Signs OPEN as it is, whatever it says.
    pub fn open_again(&mut self) {
        self.open = self.open.open.clone().sign(&self.config, &self.owner);
        self.seal_again();
    }

    /// Replaces the chunk of one slot by one off the codeword: its digest is right, the point is
    /// derived from all digests, and the fingerprints are those of the true data chunks.
    ///
    /// Only the node of that slot, or a reader of its chunk, can see it, and only by the
    /// fingerprint.
    pub fn poison(&mut self, stripe: usize, slot: Slot) {
        let Some(forged) = self.stripes.get_mut(stripe) else { return };
        let truth: Vec<Vec<u8>> =
            forged.chunks.iter().take(self.config.params.m()).cloned().collect();
        if let Some(byte) = forged.chunks.get_mut(slot.index()).and_then(|chunk| chunk.first_mut())
        {
            *byte ^= 0x5a;
        }
        forged.fpcc = fpcc_at_its_point(&self.config, &forged.chunks, &truth);
        self.root_again();
    }

    /// As [`Forged::poison`] of a data slot, with the fingerprint of the false chunk: its node
    /// accepts, and every parity node sees a codeword that is none.
    pub fn poison_with_its_fingerprint(&mut self, stripe: usize, slot: Slot) {
        let Some(forged) = self.stripes.get_mut(stripe) else { return };
        if let Some(byte) = forged.chunks.get_mut(slot.index()).and_then(|chunk| chunk.first_mut())
        {
            *byte ^= 0x5a;
        }
        forged.fpcc = fpcc_at_its_point(&self.config, &forged.chunks, &forged.chunks);
        self.root_again();
    }

    /// Poisons a slot so that it *passes* at a point the client likes, and uses that point.
    ///
    /// A verifier that took the point from the client would accept every slot. Returns the
    /// fingerprint at that point, to show so.
    pub fn poison_at_own_point(&mut self, stripe: usize, slot: Slot) -> Box<dyn Fingerprint> {
        let seed = Digest::of(&[b"a point the client likes"]);
        let own = at_seed(self.config.suite.fingerprint, &seed);
        let Some(forged) = self.stripes.get_mut(stripe) else { return own };
        if let Some(chunk) = forged.chunks.get_mut(slot.index()) {
            let change = invisible_at(&*own, chunk.len());
            for (byte, change) in chunk.iter_mut().zip(change) {
                *byte ^= change;
            }
        }
        let mut fpcc = digests(&forged.chunks);
        for chunk in forged.chunks.iter().take(self.config.params.m()) {
            fpcc.extend_from_slice(own.evaluate(chunk).as_bytes());
        }
        forged.fpcc = fpcc;
        self.root_again();
        own
    }

    /// Changes one byte of one fingerprint; digests and root stay consistent.
    pub fn alter_fingerprint(&mut self, stripe: usize, data_slot: Slot, byte: usize) {
        let (n, per) = (self.config.params.n(), self.config.suite.fingerprint.bytes());
        let at = n * DIGEST_BYTES + data_slot.index() * per + byte % per;
        let byte = self.stripes.get_mut(stripe).and_then(|forged| forged.fpcc.get_mut(at));
        if let Some(byte) = byte {
            *byte ^= 1;
        }
        self.root_again();
    }

    /// Whether a node would take the chunk of a slot: what the production check says.
    #[must_use]
    pub fn is_consistent(&self, stripe: usize, slot: Slot) -> bool {
        let (params, suite) = (self.config.params, self.config.suite);
        let Some(forged) = self.stripes.get(stripe) else { return false };
        let (Ok(fpcc), Some(chunk)) =
            (Fpcc::from_bytes(params, suite, &forged.fpcc), forged.chunks.get(slot.index()))
        else {
            return false;
        };
        StripeCoder::new(params, suite).check_chunk(slot, chunk, &fpcc).is_ok()
    }

    /// Leaf of one stripe in the tree of the manifest.
    #[must_use]
    pub fn leaves(&self) -> Vec<Digest> {
        let stripes = self.stripes.iter().enumerate();
        stripes.map(|(index, stripe)| leaf_of(&self.config, index, stripe)).collect()
    }
}

fn stripe_index(index: usize) -> StripeIndex {
    StripeIndex(u64::try_from(index).unwrap_or(u64::MAX))
}

fn layout_of(config: &ClusterConfig, content: &[u8]) -> StripeLayout {
    let len = u64::try_from(content.len()).unwrap_or(u64::MAX);
    StripeLayout::new(config.params, config.chunk_bytes, len).expect("small objects")
}

fn honest_stripe(coder: &StripeCoder, data: &[u8], chunk_bytes: usize) -> ForgedStripe {
    let params = coder.params();
    let mut chunks = vec![vec![0; chunk_bytes]; params.n()];
    for (chunk, part) in chunks.iter_mut().zip(data.chunks(chunk_bytes)) {
        chunk.iter_mut().zip(part).for_each(|(byte, value)| *byte = *value);
    }
    let (data, parity) = chunks.split_at_mut(params.m());
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let mut parity: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    let fpcc = coder.encode(&data, &mut parity).expect("lengths are equal").as_bytes().to_vec();
    ForgedStripe { chunks, fpcc }
}

fn leaf_of(config: &ClusterConfig, index: usize, stripe: &ForgedStripe) -> Digest {
    let chunk_bytes = stripe.chunks.first().map_or(0, Vec::len);
    let chunk_bytes = u32::try_from(chunk_bytes).unwrap_or(u32::MAX);
    let digest = Fpcc::from_bytes(config.params, config.suite, &stripe.fpcc)
        .map_or(Digest::ZERO, |fpcc| fpcc.digest(config.params, config.suite, chunk_bytes));
    stripe_leaf(stripe_index(index), chunk_bytes, &digest)
}

fn digests(chunks: &[Vec<u8>]) -> Vec<u8> {
    let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
    chunk_digests(&chunks).iter().flat_map(|digest| digest.0).collect()
}

/// The cross-checksum of chunks: digests of these, fingerprints of those, at the honest point.
fn fpcc_at_its_point(config: &ClusterConfig, chunks: &[Vec<u8>], data: &[Vec<u8>]) -> Vec<u8> {
    let mut fpcc = digests(chunks);
    let chunk_bytes = u32::try_from(chunks.first().map_or(0, Vec::len)).unwrap_or(u32::MAX);
    let seed = point_seed(config.params, config.suite, chunk_bytes, &fpcc);
    let fingerprint = at_seed(config.suite.fingerprint, &seed);
    for chunk in data.iter().take(config.params.m()) {
        fpcc.extend_from_slice(fingerprint.evaluate(chunk).as_bytes());
    }
    fpcc
}

/// Bytes that are not zero and have the fingerprint zero at a known point: added to any chunk,
/// they change it and not its fingerprint. For chunks whose last superblock is (nearly) full.
///
/// The last superblock is not multiplied by R, and its lane 0 not by S either: whatever the rest
/// has for a fingerprint is cancelled by writing that value there.
#[must_use]
pub fn invisible_at(fingerprint: &dyn Fingerprint, chunk_bytes: usize) -> Vec<u8> {
    const SUPERBLOCK: usize = 1024;
    const LANES: usize = 64;
    let last = (chunk_bytes.saturating_sub(1) / SUPERBLOCK) * SUPERBLOCK;
    let mut change = vec![0; chunk_bytes];
    for byte in change.iter_mut().skip(last + 1).step_by(LANES).take(1) {
        *byte = 1;
    }
    let value = fingerprint.evaluate(&change);
    for (coefficient, byte) in
        value.as_bytes().iter().zip(change.iter_mut().skip(last).step_by(LANES))
    {
        *byte ^= coefficient;
    }
    change
}

#[cfg(test)]
mod tests {
    use avid_types::FingerprintKind;

    use super::*;
    use crate::world::{Shape, client_key, cluster_config};

    fn forged() -> Forged {
        let named =
            Named { name: "a", generation: Generation(0), expiry: Timestamp(1_767_225_700_000) };
        let content: Vec<u8> = (0..30_000).map(|i| u8::try_from(i % 253).unwrap()).collect();
        Forged::honest(&cluster_config(Shape::default(), 7), &client_key(1), &named, &content)
    }

    fn refusing(forged: &Forged, stripe: usize) -> Vec<u8> {
        let slots = forged.config.params.slots();
        slots.filter(|slot| !forged.is_consistent(stripe, *slot)).map(|slot| slot.0).collect()
    }

    /// Rule: FPCC-1. Each change is seen by exactly the slots that its description names.
    #[test]
    fn each_forgery_is_inconsistent_where_it_says_and_nowhere_else() {
        let honest = forged();
        assert_eq!(refusing(&honest, 1), [0; 0]);
        assert!(
            SealBundle {
                open: honest.open.clone(),
                manifest: honest.manifest.clone(),
                seal: honest.seal
            }
            .verify(&honest.config)
            .is_ok()
        );

        let mut poisoned = forged();
        poisoned.poison(1, Slot(4));
        assert_eq!((refusing(&poisoned, 0), refusing(&poisoned, 1)), (vec![], vec![4]));

        let mut poisoned = forged();
        poisoned.poison(1, Slot(0));
        assert_eq!(refusing(&poisoned, 1), [0]);

        let mut poisoned = forged();
        poisoned.poison_with_its_fingerprint(1, Slot(0));
        assert_eq!(refusing(&poisoned, 1), [3, 4]);

        let mut altered = forged();
        altered.alter_fingerprint(1, Slot(1), 15);
        assert_eq!(refusing(&altered, 1), [1, 3, 4]);

        let mut own = forged();
        own.poison_at_own_point(1, Slot(4));
        assert_eq!(refusing(&own, 1), [0, 1, 2, 3, 4]);
    }

    /// Section 2.2: whoever knows the point before the chunks are frozen passes with anything.
    #[test]
    fn a_change_is_invisible_at_the_point_it_was_made_for_and_at_no_other() {
        for len in [4096, 4095, 2048, 1024] {
            let at = |seed: &[u8]| at_seed(FingerprintKind::Fp128, &Digest::of(&[seed]));
            let change = invisible_at(&*at(b"known"), len);
            assert!(change.iter().any(|byte| *byte != 0));
            assert!(at(b"known").evaluate(&change).as_bytes().iter().all(|byte| *byte == 0));
            assert!(at(b"other").evaluate(&change).as_bytes().iter().any(|byte| *byte != 0));
        }
    }
}
