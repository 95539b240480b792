//! The life of one patient, year by year, as their hospital sees it.

use chrono::{Datelike, NaiveDate};

use crate::acute::{self, EMERGENCIES, Emergency, INFECTIONS, Infection, Season};
use crate::analyte::Analyte;
use crate::chance::Chance;
use crate::concept::{
    ASTHMA, CESAREAN_SECTION, COLONOSCOPY, COVID_19, CURRENT_SMOKER, DIED, FEMALE, FORMER_SMOKER,
    GESTATIONAL_DIABETES, HEART_FAILURE, HYPERTENSION, INPATIENT, MALE, NEVER_SMOKER, OBESITY,
    OUTPATIENT, PRE_ECLAMPSIA, PREGNANT, PRIMARY, SECONDARY, TYPE_1_DIABETES, TYPE_2_DIABETES,
    VAGINAL_DELIVERY,
};
use crate::disease::{self, Disease, at};
use crate::drug::{self, Drug};
use crate::era;
use crate::hospital::{AGE_GROUPS, Hospital, Profile};
use crate::record::{Death, Period, Person, Record};
use crate::span::{PERIOD, Span, after, years_between};

/// The record of the hospital's patient of this number, from 1.
pub(crate) fn live(hospital: &Hospital, number: u64) -> Record {
    let mut life = Life::begin(hospital, number);
    life.first_visit();
    let mut year = life.observed.first.year();
    while let Some(span) = life.observed.in_year(year) {
        life.live_through(span);
        year += 1;
    }
    life.finish()
}

/// A life as far as it is told.
pub(crate) struct Life {
    pub(crate) profile: &'static Profile,
    pub(crate) chance: Chance,
    pub(crate) record: Record,
    /// When the hospital records the patient.
    pub(crate) observed: Span,
    /// How this patient's values lie among others', in standard deviations.
    pub(crate) level: f64,
    smoking: i64,
    illnesses: Vec<Illness>,
    has_device: bool,
    delivered: Option<NaiveDate>,
}

/// A chronic disease that the patient has.
#[derive(Clone, Copy)]
struct Illness {
    disease: &'static Disease,
    since: NaiveDate,
    concept: i64,
    drug: Option<&'static Drug>,
}

impl Life {
    fn begin(hospital: &Hospital, number: u64) -> Self {
        let profile = hospital.mix.profile();
        let mut chance = Chance::of_patient(hospital, number);
        let observed = observed(&mut chance);
        let birth = birth(&mut chance, profile, observed.first);
        let age = years_between(birth, observed.first);
        let is_man = !chance.happens(share_of_women(profile, age));
        let person = person(&mut chance, profile, number, birth, is_man);
        let smoking = smoking(&mut chance, age);
        let mut life = Self {
            profile,
            observed,
            level: chance.spread(),
            chance,
            record: empty(person, observed),
            smoking,
            illnesses: Vec::new(),
            has_device: false,
            delivered: None,
        };
        life.fall_ill_before();
        life
    }

    fn live_through(&mut self, year: Span) {
        let span = self.die_or_live(year);
        self.fall_ill(span);
        self.follow_up(span);
        self.catch_infections(span);
        self.have_emergencies(span);
        self.give_birth(span);
        self.be_screened(span);
        self.be_vaccinated(span);
        self.measure_at_home(span);
    }

    /// What must be known of the whole life: ends, the order of visits, eras.
    fn finish(mut self) -> Record {
        let last = self.observed.last;
        let record = &mut self.record;
        record.period.last = last;
        for visit in record.visits.iter_mut().filter(|v| v.end.date() > last) {
            visit.end = visit.start.max(last.and_time(visit.end.time()));
        }
        for condition in &mut record.conditions {
            condition.end = condition.end.map(|end| end.min(last));
        }
        for exposure in &mut record.drugs {
            exposure.end = exposure.end.min(last);
        }
        record.visits.sort_by_key(|v| (v.start, v.id));
        let mut preceding = None;
        for visit in &mut record.visits {
            visit.preceding = preceding.replace(visit.id);
        }
        record.drug_eras = era::of_drugs(record.person.id, &record.drugs);
        record.condition_eras = era::of_conditions(record.person.id, &record.conditions);
        self.record
    }

