//! Infections with their seasons, and emergencies.

use chrono::NaiveDate;

use crate::analyte::Analyte;
use crate::concept::{
    CHEST_XRAY, COPD, CORONARY_DISEASE, COVID_19, ECG, HEART_FAILURE, INFLUENZA, OSTEOPOROSIS,
    PNEUMONIA,
};
use crate::disease::ByAge;
use crate::drug::{self, Drug};

/// Weights of the months.
pub(crate) type Season = [f64; 12];

const WINTER: Season = [9.0, 9.0, 6.0, 2.0, 0.7, 0.3, 0.2, 0.2, 0.5, 1.5, 3.0, 6.0];
/// The season of most deaths.
pub(crate) const COLD_HALF: Season = [4.0, 4.0, 3.5, 2.5, 1.5, 1.0, 0.8, 0.8, 1.5, 2.5, 3.2, 4.0];
const WAVES: Season = [5.0, 4.0, 4.0, 2.5, 1.2, 0.8, 1.5, 1.8, 1.8, 3.5, 5.0, 6.0];
const SUMMER: Season = [0.8, 0.8, 1.0, 1.3, 1.6, 1.8, 1.8, 1.7, 1.4, 1.1, 0.9, 0.8];

/// Before it nobody is diagnosed with COVID-19.
pub(crate) const PANDEMIC_SINCE: NaiveDate =
    NaiveDate::from_ymd_opt(2020, 3, 1).expect("the day exists");

/// Factor on infections that keeping apart held down, by year.
fn apart(year: i32) -> f64 {
    match year {
        2020 => 0.6,
        2021 => 0.3,
        2022 => 0.9,
        _ => 1.0,
    }
}

fn pandemic(year: i32) -> f64 {
    match year {
        2020 => 1.0,
        2021 => 1.4,
        2022 => 2.2,
        2023 => 0.9,
        2024.. => 0.6,
        _ => 0.0,
    }
}

fn steady(_: i32) -> f64 {
    1.0
}

/// An infection.
pub(crate) struct Infection {
    /// Its concept.
    pub(crate) concept: i64,
    /// ICD-10 code, the hospital's own code.
    pub(crate) icd10: &'static str,
    /// Cases seen a year and patient.
    pub(crate) rate: ByAge,
    /// Factor for men.
    pub(crate) men: f64,
    /// When in a year.
    pub(crate) season: &'static Season,
    /// Factor by year.
    pub(crate) year: fn(i32) -> f64,
    /// Share that is admitted, by age.
    pub(crate) admitted: ByAge,
    /// Medicines; a case gets one of them.
    pub(crate) drugs: &'static [Drug],
    /// What is measured.
    pub(crate) measured: &'static [Analyte],
    /// What is done.
    pub(crate) procedure: Option<i64>,
}

/// Every infection.
pub(crate) const INFECTIONS: &[Infection] = &[
    Infection {
        concept: INFLUENZA,
        icd10: "J10.1",
        rate: [0.06, 0.03, 0.025, 0.025, 0.035, 0.04],
        men: 1.0,
        season: &WINTER,
        year: apart,
        admitted: [0.08, 0.03, 0.03, 0.1, 0.35, 0.5],
        drugs: &[drug::PARACETAMOL, drug::OSELTAMIVIR],
        measured: &[Analyte::Temperature],
        procedure: None,
    },
    Infection {
        concept: COVID_19,
        icd10: "U07.1",
        rate: [0.01, 0.02, 0.02, 0.025, 0.035, 0.045],
        men: 1.1,
        season: &WAVES,
        year: pandemic,
        admitted: [0.03, 0.03, 0.06, 0.18, 0.45, 0.6],
        drugs: &[drug::PARACETAMOL],
        measured: &[Analyte::Temperature, Analyte::Saturation],
        procedure: None,
    },
    Infection {
        concept: PNEUMONIA,
        icd10: "J18.9",
        rate: [0.012, 0.003, 0.004, 0.01, 0.035, 0.06],
        men: 1.2,
        season: &COLD_HALF,
        year: steady,
        admitted: [0.4, 0.3, 0.4, 0.6, 0.85, 0.9],
        drugs: &[drug::AMOXICILLIN_500],
        measured: &[Analyte::Temperature, Analyte::Crp, Analyte::Saturation],
        procedure: Some(CHEST_XRAY),
    },
    Infection {
        concept: 260139,
        icd10: "J20.9",
        rate: [0.05, 0.02, 0.02, 0.025, 0.03, 0.03],
        men: 1.0,
        season: &COLD_HALF,
        year: apart,
        admitted: [0.05, 0.0, 0.0, 0.01, 0.05, 0.08],
        drugs: &[drug::PARACETAMOL, drug::AMOXICILLIN_500],
        measured: &[Analyte::Temperature],
        procedure: None,
    },
    Infection {
        concept: 4112343,
        icd10: "J02.9",
        rate: [0.09, 0.045, 0.025, 0.015, 0.008, 0.005],
        men: 0.9,
        season: &COLD_HALF,
        year: apart,
        admitted: [0.0; 6],
        drugs: &[drug::PARACETAMOL, drug::IBUPROFEN],
        measured: &[],
        procedure: None,
    },
    Infection {
        concept: 40481087,
        icd10: "J01.9",
        rate: [0.01, 0.02, 0.03, 0.025, 0.015, 0.01],
        men: 0.9,
        season: &COLD_HALF,
        year: apart,
        admitted: [0.0; 6],
        drugs: &[drug::PARACETAMOL],
        measured: &[],
        procedure: None,
    },
    Infection {
        concept: 372328,
        icd10: "H66.9",
        rate: [0.17, 0.005, 0.004, 0.003, 0.002, 0.002],
        men: 1.1,
        season: &COLD_HALF,
        year: apart,
        admitted: [0.01, 0.0, 0.0, 0.0, 0.0, 0.0],
        drugs: &[drug::AMOXICILLIN_250],
        measured: &[Analyte::Temperature],
        procedure: None,
    },
    Infection {
        concept: 195588,
        icd10: "N30.0",
        rate: [0.006, 0.04, 0.035, 0.035, 0.05, 0.06],
        men: 0.2,
        season: &SUMMER,
        year: steady,
        admitted: [0.02, 0.0, 0.0, 0.02, 0.08, 0.15],
        drugs: &[drug::NITROFURANTOIN],
        measured: &[],
        procedure: None,
    },
];

