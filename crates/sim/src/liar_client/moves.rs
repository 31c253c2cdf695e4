//! A client that lies at random: each step one move, every decision from [`Choices`].
//!
//! A swarm drives it by a seed and a fuzzer by bytes; both reach every named lie, combinations of
//! them, and frames that are no message at all.
//!
//! May: everything a [`LiarClient`] may, against its own objects and those of its victims.
//! May not: end; a move takes a bounded number of connections and a bounded time.
//!
//! Spec: docs/protocol.md section 6.

use std::collections::BTreeMap;
use std::time::Duration;

use avid_protocol::certificate::{CommitProof, Predecessor};
use avid_protocol::object::{ObjectId, OrderKind, OwnerOrder};
use avid_protocol::wire::{FRAME_VERSION, Message};
use avid_types::limits::CLIENT_IDLE_MAX;
use avid_types::{Generation, NodeId, Nonce, ObjectName, Slot, StripeIndex, UploadId};

use super::LiarClient;
use super::adversaries::{
    CertificateForger, Dripper, Equivocator, OpenLiar, OpenLie, Opener, OrderForger, Quitter,
    Racer, SIZE_LIES, SizeLiar, VOTES, WrongSlot,
};
use super::choices::Choices;
use super::forged::Forged;
use super::play::{Plan, Play, dispersal, opening, whole};

/// Names a random liar uses: few, so that its dispersals meet.
const NAMES: u64 = 6;
/// Objects and proofs it remembers.
const REMEMBERED: usize = 12;
/// Longest object it writes, bytes.
const CONTENT_BYTES_MAX: u64 = 60_000;

