//! The AVID-FP protocol: statements, certificates, wire messages and the pure machines of writer, node and reader.
