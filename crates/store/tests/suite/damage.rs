//! Disks that lie, rot and fail to read.
