//! One connection to one node, and what can go wrong on it.
//!
//! Spec: docs/protocol.md WIRE-1.
//! Bounds: one control frame; bulk bytes go through the caller's buffers.
//! Not here: reuse ([`crate::pool`]), what answers mean.

use std::sync::Arc;
use std::time::Duration;

use avid_net::{Connection, DialError, FrameHeader, FrameReader, FrameWriter, LinkError};
use avid_protocol::verify::VerifyError;
use avid_protocol::wire::{FRAME_VERSION, Message, RefusalCode};
use avid_types::DecodeError;

/// Why one node did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NodeError {
    /// No connection.
    #[error("unreachable: {0}")]
    Unreachable(Arc<DialError>),
    /// The connection failed.
    #[error("{}", chain(.0))]
    Link(Arc<LinkError>),
    /// The node closed the connection where an answer was due.
    #[error("closed the connection without an answer")]
    Closed,
    /// Nothing came for too long.
    #[error("silent for {} s while {doing}", limit.as_secs_f32())]
    Silent {
        /// What was going on.
        doing: &'static str,
        /// How long we waited.
        limit: Duration,
    },
    /// Left behind by a write that others keep up with.
    #[error("too slow: the others were far ahead")]
    Late,
    /// It refused.
    #[error("refused ({code:?}): {message}")]
    Refused {
        /// For programs.
        code: RefusalCode,
        /// The node's own sentence.
        message: String,
    },
    /// Its bytes are no message.
    #[error("malformed answer: {0}")]
    Malformed(#[from] DecodeError),
    /// Its message is not an answer to the question.
    #[error("unexpected answer of type {kind:#04x}")]
    Unexpected {
        /// Frame type found.
        kind: u8,
    },
    /// Its signed statement does not verify.
    #[error("unverifiable answer: {0}")]
    Unverifiable(#[from] VerifyError),
    /// What it keeps of an interrupted dispersal is not the beginning of this object.
    #[error("keeps the beginning of other content from an interrupted dispersal")]
    OtherPrefix,
}

fn chain(error: &LinkError) -> String {
    use std::error::Error as _;
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

impl NodeError {
    /// Whether a connection that had been idle may just have been closed at the other end.
    pub(crate) fn is_stale(&self) -> bool {
        match self {
            Self::Link(_) | Self::Closed => true,
            Self::Unreachable(_)
            | Self::Silent { .. }
            | Self::Late
            | Self::Refused { .. }
            | Self::Malformed(_)
            | Self::Unexpected { .. }
            | Self::Unverifiable(_)
            | Self::OtherPrefix => false,
        }
    }

    /// Whether the node said nothing wrong: it, or the way to it, is down.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Link(_)
            | Self::Closed
            | Self::Silent { .. }
            | Self::Late => true,
            Self::Refused { .. }
            | Self::Malformed(_)
            | Self::Unexpected { .. }
            | Self::Unverifiable(_)
            | Self::OtherPrefix => false,
        }
    }

    /// The code, if the node refused.
    #[must_use]
    pub fn refusal(&self) -> Option<RefusalCode> {
        if let Self::Refused { code, .. } = self { Some(*code) } else { None }
    }
}

impl From<LinkError> for NodeError {
    fn from(error: LinkError) -> Self {
        Self::Link(Arc::new(error))
    }
}

/// Both directions of a connection to a node.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) reader: FrameReader,
    pub(crate) writer: FrameWriter,
    /// It had been idle, so the node may have closed it meanwhile.
    pub(crate) reused: bool,
}

impl Session {
    pub(crate) fn new(connection: Connection) -> Self {
        let (_peer, reader, writer) = connection.split();
        Self { reader, writer, reused: false }
    }

    /// Sends one message now.
    pub(crate) async fn send(&mut self, message: &Message) -> Result<(), NodeError> {
        let body = message.to_body();
        self.writer.write_frame(message.kind(), FRAME_VERSION, &[&body]).await?;
        Ok(self.writer.flush().await?)
    }

    /// The next message; a refusal is an error.
    pub(crate) async fn receive(
        &mut self,
        doing: &'static str,
        limit: Duration,
    ) -> Result<Message, NodeError> {
        let reading = async {
            match self.reader.next_header().await? {
                Some(header) => self.body_of(header).await,
                None => Err(NodeError::Closed),
            }
        };
        match tokio::time::timeout(limit, reading).await {
            Ok(result) => result,
            Err(_elapsed) => Err(NodeError::Silent { doing, limit }),
        }
    }

    /// The message whose header was read; a refusal is an error.
    pub(crate) async fn body_of(&mut self, header: FrameHeader) -> Result<Message, NodeError> {
        let body = self.reader.read_body().await?;
        let message = Message::from_body(header.kind, header.version, &body)?;
        if let Message::Refused(refused) = message {
            let message = printable(&refused.message);
            return Err(NodeError::Refused { code: refused.code, message });
        }
        Ok(message)
    }

    /// One question, one answer.
    pub(crate) async fn call(
        &mut self,
        message: &Message,
        limit: Duration,
    ) -> Result<Message, NodeError> {
        self.send(message).await?;
        self.receive("answering", limit).await
    }

    /// Why the node closed, if it said so before our write failed.
    pub(crate) async fn farewell(&mut self, failed: NodeError) -> NodeError {
        match self.receive("closing", Duration::from_millis(200)).await {
            Err(refused @ NodeError::Refused { .. }) => refused,
            Ok(_) | Err(_) => failed,
        }
    }
}

/// A node's sentence reaches terminals: control characters do not.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
