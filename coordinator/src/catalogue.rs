//! The templates that the coordinator offers: those that ship, and the operator's own.

use std::cmp::Reverse;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ward_schemas::canonical::ContentHash;
use ward_schemas::key::Vocabulary;
use ward_schemas::library;
use ward_schemas::names::{Ident, Version};
use ward_schemas::problem::{ErrorCode, Problem};
use ward_schemas::template::{ExpandedTemplate, Template, TemplateError, TemplateRef};
use ward_schemas::wire::TemplateSummary;

/// Templates by name, the newest version first.
#[derive(Debug)]
pub(crate) struct Catalogue(Vec<Entry>);

/// One template, as text and as read with the network's vocabulary.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) source: String,
    pub(crate) template: ExpandedTemplate,
}

impl Entry {
    pub(crate) fn summary(&self) -> TemplateSummary {
        TemplateSummary::new(self.template.template(), self.template.reference())
    }
}

impl Catalogue {
    /// Reads all templates. One that ships and can't be read with this vocabulary is left out.
    pub(crate) fn load(
        dir: Option<&Path>,
        hash: ContentHash,
        vocabulary: &dyn Vocabulary,
    ) -> Result<Self, CatalogueError> {
        let mut entries = Vec::new();
        for (name, source) in library::TEMPLATES {
            match entry((*source).to_owned(), hash, vocabulary) {
                Ok(entry) => entries.push(entry),
                Err(error) => tracing::warn!(name, %error, "left out a template that ships"),
            }
        }
        for file in dir.map(files).transpose()?.unwrap_or_default() {
            let source = fs::read_to_string(&file).map_err(|e| unreadable(&file, e))?;
            let entry = entry(source, hash, vocabulary).map_err(|source| {
                let file = file.clone();
                CatalogueError::Template { file, source }
            })?;
            entries.push(entry);
        }
        Self::new(entries)
    }

    fn new(mut entries: Vec<Entry>) -> Result<Self, CatalogueError> {
        entries.sort_by_cached_key(|e| {
            let reference = e.template.reference();
            (reference.id, Reverse(numbers(&reference.version)))
        });
        let name = |e: &Entry| (e.template.template().id.clone(), numbers_of(e));
        if let Some(pair) = entries.windows(2).find(|p| name(&p[0]) == name(&p[1])) {
            let template = pair[0].template.template();
            return Err(CatalogueError::Twice {
                id: template.id.clone(),
                version: template.version.clone(),
            });
        }
        Ok(Self(entries))
    }

    /// All templates.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The newest version of a template.
    pub(crate) fn newest(&self, id: &Ident) -> Option<&Entry> {
        self.0.iter().find(|e| e.template.template().id == *id)
    }

    /// The very template that is asked.
    pub(crate) fn find(&self, asked: &TemplateRef) -> Result<&Entry, Problem> {
        if let Some(entry) = self.0.iter().find(|e| e.template.reference() == *asked) {
            return Ok(entry);
        }
        let Some(newest) = self.newest(&asked.id) else {
            return Err(Problem::new(
                ErrorCode::TemplateUnknown,
                format!("there is no template {}", asked.id),
                "`ward template list` shows those there are.",
            ));
        };
        let here = newest.template.reference();
        let (hash, other) = (asked.hash.short(), here.hash.short());
        Err(Problem::new(
            ErrorCode::TemplateAltered,
            format!(
                "{} {} with the hash {hash} is not here",
                asked.id, asked.version
            ),
            format!("Ask for {} with the hash {other}.", here.version),
        ))
    }
}

fn entry(
    source: String,
    hash: ContentHash,
    vocabulary: &dyn Vocabulary,
) -> Result<Entry, TemplateError> {
    let template = Template::parse(&source)?.expand(hash, vocabulary)?;
    Ok(Entry { source, template })
}

/// The directory's TOML files, in the order of their names.
fn files(dir: &Path) -> Result<Vec<PathBuf>, CatalogueError> {
    let mut files = Vec::new();
    for file in fs::read_dir(dir).map_err(|e| unreadable(dir, e))? {
        let path = file.map_err(|e| unreadable(dir, e))?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn unreadable(path: &Path, source: io::Error) -> CatalogueError {
    CatalogueError::Read {
        path: path.to_owned(),
        source,
    }
}

fn numbers_of(entry: &Entry) -> Vec<u32> {
    numbers(&entry.template.template().version)
}

/// A version's three numbers, for comparing.
fn numbers(version: &Version) -> Vec<u32> {
    let parts = version.as_str().split('.');
    parts.map(|n| n.parse().unwrap_or(0)).collect()
}

/// Why the templates can't be offered.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A file or the directory can't be read.
    #[error("{}: can't be read: {source}; check `templates` in the configuration", path.display())]
    Read {
        /// File or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no template.
    #[error("{}: {source}; correct the file, or move it out of the directory", file.display())]
    Template {
        /// The file.
        file: PathBuf,
        /// Why.
        source: TemplateError,
    },
    /// Two templates of one name and version.
    #[error("there are two templates {id} {version}; a changed template needs a new version")]
    Twice {
        /// Name.
        id: Ident,
        /// Version.
        version: Version,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TEMPLATE, template};
    use ward_schemas::key::NoVocabulary;

    fn catalogue(texts: &[&str]) -> Result<Catalogue, CatalogueError> {
        let dir = tempfile::tempdir().expect("directory");
        for (i, text) in texts.iter().enumerate() {
            fs::write(dir.path().join(format!("{i}.toml")), text).expect("written");
        }
        let hash = template().vocabulary();
        Catalogue::load(Some(dir.path()), hash, &NoVocabulary)
    }

    #[test]
    fn the_newest_version_stands_for_the_name() {
        let newer = TEMPLATE.replace("1.0.0", "1.10.0");
        let catalogue = catalogue(&[&TEMPLATE.replace("1.0.0", "1.9.0"), &newer, TEMPLATE]);
        let catalogue = catalogue.expect("catalogue");
        let id = "patients_by_sex".parse().expect("name");
        let newest = catalogue.newest(&id).expect("template");
        assert_eq!(newest.source, newer);
        let first = catalogue.find(&template().reference()).expect("found");
        assert_eq!(first.source, TEMPLATE);
    }

    #[test]
    fn altered_and_unknown_templates_are_told_apart() {
        let catalogue = catalogue(&[TEMPLATE]).expect("catalogue");
        let mut asked = template().reference();
        asked.hash = ContentHash::of_bytes(b"other");
        let altered = catalogue.find(&asked).expect_err("altered");
        assert_eq!(altered.code, ErrorCode::TemplateAltered);
        asked.id = "something_else".parse().expect("name");
        let unknown = catalogue.find(&asked).expect_err("unknown");
        assert_eq!(unknown.code, ErrorCode::TemplateUnknown);
    }

    #[test]
    fn a_bad_file_is_named() {
        let error = catalogue(&[TEMPLATE, "id = 7"]).expect_err("refused");
        assert!(error.to_string().contains("1.toml"), "{error}");
        let error = catalogue(&[TEMPLATE, TEMPLATE]).expect_err("refused");
        assert!(error.to_string().contains("new version"), "{error}");
    }
}
