//! Every interleaving at 2-of-4 with one liar and an owner who signs two contents.
//!
//! Nodes 1 to 3 run the real machine, node 4 says anything to anybody at any time. Messages are
//! never lost for good, only late, and may come again after a restart: a state is what each node
//! is and has said. Any node may restart from its journal at any point. Each node's machine is explored once as an automaton (state and
//! input give the next state and what is said); then all interleavings of the three automata are
//! walked. Scenario 42.
//!
//! What is bounded: which content the owner offers to which node is fixed per run.

use std::cell::RefCell;
use std::collections::BTreeMap;

use avid_protocol::object::{OrderKind, SealBundle};
use avid_protocol::record::{Phase, UploadRecord};
use avid_protocol::server::{Input, ServerUpload};
use avid_protocol::statement::{Statement, StatementKind};
use avid_protocol::verify::VerifiedVote;
use avid_types::{Commitment, Digest, UploadId};

use crate::cluster::slot;
use crate::world::{NOW, World, promise};

const HONEST: usize = 3;
const LIAR: usize = 4;

/// What an honest node has said, or the owner or the liar may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The owner's fragment of this content arrives.
    Store(usize),
    Cancel,
    /// The description of this content, from whoever knows it.
    Seal(usize),
    /// From this node, about this content.
    Echo(usize, usize),
    Ready(usize, usize),
    Abort(usize),
    /// A commit proof of this content, from whoever has it.
    Commit(usize),
    AbortCert,
    /// The node loses all but its journal and says again what it promised.
    Restart,
}

/// A node as far as the others and the properties can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Face {
    committed: Option<usize>,
    holds: Option<usize>,
    /// Certified aborted.
    ended: bool,
    /// Bits of what it has said: see [`said_bit`].
    said: u8,
}

fn said_bit(event: Event) -> u8 {
    match event {
        Event::Echo(_, content) => 1 << content,
        Event::Ready(_, content) => 4 << content,
        Event::Abort(_) => 16,
        Event::Store(_)
        | Event::Cancel
        | Event::Seal(_)
        | Event::Commit(_)
        | Event::AbortCert
        | Event::Restart => 0,
    }
}

/// What may happen in one run.
#[derive(Debug, Clone)]
struct Alphabet {
    /// Content offered to each honest node.
    offers: [usize; HONEST],
    contents: usize,
    aborts: bool,
    /// The deliberately broken rule: READY counts without an echo certificate.
    plain_ready: bool,
}

/// One node's machine as an automaton.
struct Automaton {
    faces: Vec<Face>,
    /// By state: every event that changes it, by its position, and the next state.
    next: Vec<Vec<(usize, u32)>>,
}

struct Explorer {
    world: World,
    contents: Vec<SealBundle>,
    events: Vec<Event>,
    own_votes: RefCell<BTreeMap<Statement, VerifiedVote>>,
}

impl Explorer {
    fn new(alphabet: &Alphabet) -> Self {
        let world = World::new(2, 4);
        let contents = [0xa, 0xb].map(|root| world.bundle(root))[..alphabet.contents].to_vec();
        let mut events = vec![Event::Restart];
        for content in 0..alphabet.contents {
            events.extend([Event::Store(content), Event::Seal(content), Event::Commit(content)]);
            for node in 1..=LIAR {
                events.extend([Event::Echo(node, content), Event::Ready(node, content)]);
            }
        }
        if alphabet.aborts {
            events.extend([Event::Cancel, Event::AbortCert]);
            events.extend((1..=LIAR).map(Event::Abort));
        }
        Self { world, contents, events, own_votes: RefCell::default() }
    }

