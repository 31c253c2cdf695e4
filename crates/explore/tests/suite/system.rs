//! The cluster: honest nodes as automata, and a network, liars and an owner who do what they like.
//!
//! ```text
//! state    = what each honest node is and has said
//! enabled  = whatever could be delivered to a node: every vote an honest node ever signed, every
//!            vote a liar can sign, every certificate that all these votes make, every order
//! ```
//! A vote that was signed once can arrive at any node at any later time, any number of times, or
//! never: that is delay, reordering, repetition and loss at once, so nothing has to be kept in
//! flight. A liar signs everything and shows it to whom it likes; honest votes and the owner's
//! signatures are all it cannot forge. The owner sealed every content of the scope and hands each
//! out to anybody. What a node said is durable (SIGN-2) and stays said across restarts.
//!
//! Spec: docs/protocol.md sections 1.3 and 1.4.
//! Not here: what a node does with an input (`node`), what must hold (`models`).

use std::fmt;
use std::sync::Arc;

use avid_types::Params;
use stateright::{Model, Property, Representative};

use crate::automaton::{Automaton, index};
use crate::event::{Broken, Contents, Ended, Event, NODES, Scope};
use crate::node::{Face, breach, said};
use crate::world::World;

const SEATS: usize = 3;

/// A cluster to explore.
#[derive(Debug, Clone)]
pub(crate) struct System {
    scope: Scope,
    params: Params,
    events: Vec<Event>,
    automaton: Arc<Automaton>,
    /// States of one node before and after those that behave alike were joined.
    pub(crate) sizes: (usize, usize),
    /// What must be reachable, or the model shows nothing.
    reachable: Vec<Reachable>,
    /// Whether states that differ only in who sits where are one. Paths are then right up to a
    /// change of seats at every step, so that only a walk in full prints an attack.
    by_symmetry: bool,
}

/// What the honest nodes are. Unused seats stay at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct State {
    nodes: [Seat; SEATS],
    /// Bits of [`breach`].
    breach: u8,
}

/// A node's state, and how it looks when its two honest peers change places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Seat {
    state: u32,
    mirror: u32,
}

/// Something that befalls a node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Action {
    node: usize,
    honest: usize,
    position: usize,
    event: Event,
}

/// A situation that a model must be able to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reachable {
    /// This content is delivered at an honest node.
    Commit(usize),
    /// An abort certificate is kept.
    Abort,
    /// A tombstone is kept.
    Delete,
    /// A node is ready for what it never echoed.
    Amplified,
    /// A node aborted and delivers after all.
    AbortedAndDelivered,
    /// An honest node knows a commit proof and deletes, or deletes before it heard of anything.
    CommittedAndDeleted,
    /// The next generation is echoed by enough nodes to commit.
    Next(Ended),
}

/// What the votes signed so far, liars' included, can be made into.
struct Certificates {
    echoed: [bool; 2],
    committed: [bool; 2],
    aborted: bool,
}

impl System {
    pub(crate) fn new(scope: Scope, reachable: &[Reachable]) -> Self {
        let world = World::new(scope.contents);
        let (automaton, states) = Automaton::of(&world, &scope, 0);
        let sizes = (states, automaton.faces.len());
        let (events, params) = (scope.events(), world.params());
        let (automaton, reachable) = (Arc::new(automaton), reachable.to_vec());
        Self { scope, params, events, automaton, sizes, reachable, by_symmetry: false }
    }

    /// The same cluster with one state for each six that are turns and reflections of each other.
    pub(crate) fn by_symmetry(&self) -> Self {
        assert_eq!(self.scope.honest(), SEATS, "every seat is an honest node's");
        Self { by_symmetry: true, ..self.clone() }
    }

    fn faces(&self, state: &State) -> impl Iterator<Item = &Face> + Clone {
        let seats = state.nodes;
        (0..self.scope.honest()).map(move |node| &self.automaton.faces[index(seats[node].state)])
    }

    fn seat(&self, state: u32) -> Seat {
        Seat { state, mirror: self.automaton.mirror[index(state)] }
    }

    /// Nodes whose signature exists, if every liar signs.
    fn signers(&self, state: &State, bit: u16) -> usize {
        self.scope.liars + self.faces(state).filter(|face| face.said & bit != 0).count()
    }

