//! Chronic diseases: who has them, what they lead to, how they are treated and followed.

use crate::analyte::Analyte;
use crate::concept::{
    ASTHMA, ATRIAL_FIBRILLATION, BREAST_CANCER, COLON_CANCER, COPD, CORONARY_DISEASE, DEMENTIA,
    DEPRESSION, HEART_FAILURE, HYPERLIPIDEMIA, HYPERTENSION, HYPOTHYROIDISM, KIDNEY_DISEASE,
    OBESITY, OSTEOARTHRITIS, OSTEOPOROSIS, PROSTATE_CANCER, TYPE_1_DIABETES, TYPE_2_DIABETES,
};
use crate::drug::{self, Drug};

/// A number by age: its values at 0, 20, 40, 60, 80 and 100 years, straight lines between them.
pub(crate) type ByAge = [f64; 6];

/// The value at an age in years.
pub(crate) fn at(by_age: &ByAge, age: f64) -> f64 {
    let place = (age / 20.0).clamp(0.0, 4.999);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 4
    let knot = place as usize;
    by_age[knot] + (by_age[knot + 1] - by_age[knot]) * place.fract()
}

/// A chronic disease.
pub(crate) struct Disease {
    /// Its concept.
    pub(crate) concept: i64,
    /// More exact concepts that records of some patients hold, with the patients' share.
    pub(crate) forms: &'static [(f64, i64)],
    /// Concepts that records hold more and more often with the years.
    pub(crate) complications: &'static [i64],
    /// ICD-10 code, the hospital's own code.
    pub(crate) icd10: &'static str,
    /// Share of men who have it.
    pub(crate) men: ByAge,
    /// Share of women who have it.
    pub(crate) women: ByAge,
    /// Factors on the share among those who have other diseases, which stand before it.
    pub(crate) after: &'static [(i64, f64)],
    /// Factor on the share among smokers.
    pub(crate) smokers: f64,
    /// Medicines; a patient gets one of them for good.
    pub(crate) drugs: &'static [Drug],
    /// What a follow-up visit measures.
    pub(crate) followed: &'static [Analyte],
    /// Factor on the risk of death.
    pub(crate) mortality: f64,
}

