//! ward-omop.