    /// Age in years.
    pub(crate) fn age(&self, day: NaiveDate) -> f64 {
        Span {
            first: self.record.person.birth,
            last: day,
        }
        .years()
    }

    pub(crate) fn is_man(&self) -> bool {
        self.record.person.sex == MALE
    }

    pub(crate) fn has(&self, disease: i64) -> bool {
        self.illnesses.iter().any(|i| i.disease.concept == disease)
    }

    pub(crate) fn has_diabetes(&self) -> bool {
        self.has(TYPE_1_DIABETES) || self.has(TYPE_2_DIABETES)
    }

    fn first_visit(&mut self) {
        let day = self.observed.first;
        if day == self.record.person.birth {
            let stay = self.admit(day, 2.5, None);
            self.measure(Analyte::Weight, stay);
            return;
        }
        let visit = self.visit(OUTPATIENT, day, 0);
        if self.age(day) >= 18.0 {
            self.answer_smoking(self.smoking, visit);
            self.measure(Analyte::Systolic, visit);
            self.measure(Analyte::Diastolic, visit);
        }
        self.measure(Analyte::Weight, visit);
        for illness in self.illnesses.clone() {
            self.attend(illness, visit, SECONDARY);
        }
    }
}

/// Chronic diseases.
impl Life {
    fn fall_ill_before(&mut self) {
        let entry = self.observed.first;
        let age = self.age(entry);
        for disease in disease::ALL {
            let share = self.share(disease, age);
            if self.chance.happens(share) {
                let lived = (entry - self.record.person.birth).num_days();
                let ago = self.chance.within(0, lived.min(3650));
                self.add_illness(disease, after(entry, -ago));
            }
        }
    }

    fn fall_ill(&mut self, span: Span) {
        let age = self.age(span.first);
        for disease in disease::ALL {
            if self.has(disease.concept) {
                continue;
            }
            let now = self.share(disease, age);
            let then = self.share(disease, age + 1.0);
            let risk = (then - now).max(0.0) / (1.0 - now) * span.years();
            if self.chance.happens(risk) {
                let day = self.chance.day(span);
                let illness = self.add_illness(disease, day);
                let visit = self.visit(OUTPATIENT, day, 0);
                self.attend(illness, visit, PRIMARY);
            }
        }
    }

    /// The share of patients like this one who have the disease at this age.
    fn share(&self, disease: &Disease, age: f64) -> f64 {
        let by_age = match self.is_man() {
            true => &disease.men,
            false => &disease.women,
        };
        let causes = disease.after.iter();
        let factor: f64 = causes
            .filter(|(cause, _)| self.has(*cause))
            .map(|(_, factor)| factor)
            .product();
        let smoking = match self.smoking {
            CURRENT_SMOKER => disease.smokers,
            FORMER_SMOKER => (disease.smokers + 1.0) / 2.0,
            _ => 1.0,
        };
        (at(by_age, age) * factor * smoking).min(0.95)
    }

    fn add_illness(&mut self, disease: &'static Disease, since: NaiveDate) -> Illness {
        let concept = self.form(disease, since);
        let drug = self.one_of(disease.drugs);
        let illness = Illness {
            disease,
            since,
            concept,
            drug,
        };
        self.illnesses.push(illness);
        illness
    }

    fn form(&mut self, disease: &Disease, since: NaiveDate) -> i64 {
        const CHILDHOOD_ASTHMA: i64 = 4051466;
        if disease.concept == ASTHMA && self.age(since) < 16.0 {
            return CHILDHOOD_ASTHMA;
        }
        let form = self.chance.index(disease.forms.iter().map(|f| f.0));
        disease.forms.get(form).map_or(disease.concept, |f| f.1)
    }

    fn follow_up(&mut self, span: Span) {
        let infant = if self.age(span.first) < 2.0 { 0.8 } else { 0.0 };
        let illnesses = [0.08, 0.28, 0.48, 0.65, 0.8][self.illnesses.len().min(4)];
        let visits = self.chance.count((infant + illnesses) * span.years());
        for _ in 0..visits {
            let day = self.chance.day(span);
            let visit = self.see(day);
            let known = self.illnesses.iter().filter(|i| i.since <= day);
            let known: Vec<Illness> = known.copied().collect();
            if known.is_empty() {
                self.check_up(visit);
                continue;
            }
            let first = self.chance.index(known.iter().map(|_| 1.0));
            self.attend(known[first], visit, PRIMARY);
            if known.len() > 2 {
                self.attend(known[(first + 1) % known.len()], visit, SECONDARY);
            }
        }
    }

