//! Permits as files: put together and signed by an access body, read by everybody.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::Args;
use serde::{Deserialize, Deserializer, de};
use ward_schemas::canonical::{ContentHash, HashSyntax};
use ward_schemas::delta::Delta;
use ward_schemas::ehds::Purpose;
use ward_schemas::jws::{self, JwsError, KeyRing, MessageKind, SigningKey, VerifyingKey};
use ward_schemas::names::{Ident, NameError, NodeName, PermitId, Subject, Version};
use ward_schemas::permit::{Holder, PERMIT_FORMAT, Permit, PermitError};
use ward_schemas::rho::Rho;
use ward_schemas::template::TemplateRef;

use crate::args::purpose_parser;

/// The fields of a permit, each perhaps: from flags, or from a TOML file whose fields have the
/// permit's own names.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Draft {
    /// Identifier, unique for the access body
    #[arg(long)]
    pub id: Option<PermitId>,
    /// Version of the decision; an amended permit has a higher one [default: 1]
    #[arg(long = "permit-version", value_name = "N")]
    pub version: Option<u32>,
    /// The access body, as nodes' configurations name it
    #[arg(long, value_name = "NAME")]
    pub access_body: Option<String>,
    /// When this version is issued: YYYY-MM-DD or RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    pub issued_at: Option<Moment>,
    /// First moment of validity [default: when it is issued]
    #[arg(long, value_name = "TIME")]
    pub valid_from: Option<Moment>,
    /// First moment after validity
    #[arg(long, value_name = "TIME")]
    pub valid_until: Option<Moment>,
    /// Who it is given to.
    #[command(flatten)]
    pub holder: HolderDraft,
    /// Who may ask, such as ada@uni.example; may be given several times
    #[arg(long = "person", value_name = "SUBJECT")]
    pub persons: Vec<Subject>,
    /// What for
    #[arg(long, value_parser = purpose_parser())]
    pub purpose: Option<Purpose>,
    /// What may be asked: ID (the coordinator's present one), ID@sha256:… (the same, if it has
    /// this hash) or ID@VERSION@sha256:…; may be given several times
    #[arg(long = "template", value_name = "TEMPLATE")]
    pub templates: Vec<TemplateChoice>,
    /// Where; may be given several times
    #[arg(long = "node", value_name = "NODE")]
    pub nodes: Vec<NodeName>,
    /// Privacy loss that all asks together may cause at each node, such as 0.05
    #[arg(long, value_name = "RHO")]
    pub budget: Option<Rho>,
    /// The same of delta, which only templates with keys from the data cost, such as 1e-7
    /// [default: 0]
    #[arg(long, value_name = "DELTA")]
    pub budget_delta: Option<Delta>,
    /// How many nodes must answer
    #[arg(long, value_name = "N")]
    pub minimum_nodes: Option<u32>,
    /// Every ask must be signed by this key of the requester (ed25519:…)
    #[arg(long, value_name = "KEY")]
    pub requester_key: Option<VerifyingKey>,
}

/// Who a permit is given to, each field perhaps.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HolderDraft {
    /// The holder's organisation
    #[arg(long, value_name = "NAME")]
    pub organisation: Option<String>,
    /// The holder's principal investigator
    #[arg(long, value_name = "NAME")]
    pub principal_investigator: Option<String>,
    /// The holder is a public body (Article 53(2))
    #[arg(long)]
    pub public_body: bool,
}

impl Draft {
    /// Reads a draft from a TOML file.
    ///
    /// # Errors
    /// When the file can't be read, or has other fields.
    pub fn read(file: &Path) -> Result<Self, PermitFileError> {
        let text = read_text(file)?;
        toml::from_str(&text).map_err(|source| PermitFileError::Syntax {
            file: file.to_owned(),
            source: Box::new(source),
        })
    }

    /// This draft, with `base` for what it lacks.
    #[must_use]
    pub fn over(self, base: Self) -> Self {
        fn list<T>(own: Vec<T>, base: Vec<T>) -> Vec<T> {
            if own.is_empty() { base } else { own }
        }
        Self {
            id: self.id.or(base.id),
            version: self.version.or(base.version),
            access_body: self.access_body.or(base.access_body),
            issued_at: self.issued_at.or(base.issued_at),
            valid_from: self.valid_from.or(base.valid_from),
            valid_until: self.valid_until.or(base.valid_until),
            holder: self.holder.over(base.holder),
            persons: list(self.persons, base.persons),
            purpose: self.purpose.or(base.purpose),
            templates: list(self.templates, base.templates),
            nodes: list(self.nodes, base.nodes),
            budget: self.budget.or(base.budget),
            budget_delta: self.budget_delta.or(base.budget_delta),
            minimum_nodes: self.minimum_nodes.or(base.minimum_nodes),
            requester_key: self.requester_key.or(base.requester_key),
        }
    }

