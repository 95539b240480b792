//! Hospitals that do not exist: a deterministic generator of OMOP CDM 5.4 folders.
//!
//! [`generate`] writes the personal tables of one [`Hospital`], one Parquet file a table;
//! [`vocabulary()`] writes the small public vocabulary that explains every concept in them. The
//! same hospital gives the same files, byte for byte, on every machine: each patient has a random
//! stream of their own, derived from the hospital's seed and name and the patient's number, and
//! nothing in it depends on other patients. So a smaller hospital is the beginning of a larger
//! one, and no more than a row group of each table is in memory at a time.
//!
//! The patients are imagined and roughly calibrated: ages and sexes as in [`Mix`]; chronic
//! diseases whose shares depend on age, sex, smoking and each other; follow-up visits with
//! prescriptions and laboratory values; infections with their seasons, and a pandemic from
//! 2020; emergencies with stays in hospital; births; deaths; visits by telehealth, rare until 2019
//! and more each year from 2020; readings of devices at home (recorded as 32865, patient
//! self-report, and at no visit). Records run from 2015-01-01 to 2025-12-31. Nothing can be learnt
//! from them about medicine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;

mod acute;
mod analyte;
mod care;
mod chance;
mod concept;
mod disease;
mod drug;
mod era;
mod hospital;
mod patient;
mod record;
mod sink;
mod span;
mod vocabulary;

pub use hospital::{Hospital, Mix};
pub use vocabulary::vocabulary;

use record::Record;
use sink::Sink;

/// Rows of each table that was written, by name.
pub type Rows = BTreeMap<&'static str, u64>;

/// Writes a hospital's personal tables into a folder, which is made if it is not there; files of
/// the same names are replaced. `progress` hears after each patient how many are done.
///
/// # Errors
/// When a file can't be written.
pub fn generate(
    folder: &Path,
    hospital: &Hospital,
    mut progress: impl FnMut(u64),
) -> Result<Rows, SyntheticError> {
    let mut tables = Tables::create(folder)?;
    for number in 1..=hospital.patients {
        tables.write(&patient::live(hospital, number))?;
        progress(number);
    }
    tables.finish()
}

/// The files of a hospital.
struct Tables {
    persons: Sink<record::Person>,
    periods: Sink<record::Period>,
    visits: Sink<record::Visit>,
    conditions: Sink<record::Condition>,
    drugs: Sink<record::Exposure>,
    procedures: Sink<record::Procedure>,
    measurements: Sink<record::Measurement>,
    observations: Sink<record::Observation>,
    deaths: Sink<record::Death>,
    drug_eras: Sink<record::DrugEra>,
    condition_eras: Sink<record::ConditionEra>,
}

impl Tables {
    fn create(folder: &Path) -> Result<Self, SyntheticError> {
        fs::create_dir_all(folder).map_err(|e| SyntheticError::file(folder, e))?;
        Ok(Self {
            persons: Sink::create(folder)?,
            periods: Sink::create(folder)?,
            visits: Sink::create(folder)?,
            conditions: Sink::create(folder)?,
            drugs: Sink::create(folder)?,
            procedures: Sink::create(folder)?,
            measurements: Sink::create(folder)?,
            observations: Sink::create(folder)?,
            deaths: Sink::create(folder)?,
            drug_eras: Sink::create(folder)?,
            condition_eras: Sink::create(folder)?,
        })
    }

    fn write(&mut self, record: &Record) -> Result<(), SyntheticError> {
        self.persons.write(std::slice::from_ref(&record.person))?;
        self.periods.write(std::slice::from_ref(&record.period))?;
        self.visits.write(&record.visits)?;
        self.conditions.write(&record.conditions)?;
        self.drugs.write(&record.drugs)?;
        self.procedures.write(&record.procedures)?;
        self.measurements.write(&record.measurements)?;
        self.observations.write(&record.observations)?;
        self.deaths.write(record.death.as_slice())?;
        self.drug_eras.write(&record.drug_eras)?;
        self.condition_eras.write(&record.condition_eras)
    }

    fn finish(self) -> Result<Rows, SyntheticError> {
        Ok(BTreeMap::from([
            self.persons.finish()?,
            self.periods.finish()?,
            self.visits.finish()?,
            self.conditions.finish()?,
            self.drugs.finish()?,
            self.procedures.finish()?,
            self.measurements.finish()?,
            self.observations.finish()?,
            self.deaths.finish()?,
            self.drug_eras.finish()?,
            self.condition_eras.finish()?,
        ]))
    }
}

/// Why a folder was not written.
#[derive(Debug, thiserror::Error)]
pub enum SyntheticError {
    /// The file system refused.
    #[error("{path} can't be written: {source}; give a folder that you may write to")]
    File {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The rows could not be encoded or written.
    #[error("{path} was not finished: {source}; make room on its disk and generate it again")]
    Parquet {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: ParquetError,
    },
}

impl SyntheticError {
    pub(crate) fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn parquet(path: &Path, source: ParquetError) -> Self {
        Self::Parquet {
            path: path.to_owned(),
            source,
        }
    }
}
