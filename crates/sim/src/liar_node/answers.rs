//! Nodes that lie to clients about what there is.

use avid_protocol::wire::{HeadAnswer, ListEntry, ListPage, Message, Opened, RefusalCode};
use avid_types::{Digest, Generation, Nonce, ObjectName};

use super::{Identity, frame_of, message_of};
use crate::tap::{Frame, Tap, Way};

/// What a node says instead of the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerLie {
    /// HEAD and LIST: there is nothing.
    Hide,
    /// HEAD: what it said the first time it was asked, for ever. LIST: the first page, again.
    Stale,
    /// HEAD and LIST: the true proof under another name or generation.
    Invent,
    /// LIST: the page ends before its first entry.
    Tear,
    /// STAT: a claim to hold the fragment, made for another question.
    OldClaim,
    /// OPENED: everything is here already.
    Complete,
    /// OPENED: more stripes than exist are here already.
    TooManyStripes,
    /// STATUS: no JSON.
    Noise,
    /// Everything is refused with this code.
    Refuse(RefusalCode),
}

/// Lies in its answers to clients and is honest to its peers.
///
/// May: answer anything that is no signature of another. May not: change votes, chunks or links.
#[derive(Debug)]
pub struct LyingAnswers {
    me: Identity,
    lie: AnswerLie,
    first_head: Option<HeadAnswer>,
    first_page: Option<ListPage>,
    /// Answers changed.
    pub lies: u64,
}

impl LyingAnswers {
    /// Tells this lie.
    #[must_use]
    pub fn new(me: Identity, lie: AnswerLie) -> Self {
        Self { me, lie, first_head: None, first_page: None, lies: 0 }
    }
}

impl Tap for LyingAnswers {
    fn on_frame(&mut self, way: Way, frame: Frame, wire: &mut Vec<Frame>) {
        let is_answer = !way.opened_by_sender && (0x20..0x40).contains(&frame.kind);
        let Some(message) = message_of(&frame).filter(|_| is_answer) else {
            if let (AnswerLie::Refuse(code), true) = (self.lie, is_answer) {
                self.lies += 1;
                return wire.push(frame_of(&Message::refused(code, "no")));
            }
            return wire.push(frame);
        };
        let told = self.told(message.clone());
        self.lies += u64::from(told != message);
        wire.push(frame_of(&told));
    }
}

impl LyingAnswers {
    /// What is said in place of the truth.
    pub(super) fn told(&mut self, truth: Message) -> Message {
        if let AnswerLie::Refuse(code) = self.lie {
            return Message::refused(code, "no");
        }
        match truth {
            Message::HeadAnswer(head) => {
                let first = self.first_head.get_or_insert_with(|| (*head).clone()).clone();
                Message::HeadAnswer(Box::new(head_lie(self.lie, *head, first)))
            }
            Message::ListAnswer(page) => {
                let first = self.first_page.get_or_insert_with(|| page.clone()).clone();
                Message::ListAnswer(page_lie(self.lie, page, first))
            }
            Message::Vote { mut vote, echo_cert } => {
                if self.lie == AnswerLie::OldClaim && vote.statement.nonce != Nonce::ZERO {
                    let mut statement = vote.statement;
                    statement.nonce = Nonce(statement.nonce.0.map(|byte| !byte));
                    *vote = self.me.sign(statement);
                }
                Message::Vote { vote, echo_cert }
            }
            Message::Opened(opened) => Message::Opened(match self.lie {
                AnswerLie::Complete => {
                    Opened { stripes: 0, prefix_root: Digest::ZERO, complete: true }
                }
                AnswerLie::TooManyStripes => Opened { stripes: u64::MAX, ..opened },
                _ => opened,
            }),
            Message::StatusAnswer(_) if self.lie == AnswerLie::Noise => {
                Message::StatusAnswer("}{".repeat(1000))
            }
            other => other,
        }
    }
}

fn head_lie(lie: AnswerLie, truth: HeadAnswer, first: HeadAnswer) -> HeadAnswer {
    match lie {
        AnswerLie::Hide => HeadAnswer::default(),
        AnswerLie::Stale => first,
        AnswerLie::Invent => {
            let mut head = truth;
            if let Some(proof) = &mut head.committed {
                let generation = &mut proof.seal.manifest.object.generation;
                *generation = Generation(generation.0 + 1);
            }
            head
        }
        _ => truth,
    }
}

fn page_lie(lie: AnswerLie, mut page: ListPage, first: ListPage) -> ListPage {
    match lie {
        AnswerLie::Hide => ListPage { entries: Vec::new(), complete_to: None },
        AnswerLie::Stale => first,
        AnswerLie::Tear => {
            let name = ObjectName::new("!").expect("a valid name");
            ListPage { entries: Vec::new(), complete_to: Some(name) }
        }
        AnswerLie::Invent => {
            for entry in &mut page.entries {
                if let ListEntry::Committed(proof) = entry {
                    let name = ObjectName::new("invented").expect("a valid name");
                    proof.seal.manifest.object.name = name;
                }
            }
            page
        }
        _ => page,
    }
}
