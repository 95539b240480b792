//! ward-tests.
