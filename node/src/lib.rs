//! ward-node.
