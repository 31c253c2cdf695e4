//! Erasure code, homomorphic fingerprints, digests and stripe arithmetic.
//!
//! ```text
//! m data chunks --codec--> n chunks --digest--> cc[0..n] --random oracle--> point
//!       |                                                                     |
//!       +--------------------------- fingerprint at the point ----------------+--> fp[0..m]
//! ```
//! A chunk of slot i is *consistent* with its cross-checksum when its digest is `cc[i]` **and** its
//! fingerprint is row i of the generator applied to `fp`. Both halves are needed: see
//! [`fingerprint`] for the theorem and [`StripeCoder::check_chunk`] for the check.
//!
//! Spec: docs/protocol.md sections 1.2, 2.1 to 2.5.
//! Invariant: every kernel chosen at run time gives the bytes of its scalar twin.
//! Not here: quorums (`types`), manifests and votes (`protocol`), files (`store`).

pub mod codec;
pub mod digest;
pub mod fingerprint;
pub mod fpcc;
pub mod gf;
pub mod merkle;
pub mod stripe_coder;

pub use codec::{Codec, EncodeError, RebuildError, ReedSolomon, RepairPlan, SubChunk};
pub use digest::{chunk_digest, chunk_digests, leaf_digests};
pub use fingerprint::{Fingerprint, FingerprintValue, Fp64, Fp128};
pub use fpcc::{Fpcc, FpccError};
pub use merkle::{MerkleBuilder, MerklePath, PathStep, Side, TreeKind};
pub use stripe_coder::{ChunkFault, StripeCoder};

/// Which kernel serves each task on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelNames {
    /// SHA-256 over many equal-length inputs.
    pub hash: &'static str,
    /// The fingerprint's Horner step.
    pub fingerprint: &'static str,
    /// Reed-Solomon encode and rebuild.
    pub erasure: &'static str,
}

/// The kernels that run-time detection selects.
#[must_use]
pub fn kernels() -> KernelNames {
    KernelNames {
        hash: digest::HashKernel::best().name(),
        fingerprint: gf::Kernel::best().name(),
        erasure: gf::LinearMap::kernel_name(),
    }
}
