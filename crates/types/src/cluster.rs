//! The agreed configuration of a cluster: what every node and client must see alike.
//!
//! A cluster lists its members with their keys, and its placement groups as ordered lists of n
//! members. An upload belongs to one group for ever and to a rotation of it, so that data slots
//! spread evenly:
//!
//! ```text
//! group(u)    = u[8..16] mod P          rotation(u) = u[0..8] mod n      (both little-endian)
//! slot i of u is held by the member at position (i + rotation) mod n of the group
//! ```
//!
//! Spec: docs/protocol.md GROUP-1, PLACE-1.
//! Invariant: every group of a [`ClusterConfig`] has exactly n distinct, existing members.
//! Not here: the operator's signature (`protocol::authority`), files (`cli`).

use crate::encode::{DecodeError, Decoder, Encoder};
use crate::id::{ClusterId, Digest, Epoch, GroupId, Slot, UploadId};
use crate::key::PublicKey;
use crate::limits::{
    ADDRESS_BYTES_MAX, CLUSTER_NODES_MAX, GROUP_NODES_MAX, GROUPS_MAX, LABEL_BYTES_MAX,
};
use crate::params::Params;
use crate::stripes::StripeLayout;
use crate::suite::Suite;

/// Position of a node in the configuration's member list.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct NodeId(pub u16);

impl NodeId {
    /// As an index into the member list.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

/// One member: who it is and where it may be reached.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MemberConfig {
    /// A name for people, unique in the cluster.
    pub name: String,
    /// Signs votes.
    pub vote_key: PublicKey,
    /// Signs handshakes; equals the key of the TLS certificate.
    pub transport_key: PublicKey,
    /// Host and port, a hint: identity is the key.
    pub address: String,
    /// Failure domain.
    pub zone: String,
}

/// Where one upload lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The group.
    pub group: GroupId,
    /// Position in the group of slot 0.
    pub rotation: u8,
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No members or too many.
    #[error("a cluster has 2 to {CLUSTER_NODES_MAX} members, this one has {0}")]
    MemberCount(usize),
    /// Two members share a name or a key.
    #[error("members {first} and {second} share a {what}")]
    Duplicate {
        /// One of them.
        first: NodeId,
        /// The other.
        second: NodeId,
        /// What they share.
        what: &'static str,
    },
    /// A member field is empty, too long or not printable.
    #[error("member {member} has an invalid {what}")]
    Member {
        /// Which member.
        member: NodeId,
        /// Which field.
        what: &'static str,
    },
    /// Not exactly one group of all members.
    #[error(
        "this version places every object on one group of all members; \
         {groups} groups and {members} members for n = {n} are not supported yet"
    )]
    GroupCount {
        /// Groups found.
        groups: usize,
        /// Members found.
        members: usize,
        /// Members a group has.
        n: usize,
    },
    /// A group does not list n distinct existing members.
    #[error("placement group {0} does not list n = {1} distinct members")]
    Group(GroupId, usize),
    /// Chunk size out of range.
    #[error(transparent)]
    ChunkBytes(#[from] crate::stripes::StripeLayoutError),
    /// No operator key, or too many.
    #[error("a cluster has 1 to 16 operator keys, this one has {0}")]
    OperatorCount(usize),
}

/// Everything members and clients agree on. Built by [`ClusterConfig::check`] or decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Names the cluster for ever.
    pub cluster: ClusterId,
    /// Number of this configuration.
    pub epoch: Epoch,
    /// Shape of every group.
    pub params: Params,
    /// Code, fingerprint and hash.
    pub suite: Suite,
    /// Chunk length L, bytes.
    pub chunk_bytes: u32,
    /// All nodes.
    pub members: Vec<MemberConfig>,
    /// Placement groups: n members each, in slot order before rotation.
    pub groups: Vec<Vec<NodeId>>,
    /// Keys that sign configurations and grants.
    pub operators: Vec<PublicKey>,
}

