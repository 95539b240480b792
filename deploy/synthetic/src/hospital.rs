//! Which hospital to generate.

use std::fmt;

/// A hospital, fully determined: the same one gives the same files, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hospital {
    /// Its name. Hospitals of one seed and different names have different patients.
    pub name: String,
    /// Seed of all chance.
    pub seed: u64,
    /// How many patients it has. Fewer patients are the first ones of more.
    pub patients: u64,
    /// Whom it treats.
    pub mix: Mix,
}

/// Whom a hospital treats and how: age structure, share of telehealth, laboratory practice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Mix {
    /// A university hospital: all ages, severe cases, many laboratory tests.
    University,
    /// A town's general hospital.
    General,
    /// A country hospital: older patients, few tests, much telehealth.
    Rural,
    /// A geriatric hospital: long stays.
    Geriatric,
    /// A women's and children's hospital.
    Maternity,
}

impl Mix {
    /// Every mix.
    pub const ALL: [Self; 5] = [
        Self::University,
        Self::General,
        Self::Rural,
        Self::Geriatric,
        Self::Maternity,
    ];

    pub(crate) fn profile(self) -> &'static Profile {
        match self {
            Self::University => &UNIVERSITY,
            Self::General => &GENERAL,
            Self::Rural => &RURAL,
            Self::Geriatric => &GERIATRIC,
            Self::Maternity => &MATERNITY,
        }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::University => "university",
            Self::General => "general",
            Self::Rural => "rural",
            Self::Geriatric => "geriatric",
            Self::Maternity => "maternity",
        })
    }
}

/// The first age, in years, of each group of [`Profile::ages`]; the last group ends at 100.
pub(crate) const AGE_GROUPS: [i64; 6] = [0, 1, 18, 40, 65, 80];

/// What a mix means in numbers.
pub(crate) struct Profile {
    /// Weights of [`AGE_GROUPS`] among new patients.
    pub(crate) ages: [f64; 6],
    /// Share of women among adults below 65.
    pub(crate) women: f64,
    /// Share of telehealth among visits that allow it, in 2025.
    pub(crate) telehealth: f64,
    /// How often a follow-up visit has its laboratory tests done.
    pub(crate) labs: f64,
    /// Share of chronic patients with a device at home, in 2025.
    pub(crate) devices: f64,
    /// Factor on lengths of stay.
    pub(crate) stay: f64,
    /// Factor on admissions.
    pub(crate) admissions: f64,
    /// Factor on births.
    pub(crate) births: f64,
    /// How many care sites it has.
    pub(crate) care_sites: i64,
}

const UNIVERSITY: Profile = Profile {
    ages: [2.0, 12.0, 29.0, 36.0, 16.0, 5.0],
    women: 0.51,
    telehealth: 0.34,
    labs: 0.85,
    devices: 0.35,
    stay: 1.15,
    admissions: 1.4,
    births: 1.0,
    care_sites: 24,
};

const GENERAL: Profile = Profile {
    ages: [2.0, 14.0, 26.0, 33.0, 18.0, 7.0],
    women: 0.52,
    telehealth: 0.24,
    labs: 0.65,
    devices: 0.2,
    stay: 1.0,
    admissions: 1.0,
    births: 1.0,
    care_sites: 9,
};

const RURAL: Profile = Profile {
    ages: [1.0, 11.0, 20.0, 34.0, 23.0, 11.0],
    women: 0.5,
    telehealth: 0.42,
    labs: 0.45,
    devices: 0.3,
    stay: 1.05,
    admissions: 0.9,
    births: 0.7,
    care_sites: 3,
};

const GERIATRIC: Profile = Profile {
    ages: [0.0, 0.0, 3.0, 17.0, 44.0, 36.0],
    women: 0.53,
    telehealth: 0.12,
    labs: 0.7,
    devices: 0.15,
    stay: 1.5,
    admissions: 1.3,
    births: 0.2,
    care_sites: 4,
};

const MATERNITY: Profile = Profile {
    ages: [17.0, 34.0, 41.0, 6.5, 1.0, 0.5],
    women: 0.94,
    telehealth: 0.2,
    labs: 0.6,
    devices: 0.1,
    stay: 0.85,
    admissions: 0.8,
    births: 3.0,
    care_sites: 5,
};
