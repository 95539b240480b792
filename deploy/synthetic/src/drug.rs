//! Medicines that a hospital prescribes.

/// A medicine as it is prescribed.
pub(crate) struct Drug {
    /// The concept that exposures record.
    pub(crate) concept: i64,
    /// Its ingredients, for drug eras; none for vaccines.
    pub(crate) ingredients: &'static [i64],
    /// Route of administration.
    pub(crate) route: i64,
    /// Days that one prescription lasts.
    pub(crate) days: i64,
    /// Units a day.
    pub(crate) daily: f64,
    /// ATC code, the hospital's own code.
    pub(crate) atc: &'static str,
}

const ORAL: i64 = 4132161;
const INHALATION: i64 = 45956874;
const SUBCUTANEOUS: i64 = 4142048;
const INTRAMUSCULAR: i64 = 4302612;

const fn drug(
    concept: i64,
    ingredients: &'static [i64],
    route: i64,
    days: i64,
    daily: f64,
    atc: &'static str,
) -> Drug {
    Drug {
        concept,
        ingredients,
        route,
        days,
        daily,
        atc,
    }
}

pub(crate) const METFORMIN_500: Drug = drug(40164929, &[1503297], ORAL, 90, 2.0, "A10BA02");
pub(crate) const METFORMIN_1000: Drug = drug(40164897, &[1503297], ORAL, 90, 2.0, "A10BA02");
pub(crate) const EMPAGLIFLOZIN: Drug = drug(45774751, &[45774751], ORAL, 90, 1.0, "A10BK03");
pub(crate) const INSULIN: Drug = drug(1502905, &[1502905], SUBCUTANEOUS, 90, 1.0, "A10AE04");
pub(crate) const LISINOPRIL_10: Drug = drug(19080128, &[1308216], ORAL, 90, 1.0, "C09AA03");
pub(crate) const LISINOPRIL_20: Drug = drug(19080129, &[1308216], ORAL, 90, 1.0, "C09AA03");
pub(crate) const AMLODIPINE: Drug = drug(1332419, &[1332418], ORAL, 90, 1.0, "C08CA01");
pub(crate) const BISOPROLOL: Drug = drug(1338005, &[1338005], ORAL, 90, 1.0, "C07AB07");
pub(crate) const FUROSEMIDE: Drug = drug(956874, &[956874], ORAL, 60, 1.0, "C03CA01");
pub(crate) const ATORVASTATIN: Drug = drug(1545959, &[1545958], ORAL, 90, 1.0, "C10AA05");
pub(crate) const SIMVASTATIN: Drug = drug(1539411, &[1539403], ORAL, 90, 1.0, "C10AA01");
pub(crate) const ASPIRIN: Drug = drug(19059056, &[1112807], ORAL, 90, 1.0, "B01AC06");
pub(crate) const WARFARIN: Drug = drug(40163554, &[1310149], ORAL, 90, 1.0, "B01AA03");
pub(crate) const APIXABAN: Drug = drug(43013024, &[43013024], ORAL, 90, 2.0, "B01AF02");
pub(crate) const SALBUTAMOL: Drug = drug(1154615, &[1154343], INHALATION, 60, 2.0, "R03AC02");
pub(crate) const FLUTICASONE_SALMETEROL: Drug = drug(
    40169281,
    &[1149380, 1137529],
    INHALATION,
    30,
    2.0,
    "R03AK06",
);
pub(crate) const TIOTROPIUM: Drug = drug(1106776, &[1106776], INHALATION, 30, 1.0, "R03BB04");
pub(crate) const DONEPEZIL: Drug = drug(40223768, &[715997], ORAL, 90, 1.0, "N06DA02");
pub(crate) const SERTRALINE: Drug = drug(739138, &[739138], ORAL, 90, 1.0, "N06AB06");
pub(crate) const LEVOTHYROXINE: Drug = drug(40174880, &[1501700], ORAL, 90, 1.0, "H03AA01");
pub(crate) const ALENDRONATE: Drug = drug(40173590, &[1557272], ORAL, 90, 1.0, "M05BA04");
pub(crate) const IBUPROFEN: Drug = drug(19078461, &[1177480], ORAL, 14, 3.0, "M01AE01");
pub(crate) const PARACETAMOL: Drug = drug(1127433, &[1125315], ORAL, 5, 4.0, "N02BE01");
pub(crate) const AMOXICILLIN_250: Drug = drug(19073183, &[1713332], ORAL, 7, 3.0, "J01CA04");
pub(crate) const AMOXICILLIN_500: Drug = drug(19073188, &[1713332], ORAL, 7, 3.0, "J01CA04");
pub(crate) const NITROFURANTOIN: Drug = drug(920293, &[920293], ORAL, 5, 2.0, "J01XE01");
pub(crate) const OSELTAMIVIR: Drug = drug(1799139, &[1799139], ORAL, 5, 2.0, "J05AH02");
pub(crate) const PREDNISONE: Drug = drug(1551192, &[1551099], ORAL, 5, 8.0, "H02AB07");
pub(crate) const INFLUENZA_VACCINE: Drug = drug(40213154, &[], INTRAMUSCULAR, 1, 1.0, "J07BB02");
pub(crate) const COVID_VACCINE: Drug = drug(37003436, &[], INTRAMUSCULAR, 1, 1.0, "J07BN01");

impl Drug {
    /// Units that one prescription holds.
    #[allow(clippy::cast_precision_loss)] // days
    pub(crate) fn quantity(&self) -> f64 {
        self.daily * self.days as f64
    }
}