    fn check_up(&mut self, visit: crate::care::Visited) {
        self.measure(Analyte::Weight, visit);
        if self.age(visit.day()) >= 18.0 {
            self.measure(Analyte::Systolic, visit);
            self.measure(Analyte::Diastolic, visit);
        }
    }

    /// Diagnoses, treats and measures one disease at a visit.
    fn attend(&mut self, illness: Illness, visit: crate::care::Visited, status: i64) {
        let concept = self.complication(illness, visit.day());
        self.diagnose(concept, illness.disease.icd10, visit, status, None);
        if let Some(drug) = illness.drug.filter(|_| self.chance.happens(0.85)) {
            self.prescribe(drug, visit);
        }
        for analyte in illness.disease.followed {
            if self.chance.happens(self.profile.labs) {
                self.measure(*analyte, visit);
            }
        }
    }

    /// What the disease has led to, more likely with the years; else the disease.
    fn complication(&mut self, illness: Illness, day: NaiveDate) -> i64 {
        let years = Span {
            first: illness.since,
            last: day,
        }
        .years();
        let complications = illness.disease.complications;
        if complications.is_empty() || !self.chance.happens((years * 0.03).min(0.4)) {
            return illness.concept;
        }
        complications[self.chance.index(complications.iter().map(|_| 1.0))]
    }
}

/// Infections, emergencies and death.
impl Life {
    fn catch_infections(&mut self, span: Span) {
        let age = self.age(span.first);
        for infection in INFECTIONS {
            let sex = if self.is_man() { infection.men } else { 1.0 };
            let rate = at(&infection.rate, age) * sex * (infection.year)(span.first.year());
            for _ in 0..self.chance.count(rate) {
                if let Some(day) = self.day_in_season(span, infection.season)
                    && (infection.concept != COVID_19 || acute::PANDEMIC_SINCE <= day)
                {
                    self.treat_infection(infection, day);
                }
            }
        }
    }

    fn treat_infection(&mut self, infection: &'static Infection, day: NaiveDate) {
        let admitted = at(&infection.admitted, self.age(day)) * self.profile.admissions;
        let visit = if self.chance.happens(admitted) {
            self.admit_from_emergency(day, 6.0)
        } else {
            self.see(day)
        };
        let end = after(day, self.chance.within(4, 14));
        self.diagnose(
            infection.concept,
            infection.icd10,
            visit,
            PRIMARY,
            Some(end),
        );
        if let Some(drug) = self.one_of(infection.drugs) {
            self.prescribe(drug, visit);
        }
        for analyte in infection.measured {
            self.measure(*analyte, visit);
        }
        if let Some(procedure) = infection.procedure {
            self.operate(procedure, visit);
        }
    }

    fn have_emergencies(&mut self, span: Span) {
        let age = self.age(span.first);
        for emergency in EMERGENCIES {
            if emergency.needs.is_some_and(|needed| !self.has(needed)) {
                continue;
            }
            let rate = at(&emergency.rate, age) * self.profile.admissions;
            if self.chance.happens(rate)
                && let Some(day) = self.day_in_season(span, emergency.season)
            {
                self.treat_emergency(emergency, day);
            }
        }
    }

    fn treat_emergency(&mut self, emergency: &'static Emergency, day: NaiveDate) {
        let visit = match emergency.nights {
            Some(nights) => self.admit_from_emergency(day, nights),
            None => self.visit(crate::concept::EMERGENCY, day, 0),
        };
        let end = after(day, self.chance.within(5, 40));
        self.diagnose(
            emergency.concept,
            emergency.icd10,
            visit,
            PRIMARY,
            Some(end),
        );
        if let Some(procedure) = emergency.procedure {
            self.operate(procedure, visit);
        }
        if let Some(drug) = self.one_of(emergency.drugs) {
            self.prescribe(drug, visit);
        }
        for analyte in emergency.measured {
            self.measure(*analyte, visit);
        }
    }

