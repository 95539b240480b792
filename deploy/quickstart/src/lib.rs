//! ward-quickstart.