    /// `None` for a restart, which is no input of the machine.
    fn input(&self, event: Event) -> Option<Input> {
        let mut verifier = self.world.verifier();
        let mut vote = |kind, content: usize, node: usize| {
            let vote = self.world.vote(kind, &self.contents[content], slot(node).0);
            verifier.vote(vote).unwrap()
        };
        Some(match event {
            Event::Restart => return None,
            Event::Store(content) => Input::Stored(self.world.seal(&self.contents[content])),
            Event::Seal(content) => Input::Seal(self.world.seal(&self.contents[content])),
            Event::Cancel => {
                let object = self.world.object("photo", 0);
                let order = self.world.order(OrderKind::Cancel, object);
                Input::Order(order.verify(&self.world.config).unwrap())
            }
            Event::Echo(node, content) => Input::Vote(vote(StatementKind::Echo, content, node)),
            Event::Ready(node, content) => {
                let ready = vote(StatementKind::Ready, content, node);
                let cert =
                    self.world.cert(StatementKind::Echo, &self.contents[content], &[0, 1, 2]);
                Input::Ready(ready, verifier.echo_cert(cert).unwrap())
            }
            Event::Abort(node) => Input::Vote(vote(StatementKind::Abort, 0, node)),
            Event::Commit(content) => {
                let proof = self.world.proof(&self.contents[content]);
                Input::Commit(Box::new(verifier.commit(proof).unwrap()))
            }
            Event::AbortCert => {
                let cert = self.world.abort_cert(&self.contents[0]);
                Input::AbortCert(verifier.abort_cert(cert).unwrap())
            }
        })
    }

    /// The machine of `node` under every order of every event that may reach it.
    fn automaton(&self, node: usize, alphabet: &Alphabet) -> Automaton {
        let mine = |event: &Event| match *event {
            Event::Store(content) => alphabet.offers[node - 1] == content,
            Event::Echo(from, content) => {
                from != node && (from == LIAR || alphabet.offers[from - 1] == content)
            }
            Event::Ready(from, _) | Event::Abort(from) => from != node,
            Event::Cancel
            | Event::Seal(_)
            | Event::Commit(_)
            | Event::AbortCert
            | Event::Restart => true,
        };
        let events = self.events.iter().enumerate().filter(|(_, event)| mine(event));
        let inputs: Vec<(usize, Option<Input>)> =
            events.map(|(position, event)| (position, self.input(*event))).collect();
        let id = self.world.config.node_at(self.upload(), slot(node)).unwrap();
        let config = self.world.config.clone();
        let machine =
            |record| ServerUpload::new(config.clone(), id, self.upload(), record).unwrap();
        let start = machine(UploadRecord::default());
        let mut known = BTreeMap::from([(self.name_of(&start, 0), 0_u32)]);
        let mut machines = vec![(start, 0_u8)];
        let mut next: Vec<Vec<(usize, u32)>> = Vec::new();
        while next.len() < machines.len() {
            let (node_machine, said) = machines[next.len()].clone();
            let here = u32::try_from(next.len()).unwrap();
            let mut row = Vec::new();
            for (event, input) in &inputs {
                let (machine, said) = match input {
                    Some(input) => self.after(node_machine.clone(), said, input.clone()),
                    None => self.restarted(machine(node_machine.record().clone()), said),
                };
                let fresh = u32::try_from(machines.len()).unwrap();
                let name = self.name_of(&machine, said);
                let state = *known.entry(name).or_insert(fresh);
                if state == fresh {
                    machines.push((machine, said));
                }
                if state != here {
                    row.push((*event, state));
                }
            }
            next.push(row);
        }
        let faces = machines.iter().map(|(machine, said)| self.face(machine, *said)).collect();
        Automaton { faces, next }.minimal()
    }

    fn upload(&self) -> UploadId {
        self.world.object("photo", 0).upload(&self.world.config)
    }

    /// One input, and the node's own votes back to itself, as they become durable.
    fn after(&self, mut machine: ServerUpload, said: u8, input: Input) -> (ServerUpload, u8) {
        let sign = machine.step(NOW, input).sign;
        self.say(machine, said, sign)
    }

    fn restarted(&self, machine: ServerUpload, said: u8) -> (ServerUpload, u8) {
        let promised = machine.promised();
        self.say(machine, said, promised)
    }