    fn certificates(&self, state: &State) -> Certificates {
        let slack = |rule| usize::from(self.scope.broken == rule);
        let plain = self.scope.broken == Broken::ReadyWithoutEchoes;
        let echo_quorum = self.params.echo_quorum() - slack(Broken::EchoQuorum);
        let abort_quorum = self.params.answer_quorum() - slack(Broken::AbortQuorum);
        let known = |content| content < self.scope.contents.count();
        let echoed = [0, 1].map(|content| {
            known(content) && (plain || self.signers(state, said::echo(content)) >= echo_quorum)
        });
        let committed = [0, 1].map(|content| {
            let readies = self.signers(state, said::ready(content));
            echoed[content] && readies >= self.params.deliver_quorum()
        });
        let aborted = self.scope.has_aborts() && self.signers(state, said::ABORT) >= abort_quorum;
        Certificates { echoed, committed, aborted }
    }

    /// Whether this can reach the node now.
    fn can_happen(&self, state: &State, certificates: &Certificates, action: &Action) -> bool {
        let honest = self.scope.honest();
        let has_said = |peer: usize, bit| {
            let seat = state.nodes[(action.node + peer) % honest];
            peer >= honest || self.automaton.faces[index(seat.state)].said & bit != 0
        };
        match action.event {
            Event::Echo(peer, content) => has_said(peer, said::echo(content)),
            Event::Ready(peer, content) if peer < honest => has_said(peer, said::ready(content)),
            Event::Ready(_, content) => certificates.echoed[content],
            Event::Abort(peer) => has_said(peer, said::ABORT),
            Event::Commit(content) => certificates.committed[content],
            Event::AbortCert | Event::Next(Ended::Aborted) => certificates.aborted,
            Event::Next(Ended::Expired) => certificates.committed[0],
            Event::Open(_)
            | Event::Store(_)
            | Event::Seal(_)
            | Event::Cancel
            | Event::Delete
            | Event::Later
            | Event::Tick
            | Event::FragmentLost
            | Event::Next(Ended::Deleted | Ended::Unproved)
            | Event::Restart => true,
        }
    }

    fn reaches(&self, state: &State, what: Reachable) -> bool {
        let any = |holds: &dyn Fn(&Face) -> bool| self.faces(state).any(holds);
        let both = |content: usize| said::echo(content) | said::ready(content);
        match what {
            Reachable::Commit(content) => any(&|face| face.committed == Some(content)),
            Reachable::Abort => any(&|face| face.ended),
            Reachable::Delete => any(&|face| face.deleted),
            Reachable::Amplified => {
                any(&|face| (0..2).any(|content| face.said & both(content) == said::ready(content)))
            }
            Reachable::AbortedAndDelivered => {
                any(&|face| face.said & said::ABORT != 0 && face.committed.is_some())
            }
            Reachable::CommittedAndDeleted => {
                any(&|face| face.committed.is_some()) && any(&|face| face.deleted)
            }
            Reachable::Next(ended) => {
                let bit = match ended {
                    Ended::Aborted => said::NEXT_ABORTED,
                    Ended::Deleted => said::NEXT_DELETED,
                    Ended::Expired => said::NEXT_EXPIRED,
                    Ended::Unproved => said::NEXT_UNPROVED,
                };
                self.signers(state, bit) >= self.params.echo_quorum()
            }
        }
    }

    // What must hold in every state.

    /// I1: two contents are never both committed, nor both certified.
    fn one_content(&self, state: &State) -> bool {
        let made = self.certificates(state);
        let mut delivered = self.faces(state).filter_map(|face| face.committed);
        let first = delivered.next();
        let agree = delivered.all(|content| Some(content) == first);
        agree && made.echoed != [true, true] && made.committed != [true, true]
    }

    /// I2: what is committed, or could be, is held by m honest nodes that lost nothing since.
    fn enough_holders(&self, state: &State) -> bool {
        let made = self.certificates(state);
        let same_bytes = self.scope.contents == Contents::Reopened;
        let bytes = |content| if same_bytes { 0 } else { content };
        (0..self.scope.contents.count()).all(|content| {
            let delivered = self.faces(state).any(|face| face.committed == Some(content));
            let has = |face: &&Face| {
                let gone = face.deleted || face.said & said::LOST != 0;
                face.holds == Some(bytes(content)) || (gone && face.said & said::echo(content) != 0)
            };
            let holders = self.faces(state).filter(has).count();
            holders >= self.params.m() || !(delivered || made.committed[content])
        })
    }

    /// Scenario 42: a commit proof and an abort certificate never both exist.
    fn commit_xor_abort(&self, state: &State) -> bool {
        let made = self.certificates(state);
        let delivered = self.faces(state).any(|face| face.committed.is_some());
        let ended = made.aborted || self.faces(state).any(|face| face.ended);
        !(ended && (delivered || made.committed != [false, false]))
    }