    /// The permit, with its templates found and `now` for the moment it is issued.
    ///
    /// # Errors
    /// When fields are missing, or contradict each other or the Regulation.
    pub fn complete(
        self,
        templates: BTreeSet<TemplateRef>,
        now: DateTime<Utc>,
    ) -> Result<Permit, PermitFileError> {
        let missing = self.missing();
        let (Some(id), Some(access_body), Some(valid_until), Some(holder)) = (
            self.id,
            self.access_body,
            self.valid_until,
            self.holder.complete(),
        ) else {
            return Err(PermitFileError::Missing(missing));
        };
        let (Some(purpose), Some(budget), Some(minimum_nodes)) =
            (self.purpose, self.budget, self.minimum_nodes)
        else {
            return Err(PermitFileError::Missing(missing));
        };
        let issued_at = self.issued_at.map_or(now, |moment| moment.0);
        let permit = Permit {
            v: PERMIT_FORMAT,
            id,
            version: self.version.unwrap_or(1),
            access_body,
            issued_at,
            valid_from: self.valid_from.map_or(issued_at, |moment| moment.0),
            valid_until: valid_until.0,
            holder,
            persons: self.persons.into_iter().collect(),
            purpose,
            templates,
            nodes: self.nodes.into_iter().collect(),
            budget,
            budget_delta: self.budget_delta.unwrap_or_default(),
            minimum_nodes,
            requester_key: self.requester_key,
        };
        permit.check()?;
        Ok(permit)
    }

    fn missing(&self) -> Vec<&'static str> {
        let holder = &self.holder;
        let given = [
            ("--id", self.id.is_some()),
            ("--access-body", self.access_body.is_some()),
            ("--valid-until", self.valid_until.is_some()),
            ("--organisation", holder.organisation.is_some()),
            (
                "--principal-investigator",
                holder.principal_investigator.is_some(),
            ),
            ("--purpose", self.purpose.is_some()),
            ("--budget", self.budget.is_some()),
            ("--minimum-nodes", self.minimum_nodes.is_some()),
        ];
        let lacks = given.into_iter().filter(|(_, given)| !given);
        lacks.map(|(flag, _)| flag).collect()
    }
}

impl HolderDraft {
    fn over(self, base: Self) -> Self {
        Self {
            organisation: self.organisation.or(base.organisation),
            principal_investigator: self.principal_investigator.or(base.principal_investigator),
            public_body: self.public_body || base.public_body,
        }
    }

    fn complete(self) -> Option<Holder> {
        Some(Holder {
            organisation: self.organisation?,
            principal_investigator: self.principal_investigator?,
            public_body: self.public_body,
        })
    }
}

/// A moment, written as a date (00:00 UTC) or in RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub DateTime<Utc>);

impl FromStr for Moment {
    type Err = MomentSyntax;

    fn from_str(text: &str) -> Result<Self, MomentSyntax> {
        let day = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
        text.parse()
            .map(day)
            .or_else(|_| DateTime::parse_from_rfc3339(text).map(|t| t.to_utc()))
            .map(Self)
            .map_err(|_| MomentSyntax(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Toml(toml::value::Datetime),
            Text(String),
        }
        let text = match Written::deserialize(d)? {
            Written::Toml(date) => date.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(de::Error::custom)
    }
}

/// Text that is not a moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a time; write 2026-12-31 (which starts at 00:00 UTC) or 2026-12-31T12:00:00Z"
)]
pub struct MomentSyntax(String);

/// A template as an access body names it: exactly, or by what the coordinator has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateChoice {
    /// Name.
    pub id: Ident,
    version: Option<Version>,
    hash: Option<ContentHash>,
}

impl TemplateChoice {
    /// The template, where version and hash are given.
    pub fn exact(&self) -> Option<TemplateRef> {
        Some(TemplateRef {
            id: self.id.clone(),
            version: self.version.clone()?,
            hash: self.hash?,
        })
    }

