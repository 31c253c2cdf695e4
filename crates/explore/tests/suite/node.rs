//! One honest node: the production machine under every order of every input.
//!
//! Each input is one call of `ServerUpload::step` with a message that passed the production
//! checks. A node's record goes through its stored bytes at each restart. Its own votes come back
//! to it as messages among others, at any later time, like in the node: nothing is counted before
//! it is durable. A crash before the record is durable is a step that did not happen; a crash
//! after it, before the signature, is a vote that is late: a restart signs it again.
//!
//! Spec: docs/protocol.md section 1.3.

use std::collections::HashMap;
use std::fmt::Write;

use avid_protocol::object::OrderKind;
use avid_protocol::record::{Phase, Promise, UploadRecord};
use avid_protocol::server::{Input, Output, ServerUpload, Step};
use avid_protocol::statement::{Statement, StatementKind};
use avid_types::{Digest, Slot};

use crate::event::{Broken, Ended, Event, Scope};
use crate::world::World;

/// What a node has said, and what befell it; never forgotten.
pub(crate) mod said {
    pub(crate) const ABORT: u16 = 1 << 4;
    pub(crate) const NEXT_ABORTED: u16 = 1 << 5;
    pub(crate) const NEXT_DELETED: u16 = 1 << 6;
    pub(crate) const NEXT_EXPIRED: u16 = 1 << 7;
    pub(crate) const NEXT_UNPROVED: u16 = 1 << 8;
    pub(crate) const LOST: u16 = 1 << 9;
    /// Any ECHO about the next generation.
    pub(crate) const NEXT: u16 = NEXT_ABORTED | NEXT_DELETED | NEXT_EXPIRED | NEXT_UNPROVED;

    pub(crate) fn echo(content: usize) -> u16 {
        1 << content
    }

    pub(crate) fn ready(content: usize) -> u16 {
        4 << content
    }
}

/// What a single step must never do.
pub(crate) mod breach {
    /// A fault names an honest node.
    pub(crate) const ACCUSED: u8 = 1;
    /// The fragment of a committed object goes, or the commit itself, without a DELETE.
    pub(crate) const DROPPED: u8 = 2;
    /// HOLD or a first ECHO without the fragment.
    pub(crate) const UNHELD: u8 = 4;
    /// The node reports more than f liars, and there are not.
    pub(crate) const ALARM: u8 = 8;
}

/// A node as far as the other nodes and the properties can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Face {
    /// Which content it delivered.
    pub(crate) committed: Option<usize>,
    /// Of which content it keeps the fragment.
    pub(crate) holds: Option<usize>,
    /// Whether it keeps an abort certificate.
    pub(crate) ended: bool,
    pub(crate) deleted: bool,
    pub(crate) said: u16,
}

/// A node in full.
#[derive(Debug, Clone)]
struct Local {
    machine: ServerUpload,
    said: u16,
    /// How many expiries its cluster time has passed.
    level: u8,
}

/// A name is about this long before it is hashed.
const NAME_BYTES: usize = 8192;

/// One transition of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Edge {
    pub(crate) to: u32,
    pub(crate) breach: u8,
}

/// Everything a node can become, by state and by position of the event.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) faces: Vec<Face>,
    pub(crate) edges: Vec<Vec<Edge>>,
}

/// Explores the node of one seat.
pub(crate) struct Explorer<'a> {
    world: &'a World,
    scope: &'a Scope,
    slot: usize,
    events: Vec<Event>,
    inputs: Vec<Option<Input>>,
    /// Whether the next generation is echoed, by event and time level.
    gates: HashMap<(Ended, u8), bool>,
}

impl<'a> Explorer<'a> {
    pub(crate) fn new(world: &'a World, scope: &'a Scope, slot: usize) -> Self {
        let events = scope.events();
        let mut explorer =
            Self { world, scope, slot, events, inputs: Vec::new(), gates: HashMap::new() };
        explorer.inputs = explorer.events.iter().map(|event| explorer.input(*event)).collect();
        explorer.gates = explorer.gates();
        explorer
    }