/// One kind of move.
type Move = (&'static str, fn(&mut RandomLiar, &mut Choices) -> Plan);

/// All moves; the order is part of a fuzzer's corpus: new ones go to the end.
const MOVES: [Move; 18] = [
    ("write", RandomLiar::write),
    ("poison", RandomLiar::poison),
    ("alter fingerprint", RandomLiar::alter),
    ("own point", RandomLiar::own_point),
    ("equivocate", RandomLiar::equivocate),
    ("race", RandomLiar::race),
    ("quit", RandomLiar::quit),
    ("size lie", RandomLiar::size_lie),
    ("wrong slot", RandomLiar::wrong_slot),
    ("open lie", RandomLiar::open_lie),
    ("flood", RandomLiar::flood),
    ("forge proofs", RandomLiar::forge_proofs),
    ("forge orders", RandomLiar::forge_orders),
    ("own orders", RandomLiar::own_orders),
    ("ask", RandomLiar::ask_oddly),
    ("garbage", RandomLiar::garbage),
    ("jumble", RandomLiar::jumble),
    ("drip", RandomLiar::drip),
];

/// A client that lies at random.
#[derive(Debug)]
pub struct RandomLiar {
    /// Its hands.
    pub liar: LiarClient,
    /// Objects of others that it attacks and replays.
    pub victims: Vec<ObjectId>,
    /// Moves made, by kind.
    pub moves: BTreeMap<&'static str, u64>,
    /// Every content it ever sealed, by name: what a read of its names may return.
    pub contents: BTreeMap<String, Vec<Vec<u8>>>,
    objects: Vec<Forged>,
    proofs: Vec<CommitProof>,
}

impl RandomLiar {
    /// A liar that knows some victims.
    #[must_use]
    pub fn new(liar: LiarClient, victims: Vec<ObjectId>) -> Self {
        Self {
            liar,
            victims,
            moves: BTreeMap::new(),
            contents: BTreeMap::new(),
            objects: Vec::new(),
            proofs: Vec::new(),
        }
    }

    /// Makes one move and waits for its end; the kind of move it made.
    pub async fn step(&mut self, choices: &mut Choices) -> &'static str {
        if choices.once_in(4) {
            self.learn(choices).await;
        }
        let Some((name, make)) = choices.pick(&MOVES) else { return "nothing" };
        let plan = make(self, choices);
        *self.moves.entry(name).or_default() += 1;
        self.liar.around.trace.say("lie", u64::from(self.liar.number), || (*name).to_owned());
        drop(self.liar.perform(plan).await);
        name
    }

    /// Reads a commit proof of a victim or of its own.
    async fn learn(&mut self, choices: &mut Choices) {
        let own = self.objects.iter().map(|object| object.open.open.object.clone());
        let known: Vec<ObjectId> = self.victims.iter().cloned().chain(own).collect();
        let nodes = self.liar.nodes();
        let (Some(object), Some(node)) = (choices.pick(&known), choices.pick(&nodes)) else {
            return;
        };
        let answer = self.liar.head(*node, object.owner, &object.name).await;
        if let Some(proof) = answer.and_then(|answer| answer.committed) {
            self.proofs.push(*proof);
            let excess = self.proofs.len().saturating_sub(REMEMBERED);
            self.proofs.drain(..excess);
        }
    }

    fn name(choices: &mut Choices) -> String {
        format!("lie {}", choices.below(NAMES))
    }

    fn lifetime(choices: &mut Choices) -> Duration {
        Duration::from_secs(2 + choices.below(40))
    }

    /// An object of one of its names, or one it made before.
    fn object(&mut self, choices: &mut Choices) -> Forged {
        if choices.once_in(3)
            && let Some(object) = choices.pick(&self.objects)
        {
            return object.clone();
        }
        let len = usize::try_from(choices.below(CONTENT_BYTES_MAX)).unwrap_or(0);
        let (name, lifetime) = (Self::name(choices), Self::lifetime(choices));
        let mut object = self.liar.object(&name, &choices.content(len), lifetime);
        if choices.once_in(4) {
            object.open.open.object.generation = Generation(choices.below(3));
            object.manifest.object = object.open.open.object.clone();
            object.open_again();
        }
        self.remember(&object);
        object
    }

    fn remember(&mut self, object: &Forged) {
        let name = object.open.open.object.name.to_string();
        let contents = self.contents.entry(name).or_default();
        if !contents.contains(&object.content) {
            contents.push(object.content.clone());
        }
        self.objects.push(object.clone());
        let excess = self.objects.len().saturating_sub(REMEMBERED);
        self.objects.drain(..excess);
    }

    fn to_some(&self, choices: &mut Choices, object: &Forged) -> Plan {
        let nodes = self.liar.nodes();
        let nodes = if choices.once_in(2) { nodes } else { choices.some(&nodes) };
        let mut plan = dispersal(self.liar.config(), object, nodes, VOTES);
        self.show_predecessor(&mut plan, object);
        plan
    }

    /// Later generations open with the owner's DELETE of the one before.
    fn show_predecessor(&self, plan: &mut Plan, object: &Forged) {
        let id = &object.open.open.object;
        let Some(before) = id.generation.0.checked_sub(1) else { return };
        let ended = ObjectId { generation: Generation(before), ..id.clone() };
        let key = self.liar.key();
        let order = OwnerOrder::sign(self.liar.config(), OrderKind::Delete, ended, key);
        for play in plan.iter_mut().flat_map(|(_, plays)| plays) {
            if let Play::Say(message) = play
                && let Message::Open { predecessor, .. } = &mut **message
            {
                *predecessor = Some(Predecessor::Deleted(order.clone()));
            }
        }
    }

    fn place(&self, choices: &mut Choices, object: &Forged) -> (usize, Slot) {
        let slots = u64::from(self.liar.config().params.n_byte());
        let slot = u8::try_from(choices.below(slots)).unwrap_or(0);
        (choices.index(object.stripes.len()), Slot(slot))
    }

    fn write(&mut self, choices: &mut Choices) -> Plan {
        let object = self.object(choices);
        self.to_some(choices, &object)
    }

    fn poison(&mut self, choices: &mut Choices) -> Plan {
        let mut object = self.object(choices);
        for _ in 0..=choices.below(2) {
            let (stripe, slot) = self.place(choices, &object);
            if choices.once_in(3) {
                object.poison_with_its_fingerprint(stripe, slot);
            } else {
                object.poison(stripe, slot);
            }
        }
        self.to_some(choices, &object)
    }

    fn alter(&mut self, choices: &mut Choices) -> Plan {
        let mut object = self.object(choices);
        let (stripe, slot) = self.place(choices, &object);
        let data = Slot(slot.0 % self.liar.config().params.m_byte());
        object.alter_fingerprint(stripe, data, choices.index(16));
        self.to_some(choices, &object)
    }

    fn own_point(&mut self, choices: &mut Choices) -> Plan {
        let mut object = self.object(choices);
        let (stripe, slot) = self.place(choices, &object);
        drop(object.poison_at_own_point(stripe, slot));
        self.to_some(choices, &object)
    }

    fn equivocate(&mut self, choices: &mut Choices) -> Plan {
        let nodes = self.liar.nodes();
        let (a_to, b_to) = (choices.some(&nodes), choices.some(&nodes));
        let lie = Equivocator::of(&self.liar, &Self::name(choices), &a_to, &b_to);
        self.remember(&lie.a);
        self.remember(&lie.b);
        lie.plan(&self.liar)
    }

    fn race(&mut self, choices: &mut Choices) -> Plan {
        let first = self.object(choices);
        let name = first.open.open.object.name.to_string();
        let mut objects = vec![first.clone(), first];
        for _ in 0..choices.below(2) {
            let lifetime = Self::lifetime(choices);
            let other = self.liar.object(&name, &choices.content(9000), lifetime);
            self.remember(&other);
            objects.push(other);
        }
        Racer { objects }.plan(&self.liar)
    }

    fn quit(&mut self, choices: &mut Choices) -> Plan {
        let (object, nodes) = (self.object(choices), self.liar.nodes());
        let sealed = choices.some(&nodes);
        let begun = choices.some(&nodes).into_iter();
        let begun = begun.map(|node| (node, choices.index(object.stripes.len() + 1))).collect();
        Quitter { object, sealed, begun }.plan(&self.liar)
    }

    fn size_lie(&mut self, choices: &mut Choices) -> Plan {
        let Some(lie) = choices.pick(&SIZE_LIES).copied() else { return Plan::new() };
        let liar = SizeLiar::of(&self.liar, &Self::name(choices), lie);
        self.remember(&liar.object);
        liar.plan(&self.liar)
    }

    fn wrong_slot(&mut self, choices: &mut Choices) -> Plan {
        let object = self.object(choices);
        WrongSlot { object }.plan(&self.liar)
    }

    fn open_lie(&mut self, choices: &mut Choices) -> Plan {
        let mut lies = vec![
            OpenLie::TinyChunks,
            OpenLie::HugeChunks,
            OpenLie::OtherM,
            OpenLie::OtherN,
            OpenLie::OtherSuite,
            OpenLie::HugeObject,
            OpenLie::Past,
            OpenLie::FarFuture,
            OpenLie::BadSignature,
            OpenLie::NoPredecessor,
        ];
        lies.extend(self.victims.iter().map(|victim| OpenLie::OtherOwner(victim.owner)));
        let lie = choices.pick(&lies).copied().unwrap_or(OpenLie::Past);
        OpenLiar { lie }.plan(&self.liar, &Self::name(choices))
    }

    fn flood(&mut self, choices: &mut Choices) -> Plan {
        let opens = u32::try_from(1 + choices.below(8)).unwrap_or(1);
        let from = u32::try_from(choices.below(1000)).unwrap_or(0);
        let nodes = self.liar.nodes();
        let node = choices.pick(&nodes).copied().unwrap_or_default();
        Opener { opens, lifetime: Self::lifetime(choices) }.plan(&self.liar, node, from)
    }

    fn forge_proofs(&mut self, choices: &mut Choices) -> Plan {
        let own = self.object(choices);
        let nodes = self.liar.nodes();
        let (Some(genuine), Some(node)) = (choices.pick(&self.proofs), choices.pick(&nodes)) else {
            return Plan::new();
        };
        let echo_quorum = self.liar.config().params.echo_quorum();
        let forger = CertificateForger { genuine: genuine.clone(), own, echo_quorum };
        let plan = forger.plan(*node);
        plan.into_iter().filter(|_| choices.once_in(3)).collect()
    }

    fn forge_orders(&mut self, choices: &mut Choices) -> Plan {
        let Some(victim) = choices.pick(&self.victims).cloned() else { return Plan::new() };
        OrderForger { victim }.plan(&self.liar)
    }

    fn own_orders(&mut self, choices: &mut Choices) -> Plan {
        let name = ObjectName::new(&Self::name(choices)).expect("a valid name");
        let generation = Generation(choices.below(3));
        let object = ObjectId { owner: self.liar.key().public(), name, generation };
        let kind = if choices.once_in(2) { OrderKind::Cancel } else { OrderKind::Delete };
        let order = OwnerOrder::sign(self.liar.config(), kind, object, self.liar.key());
        let nodes = choices.some(&self.liar.nodes());
        let say = |node| {
            let say = Play::Say(Box::new(Message::Order(order.clone())));
            (node, vec![say, Play::Listen(VOTES)])
        };
        nodes.into_iter().map(say).collect()
    }

    fn ask_oddly(&mut self, choices: &mut Choices) -> Plan {
        let uploads: Vec<_> = self.victims.iter().map(|v| v.upload(self.liar.config())).collect();
        let upload = choices.pick(&uploads).copied().unwrap_or(UploadId([0; 32]));
        let owner = self.victims.first().map_or(self.liar.key().public(), |victim| victim.owner);
        let message = match choices.below(4) {
            0 => Message::Stat { upload, nonce: Nonce::ZERO },
            1 => Message::Status,
            2 => Message::List {
                owner,
                prefix: "x".repeat(choices.index(1000)),
                after: None,
                limit: u16::try_from(choices.below(1 << 16)).unwrap_or(0),
            },
            _ => Message::GetFrag {
                upload,
                first: StripeIndex(choices.below(4) * (u64::MAX / 3)),
                count: choices.below(4) * (u64::MAX / 3),
                proof: self.proofs.last().cloned().map(Box::new),
            },
        };
        let nodes = choices.some(&self.liar.nodes());
        let say = |node| (node, vec![Play::Say(Box::new(message.clone())), Play::Listen(VOTES)]);
        nodes.into_iter().map(say).collect()
    }

    fn garbage(&mut self, choices: &mut Choices) -> Plan {
        let nodes = self.liar.nodes();
        let node = choices.pick(&nodes).copied().unwrap_or_default();
        let mut plays = Vec::new();
        for _ in 0..=choices.below(5) {
            let kind = u8::try_from(choices.below(0x60)).unwrap_or(0);
            let version = if choices.once_in(8) { 9 } else { FRAME_VERSION };
            let len = choices.index(400);
            plays.push(Play::Raw { kind, version, body: choices.content(len) });
        }
        plays.push(Play::Listen(VOTES));
        vec![(node, plays)]
    }

    /// A whole dispersal with plays lost, repeated, exchanged and damaged.
    fn jumble(&mut self, choices: &mut Choices) -> Plan {
        let object = self.object(choices);
        let nodes = choices.some(&self.liar.nodes());
        let mut plan = Plan::new();
        for node in nodes {
            let mut plays = whole(self.liar.config(), &object, node, VOTES);
            for _ in 0..=choices.below(3) {
                let (one, other) = (choices.index(plays.len()), choices.index(plays.len()));
                match choices.below(4) {
                    0 if plays.len() > 1 => drop(plays.remove(one)),
                    1 => plays.insert(other, plays[one].clone()),
                    2 => plays.swap(one, other),
                    _ => damage(&mut plays[one], choices),
                }
            }
            plan.push((node, plays));
        }
        plan
    }

    fn drip(&mut self, choices: &mut Choices) -> Plan {
        let nodes = self.liar.nodes();
        let node = choices.pick(&nodes).copied().unwrap_or_default();
        let object = self.object(choices);
        let slot = self.slot_of(&object, node);
        let begins = match choices.pick(&self.proofs) {
            Some(proof) if choices.once_in(2) => Message::Fill(Box::new(proof.clone())),
            _ => match opening(&object, slot, 0).into_iter().next() {
                Some(Play::Say(open)) => *open,
                _ => Message::Status,
            },
        };
        let rest = Duration::from_secs(choices.below(CLIENT_IDLE_MAX.as_secs() / 6));
        Dripper { begins, object, rest }.plan(&self.liar, node)
    }

    fn slot_of(&self, object: &Forged, node: NodeId) -> Slot {
        self.liar.config().slot_of(object.upload(), node).unwrap_or_default()
    }
}

fn damage(play: &mut Play, choices: &mut Choices) {
    let bytes = match play {
        Play::Chunk { fpcc, .. } if choices.once_in(2) => fpcc,
        Play::Chunk { bytes, .. } => bytes,
        Play::Raw { body, .. } => body,
        Play::Say(message) => {
            let (kind, body) = (message.kind(), message.to_body());
            *play = Play::Raw { kind, version: FRAME_VERSION, body };
            return damage(play, choices);
        }
        Play::Listen(_) | Play::Rest(_) => return,
    };
    let index = choices.index(bytes.len());
    if let Some(byte) = bytes.get_mut(index) {
        *byte ^= u8::try_from(1 + choices.below(255)).unwrap_or(1);
    }
}