/// Version of the canonical encoding.
const FORMAT: u8 = 1;
/// Operator keys of one cluster.
const OPERATORS_MAX: usize = 16;

impl ClusterConfig {
    /// Checks every rule a configuration obeys.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the first rule broken.
    pub fn check(&self) -> Result<(), ConfigError> {
        StripeLayout::check_chunk_bytes(self.chunk_bytes)?;
        if !(2..=CLUSTER_NODES_MAX).contains(&self.members.len()) {
            return Err(ConfigError::MemberCount(self.members.len()));
        }
        if !(1..=OPERATORS_MAX).contains(&self.operators.len()) {
            return Err(ConfigError::OperatorCount(self.operators.len()));
        }
        self.check_members()?;
        self.check_groups()
    }

    fn check_members(&self) -> Result<(), ConfigError> {
        let mut names = std::collections::BTreeMap::new();
        let mut keys = std::collections::BTreeMap::new();
        for (id, member) in self.nodes() {
            let fields = [
                ("name", &member.name, LABEL_BYTES_MAX),
                ("address", &member.address, ADDRESS_BYTES_MAX),
            ];
            for (what, text, max) in fields {
                if text.is_empty() || text.len() > max || text.chars().any(char::is_control) {
                    return Err(ConfigError::Member { member: id, what });
                }
            }
            if member.zone.len() > LABEL_BYTES_MAX || member.zone.chars().any(char::is_control) {
                return Err(ConfigError::Member { member: id, what: "zone" });
            }
            if let Some(first) = names.insert(member.name.clone(), id) {
                return Err(ConfigError::Duplicate { first, second: id, what: "name" });
            }
            for key in [member.vote_key, member.transport_key] {
                if let Some(first) = keys.insert(key, id) {
                    return Err(ConfigError::Duplicate { first, second: id, what: "key" });
                }
            }
        }
        Ok(())
    }

    fn check_groups(&self) -> Result<(), ConfigError> {
        let (groups, members, n) = (self.groups.len(), self.members.len(), self.params.n());
        if groups != 1 || members != n {
            return Err(ConfigError::GroupCount { groups, members, n });
        }
        for (id, group) in (0u32..).map(GroupId).zip(&self.groups) {
            let distinct: std::collections::BTreeSet<_> = group.iter().collect();
            let exist = group.iter().all(|node| node.index() < self.members.len());
            if group.len() != self.params.n() || distinct.len() != group.len() || !exist {
                return Err(ConfigError::Group(id, self.params.n()));
            }
        }
        Ok(())
    }

