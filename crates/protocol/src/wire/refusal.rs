//! Why a node refuses, for programs; a sentence for people goes with it.

use avid_types::DecodeError;

/// Why a node refuses, for programs; a sentence for people goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalCode {
    /// Malformed or unexpected message.
    BadRequest,
    /// The client's grant does not allow it.
    NotAllowed,
    /// Other content under this id.
    OtherContent,
    /// The dispersal was aborted.
    Aborted,
    /// The owner deleted the object.
    Deleted,
    /// Expired in cluster time.
    Expired,
    /// Nothing of this upload is here.
    NotFound,
    /// Known but not delivered within the bounded wait (READ-2).
    Pending,
    /// A limit of this node is reached; retry later.
    Busy,
    /// Too little space to take more.
    DiskFull,
    /// A chunk, cross-checksum or manifest does not fit together.
    Unverifiable,
    /// The node cannot vote or serve now (starting, stopping, amnesia, no cluster time).
    Unavailable,
    /// The fragment here is damaged.
    Damaged,
    /// Generation g + 1 without proof that g ended.
    Predecessor,
    /// Past the point where a dispersal can be cancelled.
    AlreadyReady,
}

const REFUSAL_CODES: [RefusalCode; 15] = [
    RefusalCode::BadRequest,
    RefusalCode::NotAllowed,
    RefusalCode::OtherContent,
    RefusalCode::Aborted,
    RefusalCode::Deleted,
    RefusalCode::Expired,
    RefusalCode::NotFound,
    RefusalCode::Pending,
    RefusalCode::Busy,
    RefusalCode::DiskFull,
    RefusalCode::Unverifiable,
    RefusalCode::Unavailable,
    RefusalCode::Damaged,
    RefusalCode::Predecessor,
    RefusalCode::AlreadyReady,
];

impl RefusalCode {
    pub(super) fn to_byte(self) -> u8 {
        let position = REFUSAL_CODES.iter().position(|code| *code == self).unwrap_or(0);
        u8::try_from(position).unwrap_or(0) + 1
    }

    pub(super) fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        let position = usize::from(byte).checked_sub(1);
        position
            .and_then(|position| REFUSAL_CODES.get(position))
            .copied()
            .ok_or(DecodeError::Invalid { what: "refusal code", value: u64::from(byte) })
    }
}

impl From<crate::server::Refusal> for RefusalCode {
    fn from(refusal: crate::server::Refusal) -> Self {
        use crate::server::Refusal;
        match refusal {
            Refusal::OtherContent => Self::OtherContent,
            Refusal::Aborted => Self::Aborted,
            Refusal::Deleted => Self::Deleted,
            Refusal::Expired | Refusal::TooFarAhead => Self::Expired,
            Refusal::NoClusterTime => Self::Unavailable,
            Refusal::AlreadyReady => Self::AlreadyReady,
        }
    }
}