    /// Rule: ID-1.
    fn gates(&self) -> HashMap<(Ended, u8), bool> {
        let levels = 0..=self.scope.contents.expiries();
        let unguarded = self.scope.broken == Broken::OpenGeneration;
        let mut gates = HashMap::new();
        for (event, level) in self.events.iter().flat_map(|e| levels.clone().map(move |l| (e, l))) {
            if let Event::Next(ended) = *event {
                let opens = if unguarded && ended == Ended::Unproved {
                    self.world.stores_next(self.slot, self.world.time(level))
                } else {
                    self.world.echoes_next(self.slot, level, ended)
                };
                gates.insert((ended, level), opens);
            }
        }
        gates
    }

    /// The seat of a peer, seen from this node.
    fn seat(&self, peer: usize) -> usize {
        let honest = self.scope.honest();
        if peer < honest { (self.slot + peer) % honest } else { peer }
    }

    /// `None` for what is no input of the machine.
    fn input(&self, event: Event) -> Option<Input> {
        let world = self.world;
        let vote = |kind, content, peer| world.vote(kind, content, self.seat(peer));
        Some(match event {
            Event::Open(content) => world.open(content),
            Event::Store(content) => Input::Stored(world.seal(content)),
            Event::Seal(content) => Input::Seal(world.seal(content)),
            Event::Echo(peer, content) => Input::Vote(vote(StatementKind::Echo, content, peer)),
            // Its own READY comes back as a vote, without the certificate it just used.
            Event::Ready(0, content) => Input::Vote(vote(StatementKind::Ready, content, 0)),
            Event::Ready(peer, content)
                if self.scope.broken == Broken::BareReady && peer < self.scope.honest() =>
            {
                Input::Vote(vote(StatementKind::Ready, content, peer))
            }
            Event::Ready(peer, content) => world.ready(content, self.seat(peer)),
            Event::Abort(peer) => Input::Vote(vote(StatementKind::Abort, 0, peer)),
            Event::Commit(content) => world.commit(content),
            Event::AbortCert => world.abort_cert(),
            Event::Cancel => world.order(OrderKind::Cancel),
            Event::Delete => world.order(OrderKind::Delete),
            Event::Tick => Input::Tick,
            Event::FragmentLost => Input::FragmentLost,
            Event::Later | Event::Next(_) | Event::Restart => return None,
        })
    }

    /// The node under every order of every event that may reach it.
    pub(crate) fn explore(&self) -> Raw {
        let machine = self.world.machine(self.slot, UploadRecord::default());
        let start = Local { machine, said: 0, level: 0 };
        let mut known = HashMap::from([(self.name_of(&start), 0_u32)]);
        let mut locals = vec![start];
        let mut edges: Vec<Vec<Edge>> = Vec::new();
        while edges.len() < locals.len() {
            let here = locals[edges.len()].clone();
            let stay = Edge { to: u32::try_from(edges.len()).unwrap(), breach: 0 };
            let mut row = Vec::with_capacity(self.events.len());
            for position in 0..self.events.len() {
                let Some((local, breach)) = self.after(&here, position) else {
                    row.push(stay);
                    continue;
                };
                let fresh = u32::try_from(locals.len()).unwrap();
                let to = *known.entry(self.name_of(&local)).or_insert(fresh);
                if to == fresh {
                    locals.push(local);
                }
                row.push(Edge { to, breach });
            }
            edges.push(row);
        }
        Raw { faces: locals.iter().map(|local| self.face(local)).collect(), edges }
    }

    /// `None` if this event cannot happen to the node as it is.
    fn after(&self, local: &Local, position: usize) -> Option<(Local, u8)> {
        let event = self.events[position];
        if own_vote(event).is_some_and(|bit| local.said & bit == 0) {
            return None;
        }
        Some(match (&self.inputs[position], event) {
            (Some(input), _) => self.stepped(local, event, input.clone()),
            (None, Event::Restart) => self.restarted(local),
            (None, _) => (self.befallen(local, event), 0),
        })
    }

