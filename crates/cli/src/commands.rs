//! One file per command; what they share is here and in [`failure`] and [`session`].

pub(crate) mod cancel;
pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod dev;
pub(crate) mod disperse;
pub(crate) mod failure;
pub(crate) mod grant;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod keygen;
pub(crate) mod ls;
pub(crate) mod retrieve;
pub(crate) mod rm;
pub(crate) mod serve;
pub(crate) mod session;
pub(crate) mod stat;
pub(crate) mod status;
pub(crate) mod verify;
