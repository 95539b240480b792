//! ward-data.
