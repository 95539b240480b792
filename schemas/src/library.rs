//! The templates that ship, one TOML file each in `schemas/library`.

/// Name and text of every template that ships.
pub const TEMPLATES: &[(&str, &str)] = &[];
