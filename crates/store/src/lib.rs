//! Durable storage of one node: journal, fragment files and index over the Disk seam.