    fn say(
        &self,
        mut machine: ServerUpload,
        mut said: u8,
        mut waiting: Vec<Statement>,
    ) -> (ServerUpload, u8) {
        while let Some(statement) = waiting.pop() {
            let content = self.content_of(statement.commitment);
            let event = match (statement.kind == StatementKind::Echo, content) {
                (true, Some(content)) => Event::Echo(0, content),
                (false, Some(content)) if statement.kind == StatementKind::Ready => {
                    Event::Ready(0, content)
                }
                (false, None) if statement.kind == StatementKind::Abort => Event::Abort(0),
                (true | false, _) => continue, // An answer to the client.
            };
            said |= said_bit(event);
            waiting.extend(machine.step(NOW, Input::Vote(self.own_vote(statement))).sign);
        }
        (machine, said)
    }

    fn own_vote(&self, statement: Statement) -> VerifiedVote {
        let sign = || self.world.verifier().vote(self.world.sign(&statement)).unwrap();
        self.own_votes.borrow_mut().entry(statement).or_insert_with(sign).clone()
    }

    fn content_of(&self, commitment: Commitment) -> Option<usize> {
        self.contents.iter().position(|content| promise(content).commitment == commitment)
    }

    /// Equal names have equal futures: phase, promises, fragment, seal and counted votes. Which
    /// votes a kept certificate is made of is left out, since no transition looks inside.
    fn name_of(&self, machine: &ServerUpload, said: u8) -> Digest {
        let record = machine.record();
        let phase = match &record.phase {
            Phase::Idle => "open".to_owned(),
            Phase::Echoed(promise) => format!("{promise:?}"),
            Phase::Ready { echoed, promise, .. } => format!("{echoed:?} ready {promise:?}"),
            Phase::Aborted { echoed, cert } => format!("{echoed:?} aborted {}", cert.is_some()),
            Phase::Committed(proof) => format!("committed {}", proof.echo.commitment),
            Phase::Deleted(_) => "deleted".to_owned(),
        };
        let sealed = record.seal.as_ref().map(|seal| seal.manifest.commitment());
        let debug = format!("{machine:?}");
        // Nothing is counted any more: what was counted does not matter.
        let settled = record.phase.is_settled();
        let counted = if settled { "" } else { &debug[debug.rfind("tally:").unwrap()..] };
        let name = format!("{said} {phase} {:?} {sealed:?} {counted}", record.fragment);
        Digest::of(&[name.as_bytes()])
    }

    fn face(&self, machine: &ServerUpload, said: u8) -> Face {
        let record = machine.record();
        let committed = match &record.phase {
            Phase::Committed(proof) => self.content_of(proof.echo.commitment),
            Phase::Idle
            | Phase::Echoed(_)
            | Phase::Ready { .. }
            | Phase::Aborted { .. }
            | Phase::Deleted(_) => None,
        };
        Face {
            committed,
            holds: record.fragment.and_then(|fragment| self.content_of(fragment)),
            ended: matches!(record.phase, Phase::Aborted { cert: Some(_), .. }),
            said,
        }
    }
}

impl Automaton {
    /// The same behaviour in as few states as possible (Moore's refinement): states are one if
    /// they look alike and every event leads them to one again.
    fn minimal(self) -> Self {
        let mut class: Vec<u32> = number(self.faces.iter().copied());
        loop {
            let before = class.iter().max().copied();
            let signatures = self.next.iter().zip(&class).map(|(row, own)| {
                let row = row.iter().map(|(event, to)| (*event, class[index(*to)]));
                (*own, row.filter(|(_, to)| to != own).collect::<Vec<_>>())
            });
            class = number(signatures);
            if class.iter().max().copied() == before {
                break;
            }
        }
        let count = index(class.iter().max().copied().unwrap()) + 1;
        let mut faces = vec![None; count];
        let mut next = vec![Vec::new(); count];
        for (state, own) in class.iter().enumerate().rev() {
            faces[index(*own)] = Some(self.faces[state]);
            let row = self.next[state].iter().map(|(event, to)| (*event, class[index(*to)]));
            next[index(*own)] = row.filter(|(_, to)| to != own).collect();
        }
        Self { faces: faces.into_iter().flatten().collect(), next }
    }
}