    /// I4: no honest node ever contradicts itself, whatever it lost on the way.
    fn votes_agree(&self, state: &State) -> bool {
        self.faces(state).all(|face| {
            let both = |a: u16, b: u16| face.said & a != 0 && face.said & b != 0;
            let readies = said::ready(0) | said::ready(1);
            !both(said::echo(0), said::echo(1))
                && !both(said::ready(0), said::ready(1))
                && !both(readies, said::ABORT)
        })
    }

    /// ID-1: the next generation is echoed only if the first ended for good, or will never be.
    fn generations_in_turn(&self, state: &State) -> bool {
        let made = self.certificates(state);
        let committed = made.committed != [false, false];
        self.faces(state).all(|face| {
            let by = |bit| face.said & bit != 0;
            let undone = by(said::NEXT_ABORTED) && committed;
            let early = by(said::NEXT_EXPIRED) && (made.aborted || !committed);
            !(by(said::NEXT_UNPROVED) || undone || early)
        })
    }

    fn never(state: &State, bit: u8) -> bool {
        state.breach & bit == 0
    }

    /// COMMIT-1: when all that honest nodes say arrived everywhere, all delivered or none did.
    fn totality(&self, state: &State) -> bool {
        let settled = |face: &Face| face.committed.is_some() || face.deleted;
        let some = self.faces(state).any(|face| face.committed.is_some());
        !some || self.faces(state).all(settled) || !self.all_arrived(state)
    }

    /// ABORT-3: when f + 1 honest nodes aborted and all that was said arrived, nobody waits.
    fn nobody_waits(&self, state: &State) -> bool {
        let readies = said::ready(0) | said::ready(1);
        let aborts = self.faces(state).filter(|face| face.said & said::ABORT != 0).count();
        let waits = |face: &Face| {
            let promised = face.said & (said::ABORT | readies) != 0;
            !promised && face.committed.is_none() && !face.deleted && !face.ended
        };
        aborts < self.params.honest_witness()
            || !self.faces(state).any(waits)
            || !self.all_arrived(state)
    }

    /// Whether nothing that an honest node said changes another any more.
    fn all_arrived(&self, state: &State) -> bool {
        let mut actions = Vec::new();
        self.actions(state, &mut actions);
        let from_honest = |action: &Action| match action.event {
            Event::Echo(peer, _) | Event::Ready(peer, _) | Event::Abort(peer) => {
                peer < self.scope.honest()
            }
            // Who committed tells it to everybody (LINK-1).
            Event::Commit(content) => self.faces(state).any(|face| face.committed == Some(content)),
            Event::Open(_)
            | Event::Store(_)
            | Event::Seal(_)
            | Event::AbortCert
            | Event::Cancel
            | Event::Delete
            | Event::Later
            | Event::Tick
            | Event::FragmentLost
            | Event::Next(_)
            | Event::Restart => false,
        };
        !actions.iter().any(from_honest)
    }
}

pub(crate) const ONE_CONTENT: &str = "I1: at most one content is committed";
pub(crate) const ENOUGH_HOLDERS: &str = "I2: m honest nodes hold what is committed";
pub(crate) const VOTES_AGREE: &str = "I4: no honest node contradicts itself";
pub(crate) const COMMIT_XOR_ABORT: &str = "42: never a commit proof and an abort certificate";
pub(crate) const NOBODY_FRAMED: &str = "EVID-1: no honest node is accused";
pub(crate) const GENERATIONS: &str = "ID-1: a generation opens after the one before ended";

impl Model for System {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State { nodes: [self.seat(0); SEATS], breach: 0 }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let certificates = self.certificates(state);
        let honest = self.scope.honest();
        for node in 0..honest {
            let from = state.nodes[node].state;
            for (position, edge) in self.automaton.edges[index(from)].iter().enumerate() {
                let action = Action { node, honest, position, event: self.events[position] };
                let changes = edge.to != from || edge.breach & !state.breach != 0;
                if changes && self.can_happen(state, &certificates, &action) {
                    actions.push(action);
                }
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let edge = self.automaton.edges[index(state.nodes[action.node].state)][action.position];
        let mut next = *state;
        next.nodes[action.node] = self.seat(edge.to);
        next.breach |= edge.breach;
        Some(if self.by_symmetry { next.representative() } else { next })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(ONE_CONTENT, Self::one_content),
            Property::always(ENOUGH_HOLDERS, Self::enough_holders),
            Property::always(VOTES_AGREE, Self::votes_agree),
            Property::always("I6: committed fragments go by DELETE only", |_, state| {
                Self::never(state, breach::DROPPED)
            }),
            Property::always(COMMIT_XOR_ABORT, Self::commit_xor_abort),
            Property::always(GENERATIONS, Self::generations_in_turn),
            Property::always(
                "COMMIT-1: delivered at one honest node, delivered at all",
                Self::totality,
            ),
            Property::always(
                "ABORT-3: f + 1 honest ABORTs leave nobody waiting",
                Self::nobody_waits,
            ),
            Property::always(NOBODY_FRAMED, |_, state| Self::never(state, breach::ACCUSED)),
            Property::always("HOLD-1: who claims to hold it holds it", |_, state| {
                Self::never(state, breach::UNHELD)
            }),
            Property::always("the fault bound is not reported as broken", |_, state| {
                Self::never(state, breach::ALARM)
            }),
        ];
        properties.extend(self.reachable.iter().map(|what| what.property()));
        properties
    }
}

