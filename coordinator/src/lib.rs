//! ward-coordinator.
