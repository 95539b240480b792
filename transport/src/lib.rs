//! ward-transport.