impl Reachable {
    /// A property's condition is a plain function: it cannot carry what to look for.
    fn property(self) -> Property<System> {
        use Property as P;
        match self {
            Self::Commit(0) => P::sometimes("A commits", |m, s| m.reaches(s, Self::Commit(0))),
            Self::Commit(_) => P::sometimes("B commits", |m, s| m.reaches(s, Self::Commit(1))),
            Self::Abort => P::sometimes("it is aborted", |m, s| m.reaches(s, Self::Abort)),
            Self::Delete => P::sometimes("it is deleted", |m, s| m.reaches(s, Self::Delete)),
            Self::Amplified => P::sometimes("a node is ready for what it did not echo", |m, s| {
                m.reaches(s, Self::Amplified)
            }),
            Self::AbortedAndDelivered => P::sometimes("a node that aborted delivers", |m, s| {
                m.reaches(s, Self::AbortedAndDelivered)
            }),
            Self::CommittedAndDeleted => P::sometimes("a committed object is deleted", |m, s| {
                m.reaches(s, Self::CommittedAndDeleted)
            }),
            Self::Next(Ended::Aborted) => P::sometimes("a generation follows an abort", |m, s| {
                m.reaches(s, Self::Next(Ended::Aborted))
            }),
            Self::Next(Ended::Deleted) => P::sometimes("a generation follows a DELETE", |m, s| {
                m.reaches(s, Self::Next(Ended::Deleted))
            }),
            Self::Next(_) => P::sometimes("a generation follows an expiry", |m, s| {
                m.reaches(s, Self::Next(Ended::Expired))
            }),
        }
    }
}

impl Representative for State {
    /// The least of all states that differ only in who sits where.
    ///
    /// Peers are counted from each node's own seat, so turning the table changes no node, and
    /// turning it over mirrors each.
    fn representative(&self) -> Self {
        let [a, b, c] = self.nodes;
        let flip = |seat: Seat| Seat { state: seat.mirror, mirror: seat.state };
        let turned = [[a, b, c], [b, c, a], [c, a, b], [a, c, b], [c, b, a], [b, a, c]];
        let mut all = turned;
        for over in &mut all[3..] {
            *over = over.map(flip);
        }
        let nodes = all.into_iter().min().unwrap();
        Self { nodes, breach: self.breach }
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seat = |peer: usize| match peer {
            0 => "itself".to_owned(),
            peer if peer < self.honest => {
                format!("node {}", 1 + (self.node + peer) % self.honest)
            }
            peer => format!("the liar, node {}", 1 + peer.min(NODES - 1)),
        };
        let name = |content: usize| if content == 0 { 'A' } else { 'B' };
        write!(f, "node {}: ", self.node + 1)?;
        match self.event {
            Event::Echo(peer, content) => write!(f, "ECHO {} of {}", name(content), seat(peer)),
            Event::Ready(peer, content) => write!(f, "READY {} of {}", name(content), seat(peer)),
            Event::Abort(peer) => write!(f, "ABORT of {}", seat(peer)),
            Event::Store(content) => write!(f, "stores {}", name(content)),
            Event::Seal(content) => write!(f, "SEAL {}", name(content)),
            Event::Open(content) => write!(f, "OPEN {}", name(content)),
            Event::Commit(content) => write!(f, "commit proof {}", name(content)),
            event @ (Event::AbortCert
            | Event::Cancel
            | Event::Delete
            | Event::Later
            | Event::Tick
            | Event::FragmentLost
            | Event::Next(_)
            | Event::Restart) => write!(f, "{event:?}"),
        }
    }
}