/// Numbers from 0 in order of first appearance; equal values get equal numbers.
fn number<T: Ord>(values: impl Iterator<Item = T>) -> Vec<u32> {
    let mut known = BTreeMap::new();
    let mut numbers = Vec::new();
    for value in values {
        let fresh = u32::try_from(known.len()).unwrap();
        numbers.push(*known.entry(value).or_insert(fresh));
    }
    numbers
}

fn index(state: u32) -> usize {
    usize::try_from(state).unwrap()
}

/// All three honest nodes together.
struct Model<'a> {
    explorer: &'a Explorer,
    alphabet: &'a Alphabet,
    nodes: Vec<Automaton>,
}

type State = [u32; HONEST];

/// What a walk found.
#[derive(Debug, Default)]
struct Walk {
    states: usize,
    ends: usize,
    committed_ends: usize,
    aborted_ends: usize,
    violations: Vec<(&'static str, State)>,
}

impl Model<'_> {
    fn faces(&self, state: State) -> [Face; HONEST] {
        [0, 1, 2].map(|node| self.nodes[node].faces[index(state[node])])
    }

    /// Nodes that said this, and the liar, who says everything.
    fn sayers(faces: &[Face; HONEST], bit: u8) -> usize {
        1 + faces.iter().filter(|face| face.said & bit != 0).count()
    }

    fn certified(&self, faces: &[Face; HONEST], content: usize) -> bool {
        let quorum = self.explorer.world.params().echo_quorum();
        Self::sayers(faces, said_bit(Event::Echo(0, content))) >= quorum
    }

    fn could_commit(&self, faces: &[Face; HONEST], content: usize) -> bool {
        let quorum = self.explorer.world.params().deliver_quorum();
        let readies = Self::sayers(faces, said_bit(Event::Ready(0, content)));
        readies >= quorum && (self.alphabet.plain_ready || self.certified(faces, content))
    }

    fn could_abort(&self, faces: &[Face; HONEST]) -> bool {
        let quorum = self.explorer.world.params().answer_quorum();
        self.alphabet.aborts && Self::sayers(faces, said_bit(Event::Abort(0))) >= quorum
    }

    fn can_happen(&self, faces: &[Face; HONEST], event: Event) -> bool {
        match event {
            Event::Store(_) | Event::Cancel | Event::Seal(_) | Event::Restart => true,
            Event::Ready(LIAR, content) => {
                self.alphabet.plain_ready || self.certified(faces, content)
            }
            Event::Echo(LIAR, _) | Event::Abort(LIAR) => true,
            Event::Echo(node, _) | Event::Ready(node, _) | Event::Abort(node) => {
                faces[node - 1].said & said_bit(event) != 0
            }
            Event::Commit(content) => self.could_commit(faces, content),
            Event::AbortCert => self.could_abort(faces),
        }
    }

