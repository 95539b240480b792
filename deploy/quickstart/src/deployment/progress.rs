//! How far the making of a deployment has come.

use std::path::PathBuf;

use ward_data::ImportReport;
use ward_schemas::canonical::ContentHash;
use ward_schemas::names::NodeName;
use ward_schemas::permit::Permit;
use ward_schemas::template::TemplateRef;

/// Is told how far the making of a deployment has come.
pub trait Progress: Sync {
    /// A step is done, or has come further.
    fn step(&self, step: &Step);
}

/// Keeps quiet.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _step: &Step) {}
}

/// A step of making a deployment. Steps of different nodes come in any order.
#[derive(Clone, Debug)]
pub enum Step {
    /// The certification authority, the coordinator and the requester have their certificates.
    Certified {
        /// The authority's certificate.
        ca: PathBuf,
    },
    /// The vocabulary package is there.
    VocabularyPacked {
        /// Its hash.
        hash: ContentHash,
    },
    /// The access body has issued its permit.
    PermitIssued {
        /// What it says.
        permit: Box<Permit>,
    },
    /// A hospital's patients are being generated.
    Generating {
        /// Whose.
        node: NodeName,
        /// How many are done.
        patients: u64,
        /// How many there will be.
        of: u64,
    },
    /// A hospital's data is being imported.
    Importing {
        /// Where.
        node: NodeName,
        /// The table that begins.
        table: String,
    },
    /// A hospital's data is imported.
    Imported {
        /// Where.
        node: NodeName,
        /// What was read and kept.
        report: Box<ImportReport>,
    },
    /// A steward has decided on the templates: the node is complete.
    Ready {
        /// Where.
        node: NodeName,
        /// What may be asked there.
        approved: Vec<TemplateRef>,
    },
}
