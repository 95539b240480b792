//! What a hospital records of a contact: visits, diagnoses, prescriptions, results.

use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta};

use crate::analyte::Analyte;
use crate::concept::{
    ATRIAL_FIBRILLATION, BREAST_CANCER, COLON_CANCER, COPD, EHR, EHR_ADMINISTRATION,
    EHR_PRESCRIPTION, EMERGENCY, EMERGENCY_ROOM, HOME, HYPERLIPIDEMIA, HYPERTENSION, INPATIENT,
    KIDNEY_DISEASE, LABORATORY, NURSING_FACILITY, OBESITY, OUTPATIENT, SELF_REPORT, SMOKING_STATUS,
    TELEHEALTH,
};
use crate::drug::Drug;
use crate::patient::Life;
use crate::record::{Condition, Exposure, Measurement, Observation, Procedure, Visit, next_id};
use crate::span::{Span, after};

/// A visit that was recorded, for the records that hang on it.
#[derive(Clone, Copy)]
pub(crate) struct Visited {
    id: i64,
    kind: i64,
    start: NaiveDateTime,
}

impl Visited {
    /// Its first day.
    pub(crate) fn day(self) -> NaiveDate {
        self.start.date()
    }
}

impl Life {
    /// A visit of this kind that ends so many nights later.
    pub(crate) fn visit(&mut self, kind: i64, day: NaiveDate, nights: i64) -> Visited {
        let start = day.and_time(Default::default()) + self.time_of_day(kind);
        let minutes = match kind {
            TELEHEALTH => self.chance.within(8, 25),
            OUTPATIENT => self.chance.within(10, 75),
            _ => self.chance.within(60, 290),
        };
        let person = self.record.person.id;
        let id = next_id(person, &self.record.visits);
        self.record.visits.push(Visit {
            id,
            person,
            kind,
            start,
            end: start + TimeDelta::days(nights) + TimeDelta::minutes(minutes),
            care_site: self.record.person.care_site,
            admitted_from: None,
            discharged_to: None,
            preceding: None,
        });
        Visited { id, kind, start }
    }

    /// Early enough for a visit without a night to end on the same day.
    fn time_of_day(&mut self, kind: i64) -> TimeDelta {
        let hour = match kind {
            EMERGENCY | INPATIENT => self.chance.within(0, 18),
            _ => self.chance.within(8, 17),
        };
        TimeDelta::hours(hour) + TimeDelta::minutes(self.chance.within(0, 11) * 5)
    }

    /// A visit in the clinic or, if it so happens, by telehealth.
    pub(crate) fn see(&mut self, day: NaiveDate) -> Visited {
        let share = self.profile.telehealth * telehealth_since(day);
        let kind = match self.chance.unit() {
            u if u < share => TELEHEALTH,
            u if u > 0.96 => EMERGENCY,
            _ => OUTPATIENT,
        };
        self.visit(kind, day, 0)
    }

    /// A stay whose nights have this mean at a middle-aged patient.
    pub(crate) fn admit(&mut self, day: NaiveDate, mean: f64, from: Option<i64>) -> Visited {
        let age = self.age(day);
        let older = 1.0 + (age - 60.0).max(0.0) / 80.0;
        let luck = 0.25 + 3.0 * self.chance.unit() * self.chance.unit();
        let nights = (mean * self.profile.stay * older * luck).round().max(1.0);
        #[allow(clippy::cast_possible_truncation)] // weeks
        let stay = self.visit(INPATIENT, day, nights as i64);
        let nursed = age > 78.0 && self.chance.happens(0.25);
        if let Some(visit) = self.record.visits.last_mut() {
            visit.admitted_from = from.or(Some(HOME));
            visit.discharged_to = Some(if nursed { NURSING_FACILITY } else { HOME });
        }
        stay
    }

    /// A stay that began in the emergency room on the same day.
    pub(crate) fn admit_from_emergency(&mut self, day: NaiveDate, mean: f64) -> Visited {
        self.visit(EMERGENCY, day, 0);
        self.admit(day, mean, Some(EMERGENCY_ROOM))
    }

    pub(crate) fn diagnose(
        &mut self,
        concept: i64,
        icd10: &'static str,
        visit: Visited,
        status: i64,
        end: Option<NaiveDate>,
    ) {
        let person = self.record.person.id;
        self.record.conditions.push(Condition {
            id: next_id(person, &self.record.conditions),
            person,
            concept,
            start: visit.day(),
            end: end.map(|end| end.max(visit.day())),
            status,
            visit: visit.id,
            icd10,
        });
    }

    pub(crate) fn prescribe(&mut self, drug: &'static Drug, visit: Visited) {
        self.expose(drug, visit.day(), EHR_PRESCRIPTION, Some(visit.id));
    }

    /// A vaccination on a day of the span, if there is one.
    pub(crate) fn vaccinate(&mut self, vaccine: &'static Drug, span: Option<Span>) {
        if let Some(span) = span {
            let day = self.chance.day(span);
            self.expose(vaccine, day, EHR_ADMINISTRATION, None);
        }
    }

