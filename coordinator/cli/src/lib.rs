//! ward-cli.