    /// Ends the life in this year, or not; tells the days that are left of it.
    fn die_or_live(&mut self, span: Span) -> Span {
        let by_age = match self.is_man() {
            true => &disease::DEATH_MEN,
            false => &disease::DEATH_WOMEN,
        };
        let burden: f64 = self.illnesses.iter().map(|i| i.disease.mortality).product();
        let risk = at(by_age, self.age(span.first)) * burden.min(6.0);
        if !self.chance.happens(risk) {
            return span;
        }
        let Some(day) = self.day_in_season(span, &acute::COLD_HALF) else {
            return span;
        };
        self.observed.last = day;
        self.record.death = Some(Death {
            person: self.record.person.id,
            day,
            cause: self.cause_of_death(),
        });
        if self.chance.happens(0.5) {
            self.last_stay(day);
        }
        Span { last: day, ..span }
    }

    fn cause_of_death(&mut self) -> Option<i64> {
        let weights = self.illnesses.iter().map(|i| i.disease.mortality - 1.0);
        let cause = self.chance.index(weights);
        let cause = self.illnesses.get(cause)?;
        self.chance.happens(0.8).then_some(cause.disease.concept)
    }

    fn last_stay(&mut self, death: NaiveDate) {
        let nights = self.chance.within(0, 16);
        let first = after(death, -nights).max(self.observed.first);
        self.visit(INPATIENT, first, (death - first).num_days());
        if let Some(stay) = self.record.visits.last_mut() {
            stay.discharged_to = Some(DIED);
        }
    }

    /// A day of the season, if it falls into the span.
    fn day_in_season(&mut self, span: Span, season: &Season) -> Option<NaiveDate> {
        let month = self.chance.index(season.iter().copied());
        let month = span.in_month(u32::try_from(month + 1).ok()?)?;
        let day = self.chance.within(0, 30);
        (day < month.days()).then(|| month.day(day))
    }
}

/// Births, prevention, devices.
impl Life {
    fn give_birth(&mut self, span: Span) {
        let age = self.age(span.first);
        let fertile = [(16.0, 0.015), (22.0, 0.04), (27.0, 0.075), (35.0, 0.04)];
        let by_age = fertile.iter().rev().find(|(from, _)| *from <= age);
        let rate = by_age.map_or(0.0, |(_, rate)| rate * self.profile.births);
        if self.is_man() || age > 44.0 || !self.chance.happens(rate * span.years()) {
            return;
        }
        let day = self.chance.day(span);
        if self
            .delivered
            .is_some_and(|last| (day - last).num_days() < 400)
        {
            return;
        }
        self.delivered = Some(day);
        self.carry(day);
        self.deliver(day);
    }

    /// The pregnancy before a birth on this day.
    fn carry(&mut self, birth: NaiveDate) {
        let days = [210, 120, 45].map(|before| after(birth, -before));
        let seen = days.into_iter().filter(|d| self.observed.contains(*d));
        for (i, day) in seen.collect::<Vec<_>>().into_iter().enumerate() {
            let visit = self.see(day);
            if i == 0 {
                self.diagnose(PREGNANT, "Z34.9", visit, PRIMARY, Some(birth));
            }
            self.measure(Analyte::Weight, visit);
            self.measure(Analyte::Systolic, visit);
        }
    }

    fn deliver(&mut self, day: NaiveDate) {
        let stay = self.admit(day, 3.0, None);
        let cesarean = self.chance.happens(0.28);
        let procedure = match cesarean {
            true => CESAREAN_SECTION,
            false => VAGINAL_DELIVERY,
        };
        self.operate(procedure, stay);
        let obese = if self.has(OBESITY) { 2.0 } else { 1.0 };
        if !self.has_diabetes() && self.chance.happens(0.07 * obese) {
            self.diagnose(GESTATIONAL_DIABETES, "O24.4", stay, SECONDARY, Some(day));
            self.measure(Analyte::Glucose, stay);
        }
        if self.chance.happens(0.03 * obese) {
            self.diagnose(PRE_ECLAMPSIA, "O14.9", stay, SECONDARY, Some(day));
        }
        self.measure(Analyte::Hemoglobin, stay);
    }

    fn be_screened(&mut self, span: Span) {
        let age = self.age(span.first);
        let due = (50.0..75.0).contains(&age);
        if due && self.chance.happens(0.025 * span.years()) {
            let day = self.chance.day(span);
            let visit = self.visit(OUTPATIENT, day, 0);
            self.operate(COLONOSCOPY, visit);
        }
    }