    fn stepped(&self, local: &Local, event: Event, input: Input) -> (Local, u8) {
        let mut next = local.clone();
        let before = local.machine.record();
        let step = next.machine.step(self.world.time(local.level), input);
        let kept = step.persist.as_ref().unwrap_or(before);
        assert_eq!(kept, next.machine.record(), "a change was not persisted");
        let breach = self.breaches(event, before, &step, &next.machine);
        next.said |= self.say(&step.sign);
        if event == Event::FragmentLost && before.fragment.is_some() {
            next.said |= said::LOST;
        }
        (next, breach)
    }

    /// What is no input of this upload's machine.
    fn befallen(&self, local: &Local, event: Event) -> Local {
        let mut next = local.clone();
        if event == Event::Later {
            next.level = (local.level + 1).min(self.scope.contents.expiries());
        }
        if let Event::Next(ended) = event
            && local.said & said::NEXT == 0
            && self.gates[&(ended, local.level)]
        {
            next.said |= next_bit(ended);
        }
        next
    }

    fn restarted(&self, local: &Local) -> (Local, u8) {
        let record = if self.scope.broken == Broken::Amnesia {
            UploadRecord::default()
        } else {
            UploadRecord::from_bytes(&local.machine.record().to_bytes()).unwrap()
        };
        let machine = self.world.machine(self.slot, record);
        let promised = machine.promised();
        let breach = unheld(&promised, machine.record());
        let said = local.said | self.say(&promised);
        (Local { machine, said, level: local.level }, breach)
    }

    fn say(&self, statements: &[Statement]) -> u16 {
        let bit = |statement: &Statement| {
            let Statement { commitment, expiry, .. } = *statement;
            let content = || self.world.content_of(Promise { commitment, expiry });
            match statement.kind {
                StatementKind::Echo => said::echo(content()),
                StatementKind::Ready => said::ready(content()),
                StatementKind::Abort => said::ABORT,
                // Answers to clients: no node counts them.
                StatementKind::Hold
                | StatementKind::Delivered
                | StatementKind::Deleted
                | StatementKind::HoldNow => 0,
                StatementKind::Seal | StatementKind::Cancel | StatementKind::Delete => {
                    panic!("a node signed as an owner")
                }
            }
        };
        statements.iter().map(bit).fold(0, |said, bit| said | bit)
    }

    fn breaches(
        &self,
        event: Event,
        before: &UploadRecord,
        step: &Step,
        machine: &ServerUpload,
    ) -> u8 {
        let after = machine.record();
        let mut breach = unheld(&step.sign, after);
        let honest = |node| (0..self.scope.honest()).any(|slot| self.world.node(slot) == node);
        if step.faults.iter().any(|fault| honest(fault.node)) {
            breach |= breach::ACCUSED;
        }
        if step.outputs.contains(&Output::FaultBoundExceeded) {
            breach |= breach::ALARM;
        }
        let drops = step.outputs.contains(&Output::DropFragment);
        let kept = match (&before.phase, &after.phase) {
            // Without a fragment of its own it may refuse another's, which then goes.
            (Phase::Committed(_), Phase::Committed(_)) => {
                before.fragment.is_none() || (after.fragment == before.fragment && !drops)
            }
            (Phase::Committed(_), _) => false,
            _ => !drops || after.fragment.is_none(),
        };
        if !kept && !matches!(event, Event::Delete | Event::FragmentLost) {
            breach |= breach::DROPPED;
        }
        breach
    }