    /// The coordinator's template, if it is the one that is meant.
    ///
    /// # Errors
    /// When a hash is given and the coordinator has another.
    pub fn accept(&self, offered: TemplateRef) -> Result<TemplateRef, PermitFileError> {
        match self.hash {
            Some(meant) if meant != offered.hash => Err(PermitFileError::OtherTemplate {
                id: self.id.clone(),
                meant,
                offered: offered.hash,
            }),
            _ => Ok(offered),
        }
    }
}

impl FromStr for TemplateChoice {
    type Err = TemplateChoiceSyntax;

    fn from_str(text: &str) -> Result<Self, TemplateChoiceSyntax> {
        let parts: Vec<_> = text.split('@').collect();
        let (id, version, hash) = match parts[..] {
            [id] => (id, None, None),
            [id, hash] => (id, None, Some(hash)),
            [id, version, hash] => (id, Some(version), Some(hash)),
            _ => return Err(TemplateChoiceSyntax::Form),
        };
        Ok(Self {
            id: id.parse()?,
            version: version.map(str::parse).transpose()?,
            hash: hash.map(str::parse).transpose()?,
        })
    }
}

impl<'de> Deserialize<'de> for TemplateChoice {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// Text that names no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateChoiceSyntax {
    /// A bad name or version.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A bad hash.
    #[error(transparent)]
    Hash(#[from] HashSyntax),
    /// Too many parts.
    #[error("name a template as ID, ID@sha256:… or ID@VERSION@sha256:…")]
    Form,
}

/// A permit as a file holds it.
#[derive(Clone, Debug)]
pub struct PermitFile {
    /// The compact JWS.
    pub token: String,
    /// What it says; nobody has checked the signature.
    pub unverified: Permit,
}

impl PermitFile {
    /// Signs a permit.
    ///
    /// # Errors
    /// When it can't be written as JSON.
    pub fn sign(permit: Permit, key: &SigningKey) -> Result<Self, JwsError> {
        Ok(Self {
            token: key.sign(MessageKind::Permit, &permit)?,
            unverified: permit,
        })
    }

    /// Reads a permit's file.
    ///
    /// # Errors
    /// When the file can't be read, or holds no permit.
    pub fn read(file: &Path) -> Result<Self, PermitFileError> {
        let token = read_text(file)?.trim().to_owned();
        let unverified =
            jws::read_unverified(&token).map_err(|source| PermitFileError::NoPermit {
                file: file.to_owned(),
                source,
            })?;
        Ok(Self { token, unverified })
    }

    /// What is known about the signature, given the keys that the reader trusts.
    pub fn signature(&self, trusted: &[VerifyingKey]) -> Signature {
        if trusted.is_empty() {
            return Signature::NotChecked;
        }
        let ring = KeyRing::new(trusted.iter().map(|key| (*key, *key)));
        match ring.verify::<Permit>(MessageKind::Permit, &self.token) {
            Ok((_, key)) => Signature::Good(*key),
            Err(error) => Signature::Bad(error),
        }
    }
}

/// What is known about a permit's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// Nobody said which key to trust.
    NotChecked,
    /// By this trusted key.
    Good(VerifyingKey),
    /// By no trusted key.
    Bad(JwsError),
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotChecked => f.write_str(
                "SIGNATURE NOT CHECKED: anybody may have written this. Give the access body's \
                 public key with --trust",
            ),
            Self::Good(key) => write!(f, "signature good, by {key}"),
            Self::Bad(error) => write!(f, "SIGNATURE NOT TRUSTED: {error}"),
        }
    }
}

fn read_text(file: &Path) -> Result<String, PermitFileError> {
    fs::read_to_string(file).map_err(|source| PermitFileError::Read {
        file: file.to_owned(),
        source,
    })
}

