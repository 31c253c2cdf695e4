//! The operator's secret: signs the cluster file and grants. Not needed by any running process.

use serde::{Deserialize, Serialize};

use super::seed::Seed;
use super::{FileKind, Secrecy};

/// The key file of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperatorKey {
    /// Seed of the key.
    pub(crate) seed: Seed,
}

impl FileKind for OperatorKey {
    const FORMAT: &'static str = "avid-operator-key";
    const VERSION: u64 = 1;
    const WHAT: &'static str = "operator key";
    const SECRECY: Secrecy = Secrecy::Secret;
    const MADE_BY: &'static str = "`avid keygen operator`";
}