    fn violation(&self, faces: &[Face; HONEST]) -> Option<&'static str> {
        let committed: Vec<usize> = faces.iter().filter_map(|face| face.committed).collect();
        let contents = 0..self.alphabet.contents;
        let certified = contents.clone().filter(|c| self.certified(faces, *c)).count();
        let holders = |content| faces.iter().filter(|face| face.holds == Some(content)).count();
        let m = self.explorer.world.params().m();
        if committed.iter().any(|content| *content != committed[0]) || certified > 1 {
            return Some("two contents");
        }
        if committed.iter().any(|content| holders(*content) < m) {
            return Some("too few holders");
        }
        let commit = contents.clone().any(|content| self.could_commit(faces, content));
        if (commit || !committed.is_empty()) && self.could_abort(faces) {
            return Some("commit and abort");
        }
        None
    }

    #[expect(clippy::disallowed_types, reason = "membership only: its order is never seen")]
    fn walk(&self) -> Walk {
        let mut walk = Walk::default();
        let mut seen = std::collections::HashSet::from([[0; HONEST]]);
        let mut waiting: Vec<State> = vec![[0; HONEST]];
        while let Some(state) = waiting.pop() {
            walk.states += 1;
            let faces = self.faces(state);
            if let Some(violation) = self.violation(&faces) {
                walk.violations.push((violation, state));
                if walk.violations.len() == 100 {
                    return walk;
                }
            }
            let mut is_end = true;
            for node in 0..HONEST {
                for (event, to) in &self.nodes[node].next[index(state[node])] {
                    let event = self.explorer.events[*event];
                    if !self.can_happen(&faces, event) {
                        continue;
                    }
                    is_end = is_end && event == Event::Restart;
                    let mut next = state;
                    next[node] = *to;
                    if seen.insert(next) {
                        waiting.push(next);
                    }
                }
            }
            if is_end {
                self.on_end(&faces, state, &mut walk);
            }
        }
        walk
    }

    /// Nothing more can happen: one committed means that all did.
    fn on_end(&self, faces: &[Face; HONEST], state: State, walk: &mut Walk) {
        let committed = faces.iter().filter(|face| face.committed.is_some()).count();
        walk.ends += 1;
        walk.committed_ends += usize::from(committed == HONEST);
        walk.aborted_ends += usize::from(faces.iter().all(|face| face.ended));
        if committed != 0 && committed != HONEST {
            walk.violations.push(("not total", state));
        }
    }
}

fn walk(alphabet: &Alphabet) -> Walk {
    let explorer = Explorer::new(alphabet);
    let nodes = (1..=HONEST).map(|node| explorer.automaton(node, alphabet)).collect();
    let model = Model { explorer: &explorer, alphabet, nodes };
    let sizes: Vec<usize> = model.nodes.iter().map(|node| node.faces.len()).collect();
    let walk = model.walk();
    assert!(walk.states > 100, "{alphabet:?}: automata of {sizes:?} states, {walk:?}");
    walk
}

// Rule: ECHO-1, READY-1, COMMIT-1, TALLY-1.
#[test]
fn two_contents_without_aborts_end_in_at_most_one_everywhere() {
    let alphabet = Alphabet { offers: [0, 0, 1], contents: 2, aborts: false, plain_ready: false };
    let walk = walk(&alphabet);
    assert_eq!(walk.violations, []);
    assert!(walk.committed_ends > 0);
}

// Rule: ABORT-1, ABORT-2, COMMIT-1. Scenario 42.
#[test]
fn one_content_with_aborts_is_committed_or_aborted_and_never_both() {
    let alphabet = Alphabet { offers: [0; 3], contents: 1, aborts: true, plain_ready: false };
    let walk = walk(&alphabet);
    assert_eq!(walk.violations, []);
    assert!(walk.committed_ends > 0 && walk.aborted_ends > 0);
}

// Rule: ABORT-2, READY-1. Scenarios 1, 14 and 42 together.
#[test]
fn two_contents_with_aborts_are_sound() {
    let alphabet = Alphabet { offers: [0, 0, 1], contents: 2, aborts: true, plain_ready: false };
    let walk = walk(&alphabet);
    assert_eq!(walk.violations, []);
    assert!(walk.committed_ends > 0 && walk.aborted_ends > 0);
}

// Rule: ECHO-1, ABORT-2. The owner stores one content everywhere and the liar has the other.
#[test]
fn a_liar_with_a_content_of_its_own_changes_nothing() {
    let alphabet = Alphabet { offers: [0; 3], contents: 2, aborts: false, plain_ready: false };
    let walk = walk(&alphabet);
    assert_eq!(walk.violations, []);
    assert_eq!(walk.committed_ends, walk.ends, "the owner is honest: every end is a commit");
}

// Rule: READY-1. The canary: READYs without echo certificates break it, and the walk sees it.
#[test]
fn plain_readies_break_the_invariants() {
    let alphabet = Alphabet { offers: [0, 0, 1], contents: 2, aborts: false, plain_ready: true };
    assert!(!walk(&alphabet).violations.is_empty(), "the checkers are blind");
}
