//! What is measured, in which unit and how exactly.

/// Something that is measured as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Analyte {
    Hba1c,
    Glucose,
    Ldl,
    Creatinine,
    Hemoglobin,
    Crp,
    Systolic,
    Diastolic,
    HeartRate,
    Weight,
    Temperature,
    Saturation,
}

/// How an analyte is reported.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    /// Its concept.
    pub(crate) concept: i64,
    /// LOINC code, the hospital's own code.
    pub(crate) loinc: &'static str,
    /// Unit.
    pub(crate) unit: i64,
    /// UCUM code of the unit, the hospital's own code.
    pub(crate) ucum: &'static str,
    /// Steps a unit: 10 where one decimal is reported.
    pub(crate) steps: f64,
    /// Normal range, if it depends on nothing else.
    pub(crate) normal: Option<(f64, f64)>,
    /// Smallest and largest value that can be reported.
    pub(crate) reported: (f64, f64),
    /// Standard deviation from one reading to the next.
    pub(crate) spread: f64,
    /// Whether it takes a laboratory.
    pub(crate) laboratory: bool,
}

impl Scale {
    /// The value as it is reported: within range and rounded.
    pub(crate) fn report(&self, value: f64) -> f64 {
        let (low, high) = self.reported;
        (value.clamp(low, high) * self.steps).round() / self.steps
    }
}

const PERCENT: (i64, &str) = (8554, "%");
const MG_DL: (i64, &str) = (8840, "mg/dL");
const MM_HG: (i64, &str) = (8876, "mm[Hg]");

const fn scale(
    concept: i64,
    loinc: &'static str,
    (unit, ucum): (i64, &'static str),
    steps: f64,
    reported: (f64, f64),
    spread: f64,
) -> Scale {
    Scale {
        concept,
        loinc,
        unit,
        ucum,
        steps,
        normal: None,
        reported,
        spread,
        laboratory: false,
    }
}

const fn laboratory(scale: Scale, normal: (f64, f64)) -> Scale {
    Scale {
        normal: Some(normal),
        laboratory: true,
        ..scale
    }
}

impl Analyte {
    /// How it is reported.
    pub(crate) fn scale(self) -> &'static Scale {
        match self {
            Self::Hba1c => &HBA1C,
            Self::Glucose => &GLUCOSE,
            Self::Ldl => &LDL,
            Self::Creatinine => &CREATININE,
            Self::Hemoglobin => &HEMOGLOBIN,
            Self::Crp => &CRP,
            Self::Systolic => &SYSTOLIC,
            Self::Diastolic => &DIASTOLIC,
            Self::HeartRate => &HEART_RATE,
            Self::Weight => &WEIGHT,
            Self::Temperature => &TEMPERATURE,
            Self::Saturation => &SATURATION,
        }
    }
}

const HBA1C: Scale = laboratory(
    scale(3004410, "4548-4", PERCENT, 10.0, (3.5, 17.0), 0.5),
    (4.0, 5.6),
);
const GLUCOSE: Scale = laboratory(
    scale(3004501, "2345-7", MG_DL, 1.0, (40.0, 600.0), 18.0),
    (70.0, 99.0),
);
const LDL: Scale = laboratory(
    scale(3028437, "13457-7", MG_DL, 1.0, (20.0, 400.0), 20.0),
    (0.0, 129.0),
);
const CREATININE: Scale = laboratory(
    scale(3016723, "2160-0", MG_DL, 100.0, (0.2, 15.0), 0.1),
    (0.5, 1.2),
);
const HEMOGLOBIN: Scale = laboratory(
    scale(3000963, "718-7", (8713, "g/dL"), 10.0, (4.0, 21.0), 0.9),
    (12.0, 17.0),
);
const CRP: Scale = laboratory(
    scale(3020460, "1988-5", (8751, "mg/L"), 10.0, (0.2, 400.0), 35.0),
    (0.0, 5.0),
);
const SYSTOLIC: Scale = scale(3004249, "8480-6", MM_HG, 1.0, (70.0, 240.0), 10.0);
const DIASTOLIC: Scale = scale(3012888, "8462-4", MM_HG, 1.0, (40.0, 140.0), 7.0);
const HEART_RATE: Scale = scale(3027018, "8867-4", (8541, "/min"), 1.0, (35.0, 200.0), 9.0);
const WEIGHT: Scale = scale(3025315, "29463-7", (9529, "kg"), 10.0, (1.5, 220.0), 1.2);
const TEMPERATURE: Scale = scale(3020891, "8310-5", (586323, "Cel"), 10.0, (35.0, 41.5), 0.6);
const SATURATION: Scale = scale(40762499, "59408-5", PERCENT, 1.0, (70.0, 100.0), 1.5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_rounded_and_in_range() {
        assert!((HBA1C.report(7.1499) - 7.1).abs() < 1e-9);
        assert!((HBA1C.report(99.0) - 17.0).abs() < 1e-9);
        assert!((CREATININE.report(1.0449) - 1.04).abs() < 1e-9);
    }
}