/// Every disease, causes before effects.
pub(crate) const ALL: &[Disease] = &[
    Disease {
        concept: OBESITY,
        forms: &[],
        complications: &[],
        icd10: "E66.9",
        men: [0.03, 0.1, 0.18, 0.22, 0.16, 0.08],
        women: [0.03, 0.09, 0.17, 0.22, 0.18, 0.08],
        after: &[],
        smokers: 1.0,
        drugs: &[],
        followed: &[Analyte::Weight, Analyte::Hba1c],
        mortality: 1.1,
    },
    Disease {
        concept: TYPE_1_DIABETES,
        forms: &[],
        complications: &[],
        icd10: "E10.9",
        men: [0.0, 0.006, 0.007, 0.007, 0.006, 0.005],
        women: [0.0, 0.005, 0.006, 0.006, 0.006, 0.005],
        after: &[],
        smokers: 1.0,
        drugs: &[drug::INSULIN],
        followed: &[Analyte::Hba1c, Analyte::Glucose],
        mortality: 1.4,
    },
    Disease {
        concept: TYPE_2_DIABETES,
        forms: &[(0.6, TYPE_2_DIABETES), (0.4, 4193704)],
        complications: &[443731, 376065, 443733],
        icd10: "E11.9",
        men: [0.0, 0.004, 0.04, 0.15, 0.22, 0.2],
        women: [0.0, 0.004, 0.03, 0.11, 0.19, 0.19],
        after: &[(OBESITY, 2.6), (TYPE_1_DIABETES, 0.0)],
        smokers: 1.2,
        drugs: &[
            drug::METFORMIN_500,
            drug::METFORMIN_1000,
            drug::EMPAGLIFLOZIN,
        ],
        followed: &[Analyte::Hba1c, Analyte::Glucose],
        mortality: 1.4,
    },
    Disease {
        concept: HYPERTENSION,
        forms: &[],
        complications: &[],
        icd10: "I10",
        men: [0.0, 0.02, 0.14, 0.4, 0.58, 0.6],
        women: [0.0, 0.01, 0.1, 0.36, 0.6, 0.62],
        after: &[(OBESITY, 1.5), (TYPE_2_DIABETES, 1.4)],
        smokers: 1.1,
        drugs: &[drug::LISINOPRIL_10, drug::LISINOPRIL_20, drug::AMLODIPINE],
        followed: &[Analyte::Systolic, Analyte::Diastolic, Analyte::Creatinine],
        mortality: 1.1,
    },
    Disease {
        concept: HYPERLIPIDEMIA,
        forms: &[],
        complications: &[],
        icd10: "E78.5",
        men: [0.0, 0.02, 0.14, 0.3, 0.34, 0.3],
        women: [0.0, 0.02, 0.09, 0.28, 0.36, 0.32],
        after: &[(TYPE_2_DIABETES, 1.6)],
        smokers: 1.1,
        drugs: &[drug::ATORVASTATIN, drug::SIMVASTATIN],
        followed: &[Analyte::Ldl],
        mortality: 1.0,
    },
    Disease {
        concept: CORONARY_DISEASE,
        forms: &[],
        complications: &[],
        icd10: "I25.1",
        men: [0.0, 0.0, 0.015, 0.1, 0.22, 0.26],
        women: [0.0, 0.0, 0.005, 0.05, 0.14, 0.2],
        after: &[(TYPE_2_DIABETES, 1.6), (HYPERLIPIDEMIA, 1.5)],
        smokers: 1.8,
        drugs: &[drug::ASPIRIN],
        followed: &[Analyte::Ldl, Analyte::HeartRate],
        mortality: 1.5,
    },
    Disease {
        concept: ATRIAL_FIBRILLATION,
        forms: &[],
        complications: &[],
        icd10: "I48.9",
        men: [0.0, 0.001, 0.006, 0.035, 0.11, 0.16],
        women: [0.0, 0.0, 0.003, 0.02, 0.09, 0.14],
        after: &[(HYPERTENSION, 1.5), (CORONARY_DISEASE, 1.4)],
        smokers: 1.1,
        drugs: &[drug::APIXABAN, drug::WARFARIN],
        followed: &[Analyte::HeartRate],
        mortality: 1.4,
    },
    Disease {
        concept: HEART_FAILURE,
        forms: &[(0.7, HEART_FAILURE), (0.3, 319835)],
        complications: &[],
        icd10: "I50.9",
        men: [0.0, 0.001, 0.005, 0.025, 0.09, 0.17],
        women: [0.0, 0.001, 0.003, 0.017, 0.08, 0.17],
        after: &[(CORONARY_DISEASE, 2.6), (ATRIAL_FIBRILLATION, 1.6)],
        smokers: 1.1,
        drugs: &[drug::FUROSEMIDE, drug::BISOPROLOL],
        followed: &[Analyte::Weight, Analyte::Creatinine],
        mortality: 2.0,
    },
    Disease {
        concept: KIDNEY_DISEASE,
        forms: &[(0.35, KIDNEY_DISEASE), (0.5, 443597), (0.15, 443612)],
        complications: &[],
        icd10: "N18.9",
        men: [0.0, 0.002, 0.012, 0.05, 0.17, 0.26],
        women: [0.0, 0.002, 0.012, 0.05, 0.19, 0.28],
        after: &[(TYPE_2_DIABETES, 2.0), (HYPERTENSION, 1.4)],
        smokers: 1.1,
        drugs: &[],
        followed: &[Analyte::Creatinine, Analyte::Hemoglobin],
        mortality: 1.6,
    },
    Disease {
        concept: COPD,
        forms: &[],
        complications: &[],
        icd10: "J44.9",
        men: [0.0, 0.0, 0.01, 0.055, 0.1, 0.09],
        women: [0.0, 0.0, 0.01, 0.045, 0.07, 0.06],
        after: &[],
        smokers: 3.5,
        drugs: &[drug::TIOTROPIUM, drug::FLUTICASONE_SALMETEROL],
        followed: &[Analyte::Saturation],
        mortality: 1.8,
    },
    Disease {
        concept: ASTHMA,
        forms: &[],
        complications: &[],
        icd10: "J45.9",
        men: [0.02, 0.09, 0.06, 0.06, 0.06, 0.04],
        women: [0.01, 0.08, 0.09, 0.09, 0.08, 0.05],
        after: &[(OBESITY, 1.4)],
        smokers: 1.2,
        drugs: &[drug::SALBUTAMOL, drug::FLUTICASONE_SALMETEROL],
        followed: &[Analyte::Saturation],
        mortality: 1.0,
    },
    Disease {
        concept: DEMENTIA,
        forms: &[(0.25, DEMENTIA), (0.55, 378419), (0.2, 443605)],
        complications: &[],
        icd10: "F03",
        men: [0.0, 0.0, 0.0, 0.006, 0.1, 0.36],
        women: [0.0, 0.0, 0.0, 0.006, 0.13, 0.48],
        after: &[(HYPERTENSION, 1.1), (TYPE_2_DIABETES, 1.2)],
        smokers: 1.1,
        drugs: &[drug::DONEPEZIL],
        followed: &[],
        mortality: 1.9,
    },
    Disease {
        concept: DEPRESSION,
        forms: &[(0.7, DEPRESSION), (0.3, 4152280)],
        complications: &[],
        icd10: "F32.9",
        men: [0.0, 0.05, 0.07, 0.07, 0.07, 0.08],
        women: [0.0, 0.09, 0.12, 0.12, 0.12, 0.12],
        after: &[(HEART_FAILURE, 1.3), (DEMENTIA, 1.5)],
        smokers: 1.4,
        drugs: &[drug::SERTRALINE],
        followed: &[],
        mortality: 1.1,
    },
    Disease {
        concept: HYPOTHYROIDISM,
        forms: &[],
        complications: &[],
        icd10: "E03.9",
        men: [0.0, 0.003, 0.01, 0.02, 0.04, 0.05],
        women: [0.0, 0.015, 0.05, 0.09, 0.13, 0.13],
        after: &[],
        smokers: 1.0,
        drugs: &[drug::LEVOTHYROXINE],
        followed: &[Analyte::HeartRate],
        mortality: 1.0,
    },
    Disease {
        concept: OSTEOARTHRITIS,
        forms: &[],
        complications: &[],
        icd10: "M19.9",
        men: [0.0, 0.0, 0.03, 0.14, 0.28, 0.3],
        women: [0.0, 0.0, 0.03, 0.2, 0.4, 0.42],
        after: &[(OBESITY, 1.6)],
        smokers: 1.0,
        drugs: &[drug::IBUPROFEN, drug::PARACETAMOL],
        followed: &[],
        mortality: 1.0,
    },
    Disease {
        concept: OSTEOPOROSIS,
        forms: &[],
        complications: &[],
        icd10: "M81.9",
        men: [0.0, 0.0, 0.002, 0.015, 0.06, 0.1],
        women: [0.0, 0.0, 0.004, 0.07, 0.26, 0.36],
        after: &[(OBESITY, 0.7)],
        smokers: 1.3,
        drugs: &[drug::ALENDRONATE],
        followed: &[],
        mortality: 1.0,
    },
    Disease {
        concept: BREAST_CANCER,
        forms: &[],
        complications: &[],
        icd10: "C50.9",
        men: [0.0; 6],
        women: [0.0, 0.0, 0.006, 0.03, 0.05, 0.05],
        after: &[],
        smokers: 1.1,
        drugs: &[],
        followed: &[Analyte::Hemoglobin],
        mortality: 2.2,
    },
    Disease {
        concept: PROSTATE_CANCER,
        forms: &[],
        complications: &[],
        icd10: "C61",
        men: [0.0, 0.0, 0.001, 0.025, 0.09, 0.1],
        women: [0.0; 6],
        after: &[],
        smokers: 1.0,
        drugs: &[],
        followed: &[Analyte::Hemoglobin],
        mortality: 1.6,
    },
    Disease {
        concept: COLON_CANCER,
        forms: &[],
        complications: &[],
        icd10: "C18.9",
        men: [0.0, 0.0, 0.001, 0.012, 0.03, 0.03],
        women: [0.0, 0.0, 0.001, 0.009, 0.022, 0.025],
        after: &[(OBESITY, 1.3)],
        smokers: 1.2,
        drugs: &[],
        followed: &[Analyte::Hemoglobin],
        mortality: 2.5,
    },
];

/// Yearly risk of death of the healthiest.
pub(crate) const DEATH_MEN: ByAge = [0.0004, 0.0005, 0.001, 0.0055, 0.035, 0.25];
/// The same, for women.
pub(crate) const DEATH_WOMEN: ByAge = [0.0003, 0.0003, 0.0007, 0.0035, 0.026, 0.23];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_on_lines_between_the_knots() {
        let by_age = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0];
        assert!((at(&by_age, 10.0) - 0.5).abs() < 1e-9);
        assert!((at(&by_age, 50.0) - 3.0).abs() < 1e-9);
        assert!((at(&by_age, 130.0) - 16.0).abs() < 0.1);
    }

    #[test]
    fn causes_stand_before_effects() {
        for (i, disease) in ALL.iter().enumerate() {
            for (cause, _) in disease.after {
                assert!(ALL[..i].iter().any(|d| d.concept == *cause));
            }
        }
    }
}