    /// Equal names have equal futures. Which votes a kept certificate is made of is left out,
    /// since no transition looks inside.
    fn name_of(&self, local: &Local) -> Digest {
        let record = local.machine.record();
        let content = |promise: &Promise| self.world.content_of(*promise);
        let echoed = |promise: &Option<Promise>| promise.as_ref().map(content);
        let mut name = String::with_capacity(NAME_BYTES);
        write!(name, "{} {} ", local.said, local.level).unwrap();
        match &record.phase {
            Phase::Idle => name.push_str("idle"),
            Phase::Echoed(promise) => write!(name, "echoed {}", content(promise)).unwrap(),
            Phase::Ready { echoed: before, promise, .. } => {
                write!(name, "ready {:?} {}", echoed(before), content(promise)).unwrap();
            }
            Phase::Aborted { echoed: before, cert } => {
                write!(name, "aborted {:?} {}", echoed(before), cert.is_some()).unwrap();
            }
            Phase::Committed(proof) => {
                let Statement { commitment, expiry, .. } = proof.echo.statement(Slot(0));
                let content = content(&Promise { commitment, expiry });
                write!(name, "committed {content}").unwrap();
            }
            Phase::Deleted(_) => name.push_str("deleted"),
        }
        let open = record.open.as_ref().map(|signed| signed.open.expiry);
        let seal = record.seal.as_ref().map(|seal| {
            let commitment = seal.manifest.commitment();
            content(&Promise { commitment, expiry: seal.open.open.expiry })
        });
        let fragment = record.fragment.map(|fragment| self.world.bytes_of(fragment));
        write!(name, " {open:?} {seal:?} {fragment:?} ").unwrap();
        if !record.phase.is_settled() {
            // What is counted so far, and what D nodes are ready for, have no accessors.
            let mut counted = Tail { text: &mut name, is_open: false };
            write!(counted, "{:?}", local.machine).unwrap();
            assert!(counted.is_open, "the machine keeps its votes under another name");
        }
        Digest::of(&[name.as_bytes()])
    }

    fn face(&self, local: &Local) -> Face {
        let record = local.machine.record();
        let committed = match &record.phase {
            Phase::Committed(proof) => Some(self.world.content_of(Promise {
                commitment: proof.echo.commitment,
                expiry: proof.echo.expiry,
            })),
            Phase::Idle
            | Phase::Echoed(_)
            | Phase::Ready { .. }
            | Phase::Aborted { .. }
            | Phase::Deleted(_) => None,
        };
        Face {
            committed,
            holds: record.fragment.map(|fragment| self.world.bytes_of(fragment)),
            ended: matches!(record.phase, Phase::Aborted { cert: Some(_), .. }),
            deleted: matches!(record.phase, Phase::Deleted(_)),
            said: local.said,
        }
    }
}

/// The node's own votes, which reach it only after it signed them.
fn own_vote(event: Event) -> Option<u16> {
    if event == Event::Abort(0) {
        return Some(said::ABORT);
    }
    (0..2).find_map(|content| {
        let echo = (event == Event::Echo(0, content)).then(|| said::echo(content));
        let ready = (event == Event::Ready(0, content)).then(|| said::ready(content));
        echo.or(ready)
    })
}

fn next_bit(ended: Ended) -> u16 {
    match ended {
        Ended::Aborted => said::NEXT_ABORTED,
        Ended::Deleted => said::NEXT_DELETED,
        Ended::Expired => said::NEXT_EXPIRED,
        Ended::Unproved => said::NEXT_UNPROVED,
    }
}

/// Keeps what a machine prints from the field `tally` on.
struct Tail<'a> {
    text: &'a mut String,
    is_open: bool,
}

impl Write for Tail<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.is_open |= text == "tally";
        if self.is_open {
            self.text.push_str(text);
        }
        Ok(())
    }
}

/// A claim to hold what is not there.
fn unheld(statements: &[Statement], record: &UploadRecord) -> u8 {
    let claims = statements.iter().filter(|statement| statement.kind == StatementKind::Hold);
    let mut claims = claims.map(|statement| Some(statement.commitment));
    if claims.any(|claim| claim != record.fragment) { breach::UNHELD } else { 0 }
}
