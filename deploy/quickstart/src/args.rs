//! What can be typed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Parser;
use ward_quickstart::deployment::{Hospital, Source, VocabularySource};
use ward_schemas::names::NodeName;
use ward_synthetic::Mix;

use crate::run::RunError;

/// Run a whole Ward network on this machine: five hospitals, a coordinator, three questions.
///
/// Makes certificates, generates five hospitals, has each steward approve the starter templates,
/// issues a permit, starts five nodes and the coordinator over mutual TLS on loopback, asks three
/// questions and prints the answers. Then it serves until Ctrl-C; quickstart.json in the working
/// directory has every address, file and command line to go on with.
#[derive(Debug, Parser)]
#[command(name = "quickstart", version)]
pub(crate) struct Arguments {
    /// Stop after the answers
    #[arg(long)]
    pub(crate) once: bool,
    /// Where everything is made, and stays [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Folders of OMOP tables (Parquet or CSV) in place of generated hospitals
    #[arg(long = "hospital", value_name = "DIR", num_args = 1.., requires = "vocabulary")]
    pub(crate) hospitals: Vec<PathBuf>,
    /// Folder of OMOP vocabulary tables, at least concept and concept_ancestor
    #[arg(long, value_name = "DIR", requires = "hospitals")]
    pub(crate) vocabulary: Option<PathBuf>,
}

/// Name, patients and mix of the generated hospitals.
const GENERATED: [(&str, u64, Mix); 5] = [
    ("university-hospital", 24_000, Mix::University),
    ("general-hospital", 14_000, Mix::General),
    ("country-hospital", 8_000, Mix::Rural),
    ("geriatric-hospital", 6_000, Mix::Geriatric),
    ("maternity-hospital", 4_000, Mix::Maternity),
];
const SEED: u64 = 2025;

impl Arguments {
    /// Whether hospitals are generated.
    pub(crate) fn generated(&self) -> bool {
        self.hospitals.is_empty()
    }

    /// Where the vocabulary comes from.
    pub(crate) fn vocabulary(&self) -> VocabularySource {
        match &self.vocabulary {
            Some(folder) => VocabularySource::Folder(folder.clone()),
            None => VocabularySource::Synthetic,
        }
    }

    /// The hospitals to make; a folder's name becomes the node's.
    ///
    /// # Errors
    /// When a folder isn't there, or has no name to call a node by.
    pub(crate) fn hospitals(&self) -> Result<Vec<Hospital>, RunError> {
        if self.generated() {
            return GENERATED.into_iter().map(generated).collect();
        }
        let mut taken = BTreeSet::new();
        let mut hospital = |given: &PathBuf| {
            let folder = given.canonicalize().ok().filter(|path| path.is_dir());
            let folder = folder.ok_or_else(|| RunError::NoFolder(given.clone()))?;
            let name = free_name(&node_name(&folder), &mut taken)?;
            let source = Source::Folder(folder);
            Ok(Hospital { name, source })
        };
        self.hospitals.iter().map(&mut hospital).collect()
    }
}

fn generated((name, patients, mix): (&str, u64, Mix)) -> Result<Hospital, RunError> {
    Ok(Hospital {
        name: name.parse()?,
        source: Source::Synthetic {
            seed: SEED,
            patients,
            mix,
        },
    })
}

/// A folder's name as a DNS name.
fn node_name(folder: &Path) -> String {
    let letter = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() => c,
        _ => '-',
    };
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let name: String = name.chars().map(letter).take(50).collect();
    match name.trim_matches('-') {
        "" => "hospital".to_owned(),
        name => name.to_owned(),
    }
}

/// The name, or the name with the first number that makes it another one.
fn free_name(name: &str, taken: &mut BTreeSet<String>) -> Result<NodeName, RunError> {
    let numbered = (2..).map(|n| format!("{name}-{n}"));
    let names = std::iter::once(name.to_owned()).chain(numbered);
    let free = names.into_iter().find(|name| taken.insert(name.clone()));
    Ok(free.unwrap_or_default().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_become_nodes_of_different_names() {
        let dir = tempfile::tempdir().expect("directory");
        let folders = ["one/St. Mary's", "two/St. Mary's"].map(|name| dir.path().join(name));
        for folder in &folders {
            std::fs::create_dir_all(folder).expect("made");
        }
        let mut typed = vec!["quickstart".into(), "--vocabulary".into(), "v".into()];
        typed.push("--hospital".into());
        typed.extend(folders.map(PathBuf::into_os_string));
        let arguments = Arguments::try_parse_from(typed).expect("arguments");
        let hospitals = arguments.hospitals().expect("hospitals");
        let names: Vec<_> = hospitals.iter().map(|h| h.name.as_str()).collect();
        assert_eq!(names, ["st--mary-s", "st--mary-s-2"]);
    }

    #[test]
    fn folders_of_patients_need_a_vocabulary() {
        let typed = ["quickstart", "--hospital", "a"];
        let error = Arguments::try_parse_from(typed).expect_err("no vocabulary");
        assert!(error.to_string().contains("--vocabulary"), "{error}");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let typed = ["quickstart", "--hospital", "/nowhere", "--vocabulary", "v"];
        let arguments = Arguments::try_parse_from(typed).expect("arguments");
        let error = arguments.hospitals().expect_err("no folder").to_string();
        assert!(error.contains("/nowhere"), "{error}");
    }

    #[test]
    fn generated_hospitals_are_five_and_enough() {
        let arguments = Arguments::try_parse_from(["quickstart"]).expect("arguments");
        assert_eq!(arguments.hospitals().expect("hospitals").len(), 5);
        let patients: u64 = GENERATED.iter().map(|(_, patients, _)| patients).sum();
        assert!(patients >= 5_000);
    }
}
