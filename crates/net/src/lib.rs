//! Authenticated links: frames, handshake and bounded connections.