    fn be_vaccinated(&mut self, span: Span) {
        let age = self.age(span.first);
        let year = span.first.year();
        let influenza = if age >= 65.0 { 0.2 } else { 0.03 };
        if self.chance.happens(influenza) {
            let month = u32::from(self.chance.happens(0.4)) + 10;
            self.vaccinate(&drug::INFLUENZA_VACCINE, span.in_month(month));
        }
        if year == 2021 && age >= 16.0 && self.chance.happens(0.4) {
            self.vaccinate(&drug::COVID_VACCINE, Some(span));
        }
    }

    fn measure_at_home(&mut self, span: Span) {
        let watched = [HYPERTENSION, HEART_FAILURE];
        let eligible = self.has_diabetes() || watched.iter().any(|d| self.has(*d));
        let years = f64::from(span.first.year() - 2017) / 8.0;
        let share = self.profile.devices * years.max(0.0);
        if !self.has_device {
            self.has_device = eligible && self.chance.happens(share * 0.35);
        }
        if !self.has_device {
            return;
        }
        for _ in 0..self.chance.count(3.0 * span.years()) {
            let day = self.chance.day(span);
            self.read_devices(day);
        }
    }

    fn read_devices(&mut self, day: NaiveDate) {
        if self.has(HYPERTENSION) {
            self.read_at_home(Analyte::Systolic, day);
            self.read_at_home(Analyte::Diastolic, day);
            self.read_at_home(Analyte::HeartRate, day);
        }
        if self.has_diabetes() {
            self.read_at_home(Analyte::Glucose, day);
        }
        if self.has(HEART_FAILURE) {
            self.read_at_home(Analyte::Weight, day);
        }
    }
}

/// When the hospital records a patient: from the first visit; some move away.
fn observed(chance: &mut Chance) -> Span {
    let early = chance.unit() * chance.unit().max(0.3);
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // days
    let entry = (early * PERIOD.days() as f64) as i64;
    let span = Span {
        first: PERIOD.day(entry),
        ..PERIOD
    };
    if chance.happens(0.18) {
        let last = chance.day(span);
        return Span { last, ..span };
    }
    span
}

fn birth(chance: &mut Chance, profile: &Profile, entry: NaiveDate) -> NaiveDate {
    let group = chance.index(profile.ages.iter().copied());
    if group == 0 && chance.happens(0.7) {
        return entry;
    }
    let first = AGE_GROUPS[group];
    let last = AGE_GROUPS.get(group + 1).map_or(99, |next| next - 1);
    let years = match group {
        5 => chance.within(first, last).min(chance.within(first, last)),
        _ => chance.within(first, last),
    };
    after(entry, -(years * 36_525 / 100 + chance.within(0, 364)))
}

fn share_of_women(profile: &Profile, age: i32) -> f64 {
    match age {
        ..18 => 0.49,
        18..65 => profile.women,
        65..80 => 0.53,
        80.. => 0.6,
    }
}

fn person(
    chance: &mut Chance,
    profile: &Profile,
    number: u64,
    birth: NaiveDate,
    is_man: bool,
) -> Person {
    Person {
        id: i64::try_from(number).expect("patients are counted one by one"),
        sex: if is_man { MALE } else { FEMALE },
        birth,
        location: chance.within(1, 40),
        care_site: chance.within(1, profile.care_sites),
    }
}

fn smoking(chance: &mut Chance, age: i32) -> i64 {
    let shares = match age {
        ..18 => return NEVER_SMOKER,
        18..70 => [0.22, 0.23, 0.55],
        70.. => [0.08, 0.37, 0.55],
    };
    [CURRENT_SMOKER, FORMER_SMOKER, NEVER_SMOKER][chance.index(shares.iter().copied())]
}

fn empty(person: Person, observed: Span) -> Record {
    Record {
        period: Period {
            person: person.id,
            first: observed.first,
            last: observed.last,
        },
        person,
        visits: Vec::new(),
        conditions: Vec::new(),
        drugs: Vec::new(),
        procedures: Vec::new(),
        measurements: Vec::new(),
        observations: Vec::new(),
        death: None,
        drug_eras: Vec::new(),
        condition_eras: Vec::new(),
    }
}
