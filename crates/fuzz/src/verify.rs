//! What a node or a client does with a message it could read: check every signature in it.
//!
//! The secret keys behind the golden values are in no target. Whatever verifies must therefore be
//! one of them: a changed value that still verifies is a forgery.

use std::sync::Arc;

use avid_protocol::certificate::{CommitProof, QuorumCert};
use avid_protocol::object::{OwnerOrder, SealBundle, SignedOpen};
use avid_protocol::statement::StatementKind;
use avid_protocol::verify::Verifier;
use avid_protocol::vote::SignedVote;
use avid_protocol::wire::{HeadAnswer, ListEntry, Message, News, Pulled};
use avid_types::Timestamp;

use crate::golden;

/// A message as a whole: read, then every signature, certificate and proof in it checked.
pub fn target_verify(bytes: &[u8]) {
    if let Some(message) = golden::message_of(bytes) {
        Checks { verifier: Verifier::new(Arc::new(golden::config())) }.message(message);
    }
}

struct Checks {
    verifier: Verifier,
}

impl Checks {
    fn message(&mut self, message: Message) {
        match message {
            Message::Open { open, predecessor } => {
                let object = open.open.object.clone();
                self.open(*open);
                // Any outcome will do, the parts of a proof are checked one by one elsewhere.
                drop(self.verifier.predecessor(Timestamp(u64::MAX), &object, predecessor));
            }
            Message::Commit(proof) | Message::Fill(proof) => self.commit(*proof),
            Message::GetFrag { proof, .. } => proof.into_iter().for_each(|p| self.commit(*p)),
            Message::Order(order) => self.order(order),
            Message::HeadAnswer(answer) => self.head(*answer),
            Message::Vote { vote, echo_cert } => {
                self.vote(*vote);
                echo_cert.into_iter().for_each(|cert| self.cert(cert));
            }
            Message::ListAnswer(page) => page.entries.into_iter().for_each(|entry| match entry {
                ListEntry::Committed(proof) => self.commit(*proof),
                ListEntry::Deleted(order) => self.order(order),
            }),
            Message::News { news, .. } => self.news(news),
            Message::Heartbeat(heartbeat) => {
                if heartbeat.verifies(self.verifier.config()) {
                    assert!(golden::parts().heartbeats.contains(&heartbeat), "forged heartbeat");
                }
            }
            Message::Pulled { pulled, .. } => match pulled {
                Pulled::Committed(proof) => self.commit(*proof),
                Pulled::Sealed(seal) => self.seal(*seal),
                Pulled::Nothing => {}
            },
            Message::Head { .. }
            | Message::Seal { .. }
            | Message::List { .. }
            | Message::Stat { .. }
            | Message::Status
            | Message::Opened(_)
            | Message::StatusAnswer(_)
            | Message::Refused(_)
            | Message::Pull(_) => {}
        }
    }

    fn head(&mut self, answer: HeadAnswer) {
        answer.committed.into_iter().for_each(|proof| self.commit(*proof));
        answer.deleted.into_iter().for_each(|order| self.order(order));
        answer.pending.into_iter().for_each(|open| self.open(open));
        if let Some(aborted) = answer.aborted {
            aborted.vote.into_iter().for_each(|vote| self.vote(vote));
            aborted.cert.into_iter().for_each(|cert| self.cert(cert));
        }
    }

    fn news(&mut self, news: News) {
        match news {
            News::Votes { votes, echo_cert } => {
                votes.into_iter().for_each(|vote| self.vote(vote));
                echo_cert.into_iter().for_each(|cert| self.cert(cert));
            }
            News::Committed => {}
            News::Aborted(cert) => self.cert(cert),
            News::Deleted(order) => self.order(order),
        }
    }

    fn open(&self, open: SignedOpen) {
        if let Ok(verified) = open.verify(self.verifier.config()) {
            let known = golden::parts().opens;
            assert!(known.iter().any(|known| known.open == *verified.open()), "forged OPEN");
        }
    }

    fn seal(&self, seal: SealBundle) {
        if let Ok(verified) = seal.verify(self.verifier.config()) {
            let known = golden::parts().manifests;
            assert!(known.contains(verified.manifest()), "forged SEAL");
            assert!(verified.layout().stripes() == verified.manifest().stripes, "stripes");
        }
    }

    fn order(&self, order: OwnerOrder) {
        let (kind, object) = (order.kind, order.object.clone());
        if order.verify(self.verifier.config()).is_ok() {
            let known = golden::parts().orders;
            let signed = known.iter().any(|known| known.kind == kind && known.object == object);
            assert!(signed, "forged order");
        }
    }

    fn vote(&mut self, vote: SignedVote) {
        if let Ok(verified) = self.verifier.vote(vote) {
            let known = golden::parts().votes;
            let signed = known.iter().any(|known| known.statement == *verified.statement());
            assert!(signed, "forged vote");
        }
    }

    fn cert(&mut self, cert: QuorumCert) {
        let params = self.verifier.config().params;
        let (kind, slots) = (cert.kind, cert.distinct_slots(params));
        // Certificates carry no nonce, so a kind that needs one never verifies here.
        if self.verifier.cert(cert.clone(), kind, params.honest_witness()).is_ok() {
            assert!(kind != StatementKind::HoldNow && slots >= params.honest_witness(), "quorum");
            cert.votes().for_each(|vote| self.vote(vote));
        }
        if self.verifier.echo_cert(cert.clone()).is_ok() {
            assert!(kind == StatementKind::Echo && slots >= params.echo_quorum(), "echo quorum");
        }
        if self.verifier.abort_cert(cert).is_ok() {
            assert!(kind == StatementKind::Abort && slots >= params.answer_quorum(), "aborts");
        }
    }

    fn commit(&mut self, proof: CommitProof) {
        if let Ok(verified) = self.verifier.commit(proof.clone()) {
            let commitment = proof.seal.manifest.commitment();
            assert!(verified.commitment() == commitment, "proof of another content");
            self.cert(proof.echo);
            self.cert(proof.ready);
        }
        self.seal(proof.seal);
    }
}