/// An emergency.
pub(crate) struct Emergency {
    /// Its concept.
    pub(crate) concept: i64,
    /// ICD-10 code, the hospital's own code.
    pub(crate) icd10: &'static str,
    /// Cases a year and patient who can have it.
    pub(crate) rate: ByAge,
    /// A disease without which it does not happen.
    pub(crate) needs: Option<i64>,
    /// When in a year.
    pub(crate) season: &'static Season,
    /// Mean nights in hospital; none if it is treated in the emergency room alone.
    pub(crate) nights: Option<f64>,
    /// What is done.
    pub(crate) procedure: Option<i64>,
    /// Medicines; a case gets one of them.
    pub(crate) drugs: &'static [Drug],
    /// What is measured.
    pub(crate) measured: &'static [Analyte],
}

/// Every emergency.
pub(crate) const EMERGENCIES: &[Emergency] = &[
    Emergency {
        concept: 312327,
        icd10: "I21.9",
        rate: [0.0, 0.0, 0.03, 0.035, 0.04, 0.05],
        needs: Some(CORONARY_DISEASE),
        season: &COLD_HALF,
        nights: Some(5.0),
        procedure: Some(4216130),
        drugs: &[drug::ASPIRIN],
        measured: &[Analyte::Systolic, Analyte::HeartRate],
    },
    Emergency {
        concept: 443454,
        icd10: "I63.9",
        rate: [0.0, 0.0, 0.0006, 0.004, 0.015, 0.025],
        needs: None,
        season: &SUMMER,
        nights: Some(9.0),
        procedure: Some(ECG),
        drugs: &[drug::ASPIRIN],
        measured: &[Analyte::Systolic, Analyte::Diastolic, Analyte::Glucose],
    },
    Emergency {
        concept: 319835,
        icd10: "I50.0",
        rate: [0.05, 0.08, 0.1, 0.12, 0.15, 0.18],
        needs: Some(HEART_FAILURE),
        season: &COLD_HALF,
        nights: Some(8.0),
        procedure: Some(ECG),
        drugs: &[drug::FUROSEMIDE],
        measured: &[Analyte::Weight, Analyte::Creatinine, Analyte::Saturation],
    },
    Emergency {
        concept: 257004,
        icd10: "J44.1",
        rate: [0.0, 0.05, 0.07, 0.1, 0.12, 0.12],
        needs: Some(COPD),
        season: &WINTER,
        nights: Some(6.5),
        procedure: Some(CHEST_XRAY),
        drugs: &[drug::PREDNISONE],
        measured: &[Analyte::Saturation, Analyte::Crp],
    },
    Emergency {
        concept: 4230399,
        icd10: "S72.0",
        rate: [0.0, 0.0, 0.0, 0.006, 0.03, 0.06],
        needs: Some(OSTEOPOROSIS),
        season: &COLD_HALF,
        nights: Some(11.0),
        procedure: Some(4203771),
        drugs: &[drug::PARACETAMOL],
        measured: &[Analyte::Hemoglobin],
    },
    Emergency {
        concept: 440448,
        icd10: "K35.8",
        rate: [0.001, 0.0025, 0.0012, 0.0008, 0.0006, 0.0005],
        needs: None,
        season: &SUMMER,
        nights: Some(3.0),
        procedure: Some(4198190),
        drugs: &[drug::PARACETAMOL],
        measured: &[Analyte::Crp, Analyte::Temperature],
    },
    Emergency {
        concept: 198809,
        icd10: "K81.0",
        rate: [0.0, 0.0006, 0.002, 0.003, 0.004, 0.004],
        needs: None,
        season: &SUMMER,
        nights: Some(4.5),
        procedure: Some(4163971),
        drugs: &[drug::IBUPROFEN],
        measured: &[Analyte::Crp],
    },
    Emergency {
        concept: 4278672,
        icd10: "S52.9",
        rate: [0.006, 0.009, 0.003, 0.005, 0.01, 0.012],
        needs: None,
        season: &SUMMER,
        nights: None,
        procedure: Some(4170947),
        drugs: &[drug::IBUPROFEN],
        measured: &[],
    },
    Emergency {
        concept: 81151,
        icd10: "S93.4",
        rate: [0.006, 0.018, 0.01, 0.006, 0.004, 0.002],
        needs: None,
        season: &SUMMER,
        nights: None,
        procedure: None,
        drugs: &[drug::IBUPROFEN],
        measured: &[],
    },
];
