//! ward-privacy.