    /// Every member with its id.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &MemberConfig)> {
        (0u16..).map(NodeId).zip(&self.members)
    }

    /// The member `node`, if it exists.
    #[must_use]
    pub fn member(&self, node: NodeId) -> Option<&MemberConfig> {
        self.members.get(node.index())
    }

    /// The member with this transport key.
    #[must_use]
    pub fn node_of_transport_key(&self, key: &PublicKey) -> Option<NodeId> {
        self.nodes().find(|(_, member)| member.transport_key == *key).map(|(id, _)| id)
    }

    /// Group and rotation of an upload.
    ///
    /// Rule: PLACE-1.
    #[must_use]
    pub fn placement(&self, upload: UploadId) -> Placement {
        let mut words = Decoder::new(upload.as_bytes());
        let rotation = words.u64().unwrap_or(0) % u64::from(self.params.n_byte());
        let groups = u64::try_from(self.groups.len().max(1)).unwrap_or(1);
        let group = words.u64().unwrap_or(0) % groups;
        Placement {
            group: GroupId(u32::try_from(group).unwrap_or(0)),
            rotation: u8::try_from(rotation).unwrap_or(0),
        }
    }

    /// The node that holds `slot` of `upload`; `None` if the shape has no such slot.
    #[must_use]
    pub fn node_at(&self, upload: UploadId, slot: Slot) -> Option<NodeId> {
        if !self.params.has_slot(slot) {
            return None;
        }
        let placement = self.placement(upload);
        let position = (slot.index() + usize::from(placement.rotation)) % self.params.n();
        self.group(placement.group)?.get(position).copied()
    }

    /// The slot of `upload` that `node` holds; `None` if it is not in the upload's group.
    #[must_use]
    pub fn slot_of(&self, upload: UploadId, node: NodeId) -> Option<Slot> {
        let placement = self.placement(upload);
        let position = self.group(placement.group)?.iter().position(|member| *member == node)?;
        let n = self.params.n();
        let slot = (position + n - usize::from(placement.rotation)) % n;
        u8::try_from(slot).ok().map(Slot)
    }

    /// Members of a group, in order.
    #[must_use]
    pub fn group(&self, group: GroupId) -> Option<&[NodeId]> {
        let index = usize::try_from(group.0).ok()?;
        self.groups.get(index).map(Vec::as_slice)
    }

    /// Bytes of one cross-checksum: 32 per node and one fingerprint per data slot.
    #[must_use]
    pub fn fpcc_bytes(&self) -> usize {
        32 * self.params.n() + self.suite.fingerprint.bytes() * self.params.m()
    }

    /// The name of this configuration: the digest of its canonical bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&[b"avidfp/cluster/v1", &self.to_bytes()])
    }

    /// Canonical bytes; drawn in docs/formats.md.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.u8(FORMAT);
        self.cluster.encode(&mut e);
        self.epoch.encode(&mut e);
        self.params.encode(&mut e);
        e.u8(self.suite.to_byte());
        e.u32(self.chunk_bytes);
        e.list(&self.members, |e, member| {
            e.short_bytes(member.name.as_bytes());
            member.vote_key.encode(e);
            member.transport_key.encode(e);
            e.short_bytes(member.address.as_bytes());
            e.short_bytes(member.zone.as_bytes());
        });
        e.list(&self.groups, |e, group| e.list(group, |e, node| e.u16(node.0)));
        e.list(&self.operators, |e, key| key.encode(e));
        e.into_vec()
    }

    /// Reads and checks canonical bytes.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if malformed or in breach of [`ClusterConfig::check`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut d = Decoder::new(bytes);
        let found = d.u8()?;
        if found != FORMAT {
            return Err(DecodeError::Version {
                what: "cluster configuration",
                found,
                newest: FORMAT,
            });
        }
        let config = Self {
            cluster: ClusterId::decode(&mut d)?,
            epoch: Epoch::decode(&mut d)?,
            params: Params::decode(&mut d)?,
            suite: Suite::from_byte(d.u8()?)?,
            chunk_bytes: d.u32()?,
            members: d.list("members", CLUSTER_NODES_MAX, decode_member)?,
            groups: d.list("groups", GROUPS_MAX, |d| {
                d.list("group", GROUP_NODES_MAX, |d| d.u16().map(NodeId))
            })?,
            operators: d.list("operators", OPERATORS_MAX, PublicKey::decode)?,
        };
        d.finish()?;
        config
            .check()
            .map_err(|_| DecodeError::Invalid { what: "cluster configuration", value: 0 })?;
        Ok(config)
    }
}

fn decode_member(d: &mut Decoder<'_>) -> Result<MemberConfig, DecodeError> {
    Ok(MemberConfig {
        name: decode_text(d, "member name", LABEL_BYTES_MAX)?,
        vote_key: PublicKey::decode(d)?,
        transport_key: PublicKey::decode(d)?,
        address: decode_text(d, "member address", ADDRESS_BYTES_MAX)?,
        zone: decode_text(d, "member zone", LABEL_BYTES_MAX)?,
    })
}

fn decode_text(d: &mut Decoder<'_>, what: &'static str, max: usize) -> Result<String, DecodeError> {
    let bytes = d.short_bytes(what, max)?;
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| DecodeError::Invalid { what, value: 0 })
}

#[cfg(test)]
mod tests;