/// What is wrong with a permit, or with a draft of one.
#[derive(Debug, thiserror::Error)]
pub enum PermitFileError {
    /// The file can't be read.
    #[error("{} can't be read: {source}; check the path", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The draft is none.
    #[error("{} can't be understood; correct it: {}", file.display(), source.to_string().trim_end())]
    Syntax {
        /// Which file.
        file: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// The file holds no permit.
    #[error("{} holds no permit: {source}; give the file that the access body issued", file.display())]
    NoPermit {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: JwsError,
    },
    /// Fields that only people can decide.
    #[error("the permit lacks {}; give each as a flag, or as a field of --from FILE", .0.join(", "))]
    Missing(Vec<&'static str>),
    /// It contradicts itself or the Regulation.
    #[error("this permit can't be issued: {0}")]
    Contradiction(#[from] PermitError),
    /// The coordinator's template is not the one that is meant.
    #[error(
        "the coordinator's template {id} has the hash {offered}, not {meant}; review it with ward \
         template show {id}, then name the hash you decided on"
    )]
    OtherTemplate {
        /// The template.
        id: Ident,
        /// The hash that was named.
        meant: ContentHash,
        /// The coordinator's.
        offered: ContentHash,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000001";

    fn draft_text() -> String {
        format!(
            r#"
            id = "FI/2026-7"
            access_body = "findata"
            issued_at = 2026-01-02T03:04:05Z
            valid_from = 2026-01-03
            valid_until = "2027-01-03"
            persons = ["ada@uni.example"]
            purpose = "scientific-research"
            templates = ["patients@1.0.0@{HASH}"]
            nodes = ["hospital-a", "hospital-b"]
            budget = "0.05"
            minimum_nodes = 2
            [holder]
            organisation = "University"
            principal_investigator = "Ada"
            "#
        )
    }

    fn draft() -> Draft {
        toml::from_str(&draft_text()).expect("draft")
    }

    fn permit(draft: Draft) -> Result<Permit, PermitFileError> {
        let templates = draft.templates.iter().filter_map(TemplateChoice::exact);
        let templates = templates.collect();
        draft.complete(templates, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_permit_is_issued_and_inspected() {
        let key = SigningKey::generate().expect("key");
        let permit = permit(draft()).expect("permit");
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("permit.jws");
        let issued = PermitFile::sign(permit.clone(), &key).expect("signed");
        fs::write(&file, &issued.token).expect("written");

        let read = PermitFile::read(&file).expect("permit");
        assert_eq!(read.unverified, permit);
        let public = key.verifying_key();
        assert_eq!(read.signature(&[public]), Signature::Good(public));
        assert_eq!(read.signature(&[]), Signature::NotChecked);
        let other = SigningKey::generate().expect("key").verifying_key();
        assert!(matches!(read.signature(&[other]), Signature::Bad(_)));
    }

    #[test]
    fn flags_go_before_the_file() {
        let flags = Draft {
            version: Some(2),
            nodes: vec![
                "hospital-c".parse().expect("name"),
                "hospital-d".parse().expect("name"),
            ],
            ..Draft::default()
        };
        let permit = permit(flags.over(draft())).expect("permit");
        assert_eq!(permit.version, 2);
        assert_eq!(
            permit
                .nodes
                .iter()
                .map(NodeName::as_str)
                .collect::<Vec<_>>(),
            ["hospital-c", "hospital-d"]
        );
        assert_eq!(permit.valid_from.to_rfc3339(), "2026-01-03T00:00:00+00:00");
        assert_eq!(permit.issued_at.to_rfc3339(), "2026-01-02T03:04:05+00:00");
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let error = permit(Draft::default()).expect_err("empty").to_string();
        for flag in ["--id", "--valid-until", "--organisation", "--budget"] {
            assert!(error.contains(flag), "{flag}: {error}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let mut reserved = draft();
        reserved.purpose = Some(Purpose::PublicHealth);
        let error = permit(reserved).expect_err("no public body").to_string();
        assert!(error.contains("Article 53(2)"), "{error}");
    }

    #[test]
    fn unknown_fields_of_a_draft_name_file_and_line() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("draft.toml");
        fs::write(&file, "id = 'x'\nbudgget = '1'\n").expect("written");
        let error = Draft::read(&file).expect_err("typo").to_string();
        assert!(
            error.contains("draft.toml") && error.contains("line 2"),
            "{error}"
        );
    }

    #[test]
    fn templates_are_named_in_three_ways() {
        let choice = |text: &str| text.parse::<TemplateChoice>();
        let exact = choice(&format!("patients@1.0.0@{HASH}")).expect("exact");
        let offered = exact.exact().expect("reference");
        assert_eq!(choice("patients").expect("name").exact(), None);
        let pinned = choice(&format!("patients@{HASH}")).expect("pinned");
        assert_eq!(pinned.accept(offered.clone()).expect("same"), offered);
        let other = TemplateRef {
            hash: ContentHash::of_bytes(b"other"),
            ..offered
        };
        let error = pinned.accept(other).expect_err("other").to_string();
        assert!(error.contains("ward template show patients"), "{error}");
        assert!(choice("patients@1.0.0").is_err());
        assert!(choice("a@b@c@d").is_err());
    }
}