    fn expose(&mut self, drug: &'static Drug, day: NaiveDate, provenance: i64, visit: Option<i64>) {
        let person = self.record.person.id;
        self.record.drugs.push(Exposure {
            id: next_id(person, &self.record.drugs),
            person,
            drug,
            start: day,
            end: after(day, drug.days - 1),
            provenance,
            visit,
        });
    }

    /// A procedure on the visit's first day; none by telehealth.
    pub(crate) fn operate(&mut self, concept: i64, visit: Visited) {
        if visit.kind == TELEHEALTH {
            return;
        }
        let person = self.record.person.id;
        self.record.procedures.push(Procedure {
            id: next_id(person, &self.record.procedures),
            person,
            concept,
            day: visit.day(),
            visit: visit.id,
        });
    }

    pub(crate) fn answer_smoking(&mut self, answer: i64, visit: Visited) {
        let person = self.record.person.id;
        self.record.observations.push(Observation {
            id: next_id(person, &self.record.observations),
            person,
            concept: SMOKING_STATUS,
            day: visit.day(),
            answer,
            visit: visit.id,
        });
    }

    /// A result at a visit; none by telehealth.
    pub(crate) fn measure(&mut self, analyte: Analyte, visit: Visited) {
        if visit.kind == TELEHEALTH {
            return;
        }
        let provenance = match analyte.scale().laboratory {
            true => LABORATORY,
            false => EHR,
        };
        let at = visit.start + TimeDelta::minutes(5);
        self.read(analyte, at, provenance, Some(visit.id));
    }

    /// A reading of the patient's own device.
    pub(crate) fn read_at_home(&mut self, analyte: Analyte, day: NaiveDate) {
        let hour = TimeDelta::hours(self.chance.within(6, 22));
        let at = day.and_time(Default::default()) + hour;
        self.read(analyte, at, SELF_REPORT, None);
    }

    fn read(&mut self, analyte: Analyte, at: NaiveDateTime, provenance: i64, visit: Option<i64>) {
        let scale = analyte.scale();
        let value = self.expected(analyte, at.date()) + scale.spread * self.chance.spread();
        let person = self.record.person.id;
        self.record.measurements.push(Measurement {
            id: next_id(person, &self.record.measurements),
            person,
            scale,
            at,
            provenance,
            value: scale.report(value),
            visit,
        });
    }

    /// Where this patient's values lie in the mean. Temperature and CRP are those of the ill.
    fn expected(&self, analyte: Analyte, day: NaiveDate) -> f64 {
        let age = self.age(day);
        let adult = (age - 20.0).max(0.0);
        let level = self.level;
        let if_has = |disease, effect| if self.has(disease) { effect } else { 0.0 };
        let man_or_woman = |man, woman| if self.is_man() { man } else { woman };
        match analyte {
            Analyte::Hba1c if self.has_diabetes() => 7.2 + 0.8 * level,
            Analyte::Hba1c => 5.2 + 0.006 * adult + 0.15 * level,
            Analyte::Glucose if self.has_diabetes() => 152.0 + 24.0 * level,
            Analyte::Glucose => 88.0 + 0.2 * adult + 4.0 * level,
            Analyte::Ldl => 112.0 + 16.0 * level + if_has(HYPERLIPIDEMIA, 24.0),
            Analyte::Creatinine if age < 14.0 => 0.35 + 0.02 * age,
            Analyte::Creatinine => {
                man_or_woman(0.93, 0.74) + 0.05 * level + if_has(KIDNEY_DISEASE, 0.9 + 0.3 * level)
            }
            Analyte::Hemoglobin => {
                let cancer = if_has(COLON_CANCER, -1.6) + if_has(BREAST_CANCER, -0.8);
                man_or_woman(14.9, 13.4) + 0.5 * level + if_has(KIDNEY_DISEASE, -1.5) + cancer
            }
            Analyte::Crp => 65.0 + 25.0 * level,
            Analyte::Systolic => 108.0 + 0.33 * adult + 5.0 * level + if_has(HYPERTENSION, 14.0),
            Analyte::Diastolic => 70.0 + 0.08 * adult + 3.0 * level + if_has(HYPERTENSION, 8.0),
            Analyte::HeartRate => 73.0 + 4.0 * level + if_has(ATRIAL_FIBRILLATION, 9.0),
            Analyte::Weight if age < 18.0 => 3.4 + age * (3.2 + 0.3 * level),
            Analyte::Weight => man_or_woman(81.0, 68.0) + 8.0 * level + if_has(OBESITY, 25.0),
            Analyte::Temperature => 38.3,
            Analyte::Saturation => 97.4 + if_has(COPD, -4.5),
        }
    }

    /// One of the medicines, if there are any.
    pub(crate) fn one_of(&mut self, drugs: &'static [Drug]) -> Option<&'static Drug> {
        drugs.get(self.chance.index(drugs.iter().map(|_| 1.0)))
    }
}

/// How far telehealth has come, as a part of its share in 2025.
fn telehealth_since(day: NaiveDate) -> f64 {
    match (day.year(), day.month()) {
        (..=2019, _) | (2020, 1..=2) => 0.04,
        (2020, _) => 0.4,
        (2021, _) => 0.52,
        (2022, _) => 0.62,
        (2023, _) => 0.74,
        (2024, _) => 0.87,
        _ => 1.0,
    }
}
