//! Erasure code, homomorphic fingerprints, digests and stripe arithmetic.
