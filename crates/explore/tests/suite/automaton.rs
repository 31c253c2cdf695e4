//! A node's states without the differences that nobody can ever notice.
//!
//! Two states of a node are one if they look alike and every event leads them to one again
//! (Moore's refinement). The result is exact: an explorer that walks the small automaton sees
//! every behaviour of the large one, and no other.
//!
//! Invariant: states are numbered in the order in which events reach them from the start, so
//! automata that behave alike are equal.

use std::collections::HashMap;
use std::hash::Hash;

use crate::event::{Event, Scope};
use crate::node::{Edge, Explorer, Face, Raw};
use crate::world::World;

/// A node's behaviour.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Automaton {
    pub(crate) faces: Vec<Face>,
    /// By state and position of the event.
    pub(crate) edges: Vec<Vec<Edge>>,
    /// The state as it looks when the next and the last honest peer change places.
    pub(crate) mirror: Vec<u32>,
}

impl Automaton {
    /// The automaton of the node in a seat, and how many states it has in full.
    pub(crate) fn of(world: &World, scope: &Scope, slot: usize) -> (Self, usize) {
        let raw = Explorer::new(world, scope, slot).explore();
        (Self::minimal(&raw, scope), raw.faces.len())
    }

    fn minimal(raw: &Raw, scope: &Scope) -> Self {
        let class = refine(raw);
        let first_of: HashMap<u32, usize> =
            class.iter().enumerate().rev().map(|(state, class)| (*class, state)).collect();
        let mut number = HashMap::from([(class[0], 0_u32)]);
        let mut order = vec![class[0]];
        let mut edges = Vec::new();
        while edges.len() < order.len() {
            let row = raw.edges[first_of[&order[edges.len()]]].iter().map(|edge| {
                let target = class[index(edge.to)];
                let fresh = u32::try_from(order.len()).unwrap();
                let to = *number.entry(target).or_insert_with(|| {
                    order.push(target);
                    fresh
                });
                Edge { to, breach: edge.breach }
            });
            edges.push(row.collect());
        }
        let faces = order.iter().map(|class| raw.faces[first_of[class]]).collect();
        let mirror = mirror(&edges, scope);
        Self { faces, edges, mirror }
    }
}

fn refine(raw: &Raw) -> Vec<u32> {
    let mut class = number(raw.faces.iter().copied());
    loop {
        let signatures = raw.edges.iter().zip(&class).map(|(row, own)| {
            let row = row.iter().map(|edge| (class[index(edge.to)], edge.breach));
            (*own, row.collect::<Vec<_>>())
        });
        let finer = number(signatures);
        if finer.iter().max() == class.iter().max() {
            return class;
        }
        class = finer;
    }
}

/// What each state becomes when two peers change places; fails if that changes the behaviour.
fn mirror(edges: &[Vec<Edge>], scope: &Scope) -> Vec<u32> {
    let events = scope.events();
    let honest = scope.honest();
    let swapped: Vec<usize> = events
        .iter()
        .map(|event| events.iter().position(|other| *other == swap(*event, honest)).unwrap())
        .collect();
    let mut mirror = vec![None; edges.len()];
    mirror[0] = Some(0_u32);
    // States are numbered in the order in which they are reached: each is known when it is met.
    for (state, row) in edges.iter().enumerate() {
        let reflected = &edges[index(mirror[state].unwrap())];
        for (position, edge) in row.iter().enumerate() {
            let there = reflected[swapped[position]];
            assert_eq!(there.breach, edge.breach, "the machine prefers a peer");
            let known = *mirror[index(edge.to)].get_or_insert(there.to);
            assert_eq!(known, there.to, "the machine prefers a peer");
        }
    }
    mirror.into_iter().map(Option::unwrap).collect()
}

fn swap(event: Event, honest: usize) -> Event {
    let other = |peer| if (1..honest).contains(&peer) { honest - peer } else { peer };
    match event {
        Event::Echo(peer, content) => Event::Echo(other(peer), content),
        Event::Ready(peer, content) => Event::Ready(other(peer), content),
        Event::Abort(peer) => Event::Abort(other(peer)),
        Event::Open(_)
        | Event::Store(_)
        | Event::Seal(_)
        | Event::Commit(_)
        | Event::AbortCert
        | Event::Cancel
        | Event::Delete
        | Event::Later
        | Event::Tick
        | Event::FragmentLost
        | Event::Next(_)
        | Event::Restart => event,
    }
}

/// Numbers from 0 in order of first appearance; equal values get equal numbers.
fn number<T: Eq + Hash>(values: impl Iterator<Item = T>) -> Vec<u32> {
    let mut known = HashMap::new();
    let mut numbers = Vec::new();
    for value in values {
        let fresh = u32::try_from(known.len()).unwrap();
        numbers.push(*known.entry(value).or_insert(fresh));
    }
    numbers
}

pub(crate) fn index(state: u32) -> usize {
    usize::try_from(state).unwrap()
}
