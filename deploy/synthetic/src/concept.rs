//! The public vocabulary: every concept that a generated record names, and what is above it.
//!
//! Ids, names and codes are those of the OMOP standardized vocabularies (SNOMED CT, RxNorm,
//! LOINC, ATC, CVX, UCUM and OMOP's own); the hierarchy between them is shortened.

/// A concept and the concepts right above it.
pub(crate) struct Concept {
    /// OMOP concept id.
    pub(crate) id: i64,
    /// Name.
    pub(crate) name: &'static str,
    /// What kind of concept it is.
    pub(crate) kind: Kind,
    /// Code in its vocabulary; empty where it has none.
    pub(crate) code: &'static str,
    /// Parents.
    pub(crate) parents: &'static [i64],
}

/// Domain, vocabulary and class of a concept, in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No concept.
    None,
    /// Sex.
    Gender,
    /// Kind of visit.
    Visit,
    /// Place that patients come from or go to.
    Place,
    /// Provenance of a record.
    Type,
    /// Status of a diagnosis.
    Status,
    /// Disease or finding.
    Finding,
    /// Procedure.
    Procedure,
    /// Class of medicines.
    Class,
    /// Ingredient.
    Ingredient,
    /// Product.
    Product,
    /// Vaccine.
    Vaccine,
    /// Laboratory test.
    Test,
    /// Vital sign.
    Vital,
    /// Question.
    Question,
    /// Answer.
    Answer,
    /// Unit.
    Unit,
    /// Route of administration.
    Route,
    /// Event that is no disease.
    Event,
}

impl Kind {
    /// `domain_id`, `vocabulary_id` and `concept_class_id`.
    pub(crate) fn names(self) -> [&'static str; 3] {
        match self {
            Self::None => ["Metadata", "None", "Undefined"],
            Self::Gender => ["Gender", "Gender", "Gender"],
            Self::Visit => ["Visit", "Visit", "Visit"],
            Self::Place => ["Visit", "CMS Place of Service", "Visit"],
            Self::Type => ["Type Concept", "Type Concept", "Type Concept"],
            Self::Status => ["Condition Status", "Condition Status", "Condition Status"],
            Self::Finding => ["Condition", "SNOMED", "Clinical Finding"],
            Self::Procedure => ["Procedure", "SNOMED", "Procedure"],
            Self::Class => ["Drug", "ATC", "ATC"],
            Self::Ingredient => ["Drug", "RxNorm", "Ingredient"],
            Self::Product => ["Drug", "RxNorm", "Clinical Drug"],
            Self::Vaccine => ["Drug", "CVX", "CVX"],
            Self::Test => ["Measurement", "LOINC", "Lab Test"],
            Self::Vital => ["Measurement", "LOINC", "Clinical Observation"],
            Self::Question => ["Observation", "LOINC", "Clinical Observation"],
            Self::Answer => ["Meas Value", "LOINC", "Answer"],
            Self::Unit => ["Unit", "UCUM", "Unit"],
            Self::Route => ["Route", "SNOMED", "Qualifier Value"],
            Self::Event => ["Observation", "SNOMED", "Event"],
        }
    }

    /// `standard_concept`: S standard, C classification, or neither.
    pub(crate) fn standard(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Class => Some("C"),
            _ => Some("S"),
        }
    }
}

/// A concept that the source can't name.
pub(crate) const UNKNOWN: i64 = 0;
pub(crate) const MALE: i64 = 8507;
pub(crate) const FEMALE: i64 = 8532;

pub(crate) const INPATIENT: i64 = 9201;
pub(crate) const OUTPATIENT: i64 = 9202;
pub(crate) const EMERGENCY: i64 = 9203;
pub(crate) const TELEHEALTH: i64 = 5083;
pub(crate) const HOME: i64 = 8536;
pub(crate) const EMERGENCY_ROOM: i64 = 8870;
pub(crate) const NURSING_FACILITY: i64 = 8863;
pub(crate) const DIED: i64 = 4216643;

pub(crate) const EHR: i64 = 32817;
pub(crate) const EHR_ADMINISTRATION: i64 = 32818;
pub(crate) const EHR_ENCOUNTER: i64 = 32827;
pub(crate) const EHR_PRESCRIPTION: i64 = 32838;
pub(crate) const LABORATORY: i64 = 32856;
/// What patients measure at home with a device of their own.
pub(crate) const SELF_REPORT: i64 = 32865;
pub(crate) const PRIMARY: i64 = 32902;
pub(crate) const SECONDARY: i64 = 32908;

pub(crate) const TYPE_1_DIABETES: i64 = 201254;
pub(crate) const TYPE_2_DIABETES: i64 = 201826;
pub(crate) const HYPERTENSION: i64 = 320128;
pub(crate) const OBESITY: i64 = 433736;
pub(crate) const HYPERLIPIDEMIA: i64 = 432867;
pub(crate) const CORONARY_DISEASE: i64 = 317576;
pub(crate) const ATRIAL_FIBRILLATION: i64 = 313217;
pub(crate) const HEART_FAILURE: i64 = 316139;
pub(crate) const KIDNEY_DISEASE: i64 = 46271022;
pub(crate) const COPD: i64 = 255573;
pub(crate) const ASTHMA: i64 = 317009;
pub(crate) const DEMENTIA: i64 = 4182210;
pub(crate) const DEPRESSION: i64 = 440383;
pub(crate) const HYPOTHYROIDISM: i64 = 140673;
pub(crate) const OSTEOARTHRITIS: i64 = 80180;
pub(crate) const OSTEOPOROSIS: i64 = 80502;
pub(crate) const BREAST_CANCER: i64 = 4112853;
pub(crate) const PROSTATE_CANCER: i64 = 4163261;
pub(crate) const COLON_CANCER: i64 = 4180790;

pub(crate) const INFLUENZA: i64 = 4266367;
pub(crate) const COVID_19: i64 = 37311061;
pub(crate) const PNEUMONIA: i64 = 255848;
pub(crate) const PREGNANT: i64 = 4299535;
pub(crate) const GESTATIONAL_DIABETES: i64 = 4024659;
pub(crate) const PRE_ECLAMPSIA: i64 = 439393;

pub(crate) const CHEST_XRAY: i64 = 4163872;
pub(crate) const ECG: i64 = 4163951;
pub(crate) const COLONOSCOPY: i64 = 4249893;
pub(crate) const VAGINAL_DELIVERY: i64 = 4125611;
pub(crate) const CESAREAN_SECTION: i64 = 4015701;

pub(crate) const SMOKING_STATUS: i64 = 43054909;
pub(crate) const NEVER_SMOKER: i64 = 45879404;
pub(crate) const FORMER_SMOKER: i64 = 45883458;
pub(crate) const CURRENT_SMOKER: i64 = 45881517;

const fn concept(
    id: i64,
    name: &'static str,
    kind: Kind,
    code: &'static str,
    parents: &'static [i64],
) -> Concept {
    Concept {
        id,
        name,
        kind,
        code,
        parents,
    }
}

/// Every concept of the vocabulary.
pub(crate) fn all() -> impl Iterator<Item = &'static Concept> + Clone {
    ADMINISTRATIVE
        .iter()
        .chain(FINDINGS)
        .chain(DRUGS)
        .chain(MEASURES)
}

#[rustfmt::skip] // a concept a line
const ADMINISTRATIVE: &[Concept] = &[
    concept(UNKNOWN, "No matching concept", Kind::None, "No matching concept", &[]),
    concept(MALE, "MALE", Kind::Gender, "M", &[]),
    concept(FEMALE, "FEMALE", Kind::Gender, "F", &[]),
    concept(INPATIENT, "Inpatient Visit", Kind::Visit, "IP", &[]),
    concept(OUTPATIENT, "Outpatient Visit", Kind::Visit, "OP", &[]),
    concept(EMERGENCY, "Emergency Room Visit", Kind::Visit, "ER", &[]),
    concept(TELEHEALTH, "Telehealth", Kind::Place, "02", &[]),
    concept(HOME, "Home", Kind::Place, "12", &[]),
    concept(EMERGENCY_ROOM, "Emergency Room - Hospital", Kind::Place, "23", &[]),
    concept(NURSING_FACILITY, "Skilled Nursing Facility", Kind::Place, "31", &[]),
    concept(DIED, "Patient died", Kind::Event, "419099009", &[]),
    concept(EHR, "EHR", Kind::Type, "", &[]),
    concept(EHR_ADMINISTRATION, "EHR administration record", Kind::Type, "", &[EHR]),
    concept(EHR_ENCOUNTER, "EHR encounter record", Kind::Type, "", &[EHR]),
    concept(EHR_PRESCRIPTION, "EHR prescription", Kind::Type, "", &[EHR]),
    concept(LABORATORY, "Lab", Kind::Type, "", &[]),
    concept(SELF_REPORT, "Patient self-report", Kind::Type, "", &[]),
    concept(PRIMARY, "Primary diagnosis", Kind::Status, "", &[]),
    concept(SECONDARY, "Secondary diagnosis", Kind::Status, "", &[]),
    concept(4132161, "Oral", Kind::Route, "26643006", &[]),
    concept(45956874, "Inhalation", Kind::Route, "447694001", &[]),
    concept(4142048, "Subcutaneous", Kind::Route, "34206005", &[]),
    concept(4302612, "Intramuscular", Kind::Route, "78421000", &[]),
    concept(CHEST_XRAY, "Plain chest X-ray", Kind::Procedure, "399208008", &[]),
    concept(ECG, "Electrocardiographic procedure", Kind::Procedure, "29303009", &[]),
    concept(COLONOSCOPY, "Colonoscopy", Kind::Procedure, "73761001", &[]),
    concept(VAGINAL_DELIVERY, "Vaginal delivery", Kind::Procedure, "289259007", &[]),
    concept(CESAREAN_SECTION, "Cesarean section", Kind::Procedure, "11466000", &[]),
    concept(4198190, "Appendectomy", Kind::Procedure, "80146002", &[]),
    concept(4242997, "Cholecystectomy", Kind::Procedure, "38102005", &[]),
    concept(4163971, "Laparoscopic cholecystectomy", Kind::Procedure, "45595009", &[4242997]),
    concept(4216130, "Percutaneous coronary intervention", Kind::Procedure, "415070008", &[]),
    concept(4203771, "Total replacement of hip", Kind::Procedure, "52734007", &[]),
    concept(4170947, "Bone immobilization", Kind::Procedure, "274474001", &[]),
];

const DISEASE: i64 = 4274025;
const CARDIOVASCULAR: i64 = 134057;
const HEART_DISEASE: i64 = 321588;
const RESPIRATORY: i64 = 320136;
const ENDOCRINE: i64 = 31821;
const METABOLIC: i64 = 436670;
const MENTAL: i64 = 432586;
const NERVOUS: i64 = 376337;
const KIDNEY: i64 = 198124;
const MUSCULOSKELETAL: i64 = 4244662;
const INFECTION: i64 = 432250;
const VIRAL: i64 = 440029;
const DIABETES: i64 = 201820;
const T2DM_DISORDER: i64 = 443732;
const HYPERTENSIVE: i64 = 316866;
const UPPER_RESPIRATORY_INFECTION: i64 = 4181583;
const URINARY_INFECTION: i64 = 81902;
const CANCER: i64 = 443392;
const FRACTURE: i64 = 75053;
const PREGNANCY: i64 = 4088927;

#[rustfmt::skip] // a concept a line
const FINDINGS: &[Concept] = &[
    concept(441840, "Clinical finding", Kind::Finding, "404684003", &[]),
    concept(DISEASE, "Disease", Kind::Finding, "64572001", &[441840]),
    concept(CARDIOVASCULAR, "Disorder of cardiovascular system", Kind::Finding, "49601007", &[DISEASE]),
    concept(HEART_DISEASE, "Heart disease", Kind::Finding, "56265001", &[CARDIOVASCULAR]),
    concept(RESPIRATORY, "Disorder of respiratory system", Kind::Finding, "50043002", &[DISEASE]),
    concept(ENDOCRINE, "Disorder of endocrine system", Kind::Finding, "362969004", &[DISEASE]),
    concept(METABOLIC, "Metabolic disease", Kind::Finding, "75934005", &[DISEASE]),
    concept(MENTAL, "Mental disorder", Kind::Finding, "74732009", &[DISEASE]),
    concept(NERVOUS, "Disorder of nervous system", Kind::Finding, "118940003", &[DISEASE]),
    concept(KIDNEY, "Kidney disease", Kind::Finding, "90708001", &[DISEASE]),
    concept(MUSCULOSKELETAL, "Disorder of musculoskeletal system", Kind::Finding, "928000", &[DISEASE]),
    concept(INFECTION, "Disorder due to infection", Kind::Finding, "40733004", &[DISEASE]),
    concept(VIRAL, "Viral disease", Kind::Finding, "34014006", &[INFECTION]),
    concept(DIABETES, "Diabetes mellitus", Kind::Finding, "73211009", &[ENDOCRINE, METABOLIC]),
    concept(TYPE_1_DIABETES, "Type 1 diabetes mellitus", Kind::Finding, "46635009", &[DIABETES]),
    concept(TYPE_2_DIABETES, "Type 2 diabetes mellitus", Kind::Finding, "44054006", &[DIABETES]),
    concept(4193704, "Type 2 diabetes mellitus without complication", Kind::Finding, "313436004", &[TYPE_2_DIABETES]),
    concept(T2DM_DISORDER, "Disorder due to type 2 diabetes mellitus", Kind::Finding, "422014003", &[TYPE_2_DIABETES]),
    concept(443731, "Renal disorder due to type 2 diabetes mellitus", Kind::Finding, "420279001", &[T2DM_DISORDER, KIDNEY]),
    concept(376065, "Disorder of nervous system due to type 2 diabetes mellitus", Kind::Finding, "421326000", &[T2DM_DISORDER, NERVOUS]),
    concept(443733, "Disorder of eye due to type 2 diabetes mellitus", Kind::Finding, "422099009", &[T2DM_DISORDER]),
    concept(GESTATIONAL_DIABETES, "Gestational diabetes mellitus", Kind::Finding, "11687002", &[DIABETES, PREGNANCY]),
    concept(HYPERTENSIVE, "Hypertensive disorder", Kind::Finding, "38341003", &[CARDIOVASCULAR]),
    concept(HYPERTENSION, "Essential hypertension", Kind::Finding, "59621000", &[HYPERTENSIVE]),
    concept(OBESITY, "Obesity", Kind::Finding, "414916001", &[METABOLIC]),
    concept(HYPERLIPIDEMIA, "Hyperlipidemia", Kind::Finding, "55822004", &[METABOLIC]),
    concept(CORONARY_DISEASE, "Coronary arteriosclerosis", Kind::Finding, "53741008", &[HEART_DISEASE]),
    concept(4329847, "Myocardial infarction", Kind::Finding, "22298006", &[HEART_DISEASE]),
    concept(312327, "Acute myocardial infarction", Kind::Finding, "57054005", &[4329847]),
    concept(ATRIAL_FIBRILLATION, "Atrial fibrillation", Kind::Finding, "49436004", &[HEART_DISEASE]),
    concept(HEART_FAILURE, "Heart failure", Kind::Finding, "84114007", &[HEART_DISEASE]),
    concept(319835, "Congestive heart failure", Kind::Finding, "42343007", &[HEART_FAILURE]),
    concept(381316, "Cerebrovascular accident", Kind::Finding, "230690007", &[CARDIOVASCULAR, NERVOUS]),
    concept(443454, "Cerebral infarction", Kind::Finding, "432504007", &[381316]),
    concept(KIDNEY_DISEASE, "Chronic kidney disease", Kind::Finding, "709044004", &[KIDNEY]),
    concept(443597, "Chronic kidney disease stage 3", Kind::Finding, "433144002", &[KIDNEY_DISEASE]),
    concept(443612, "Chronic kidney disease stage 4", Kind::Finding, "431857002", &[KIDNEY_DISEASE]),
    concept(COPD, "Chronic obstructive pulmonary disease", Kind::Finding, "13645005", &[RESPIRATORY]),
    concept(257004, "Acute exacerbation of chronic obstructive airways disease", Kind::Finding, "195951007", &[COPD]),
    concept(ASTHMA, "Asthma", Kind::Finding, "195967001", &[RESPIRATORY]),
    concept(4051466, "Childhood asthma", Kind::Finding, "233678006", &[ASTHMA]),
    concept(DEMENTIA, "Dementia", Kind::Finding, "52448006", &[MENTAL, NERVOUS]),
    concept(378419, "Alzheimer's disease", Kind::Finding, "26929004", &[DEMENTIA]),
    concept(443605, "Vascular dementia", Kind::Finding, "429998004", &[DEMENTIA]),
    concept(DEPRESSION, "Depressive disorder", Kind::Finding, "35489007", &[MENTAL]),
    concept(4152280, "Major depressive disorder", Kind::Finding, "370143000", &[DEPRESSION]),
    concept(HYPOTHYROIDISM, "Hypothyroidism", Kind::Finding, "40930008", &[ENDOCRINE]),
    concept(OSTEOARTHRITIS, "Osteoarthritis", Kind::Finding, "396275006", &[MUSCULOSKELETAL]),
    concept(OSTEOPOROSIS, "Osteoporosis", Kind::Finding, "64859006", &[MUSCULOSKELETAL]),
    concept(FRACTURE, "Fracture of bone", Kind::Finding, "125605004", &[MUSCULOSKELETAL]),
    concept(4230399, "Closed fracture of hip", Kind::Finding, "359817006", &[FRACTURE]),
    concept(4278672, "Fracture of forearm", Kind::Finding, "65966004", &[FRACTURE]),
    concept(81151, "Sprain of ankle", Kind::Finding, "44465007", &[MUSCULOSKELETAL]),
    concept(CANCER, "Malignant neoplastic disease", Kind::Finding, "363346000", &[DISEASE]),
    concept(BREAST_CANCER, "Malignant tumor of breast", Kind::Finding, "254837009", &[CANCER]),
    concept(PROSTATE_CANCER, "Malignant tumor of prostate", Kind::Finding, "399068003", &[CANCER]),
    concept(COLON_CANCER, "Malignant tumor of colon", Kind::Finding, "363406005", &[CANCER]),
    concept(INFLUENZA, "Influenza", Kind::Finding, "6142004", &[VIRAL, RESPIRATORY]),
    concept(COVID_19, "COVID-19", Kind::Finding, "840539006", &[VIRAL]),
    concept(PNEUMONIA, "Pneumonia", Kind::Finding, "233604007", &[RESPIRATORY]),
    concept(260139, "Acute bronchitis", Kind::Finding, "10509002", &[RESPIRATORY, INFECTION]),
    concept(UPPER_RESPIRATORY_INFECTION, "Upper respiratory infection", Kind::Finding, "54150009", &[RESPIRATORY, INFECTION]),
    concept(4112343, "Acute viral pharyngitis", Kind::Finding, "195662009", &[UPPER_RESPIRATORY_INFECTION, VIRAL]),
    concept(40481087, "Viral sinusitis", Kind::Finding, "444814009", &[UPPER_RESPIRATORY_INFECTION, VIRAL]),
    concept(372328, "Otitis media", Kind::Finding, "65363002", &[DISEASE]),
    concept(URINARY_INFECTION, "Urinary tract infectious disease", Kind::Finding, "68566005", &[INFECTION]),
    concept(195588, "Cystitis", Kind::Finding, "38822007", &[DISEASE]),
    concept(440448, "Appendicitis", Kind::Finding, "74400008", &[DISEASE]),
    concept(198809, "Acute cholecystitis", Kind::Finding, "65275009", &[DISEASE]),
    concept(PREGNANCY, "Pregnancy, childbirth and puerperium finding", Kind::Finding, "248982007", &[441840]),
    concept(PREGNANT, "Pregnant", Kind::Finding, "77386006", &[PREGNANCY]),
    concept(PRE_ECLAMPSIA, "Pre-eclampsia", Kind::Finding, "398254007", &[PREGNANCY, HYPERTENSIVE]),
];

const DRUGS_IN_DIABETES: i64 = 21600712;
const LIPID_MODIFYING: i64 = 21601853;
const STATINS: i64 = 21601855;
const RENIN_ANGIOTENSIN: i64 = 21601782;
const BETA_BLOCKERS: i64 = 21601664;
const CALCIUM_BLOCKERS: i64 = 21601744;
const DIURETICS: i64 = 21601461;
const ANTITHROMBOTIC: i64 = 21600960;
const OBSTRUCTIVE_AIRWAY: i64 = 21603248;
const ANTIBACTERIALS: i64 = 21602796;
const ANTIDEPRESSANTS: i64 = 21604686;
const ANTIINFLAMMATORY: i64 = 21603932;

#[rustfmt::skip] // a concept a line
const DRUGS: &[Concept] = &[
    concept(DRUGS_IN_DIABETES, "DRUGS USED IN DIABETES", Kind::Class, "A10", &[]),
    concept(ANTITHROMBOTIC, "ANTITHROMBOTIC AGENTS", Kind::Class, "B01A", &[]),
    concept(DIURETICS, "DIURETICS", Kind::Class, "C03", &[]),
    concept(BETA_BLOCKERS, "BETA BLOCKING AGENTS", Kind::Class, "C07", &[]),
    concept(CALCIUM_BLOCKERS, "CALCIUM CHANNEL BLOCKERS", Kind::Class, "C08", &[]),
    concept(RENIN_ANGIOTENSIN, "AGENTS ACTING ON THE RENIN-ANGIOTENSIN SYSTEM", Kind::Class, "C09", &[]),
    concept(LIPID_MODIFYING, "LIPID MODIFYING AGENTS", Kind::Class, "C10", &[]),
    concept(STATINS, "HMG CoA reductase inhibitors", Kind::Class, "C10AA", &[LIPID_MODIFYING]),
    concept(ANTIBACTERIALS, "ANTIBACTERIALS FOR SYSTEMIC USE", Kind::Class, "J01", &[]),
    concept(ANTIINFLAMMATORY, "ANTIINFLAMMATORY AND ANTIRHEUMATIC PRODUCTS", Kind::Class, "M01", &[]),
    concept(ANTIDEPRESSANTS, "ANTIDEPRESSANTS", Kind::Class, "N06A", &[]),
    concept(OBSTRUCTIVE_AIRWAY, "DRUGS FOR OBSTRUCTIVE AIRWAY DISEASES", Kind::Class, "R03", &[]),
    concept(1503297, "metformin", Kind::Ingredient, "6809", &[DRUGS_IN_DIABETES]),
    concept(40164929, "metformin hydrochloride 500 MG Oral Tablet", Kind::Product, "861007", &[1503297]),
    concept(40164897, "metformin hydrochloride 1000 MG Oral Tablet", Kind::Product, "861004", &[1503297]),
    concept(45774751, "empagliflozin", Kind::Ingredient, "1545653", &[DRUGS_IN_DIABETES]),
    concept(1502905, "insulin glargine", Kind::Ingredient, "274783", &[DRUGS_IN_DIABETES]),
    concept(1308216, "lisinopril", Kind::Ingredient, "29046", &[RENIN_ANGIOTENSIN]),
    concept(19080128, "lisinopril 10 MG Oral Tablet", Kind::Product, "314076", &[1308216]),
    concept(19080129, "lisinopril 20 MG Oral Tablet", Kind::Product, "314077", &[1308216]),
    concept(1332418, "amlodipine", Kind::Ingredient, "17767", &[CALCIUM_BLOCKERS]),
    concept(1332419, "amlodipine 5 MG Oral Tablet", Kind::Product, "197361", &[1332418]),
    concept(1338005, "bisoprolol", Kind::Ingredient, "19484", &[BETA_BLOCKERS]),
    concept(956874, "furosemide", Kind::Ingredient, "4603", &[DIURETICS]),
    concept(1545958, "atorvastatin", Kind::Ingredient, "83367", &[STATINS]),
    concept(1545959, "atorvastatin 80 MG Oral Tablet", Kind::Product, "259255", &[1545958]),
    concept(1539403, "simvastatin", Kind::Ingredient, "36567", &[STATINS]),
    concept(1539411, "simvastatin 20 MG Oral Tablet", Kind::Product, "312961", &[1539403]),
    concept(1112807, "aspirin", Kind::Ingredient, "1191", &[ANTITHROMBOTIC]),
    concept(19059056, "aspirin 81 MG Oral Tablet", Kind::Product, "243670", &[1112807]),
    concept(1310149, "warfarin", Kind::Ingredient, "11289", &[ANTITHROMBOTIC]),
    concept(40163554, "warfarin sodium 5 MG Oral Tablet", Kind::Product, "855332", &[1310149]),
    concept(43013024, "apixaban", Kind::Ingredient, "1364430", &[ANTITHROMBOTIC]),
    concept(1154343, "albuterol", Kind::Ingredient, "435", &[OBSTRUCTIVE_AIRWAY]),
    concept(1154615, "200 ACTUAT albuterol 0.09 MG/ACTUAT Metered Dose Inhaler", Kind::Product, "745679", &[1154343]),
    concept(1149380, "fluticasone", Kind::Ingredient, "41126", &[OBSTRUCTIVE_AIRWAY]),
    concept(1137529, "salmeterol", Kind::Ingredient, "36117", &[OBSTRUCTIVE_AIRWAY]),
    concept(40169281, "60 ACTUAT fluticasone propionate 0.25 MG/ACTUAT / salmeterol 0.05 MG/ACTUAT Dry Powder Inhaler", Kind::Product, "896184", &[1149380, 1137529]),
    concept(1106776, "tiotropium", Kind::Ingredient, "69120", &[OBSTRUCTIVE_AIRWAY]),
    concept(715997, "donepezil", Kind::Ingredient, "135447", &[]),
    concept(40223768, "donepezil hydrochloride 10 MG Oral Tablet", Kind::Product, "997223", &[715997]),
    concept(739138, "sertraline", Kind::Ingredient, "36437", &[ANTIDEPRESSANTS]),
    concept(1501700, "levothyroxine", Kind::Ingredient, "10582", &[]),
    concept(40174880, "levothyroxine sodium 0.075 MG Oral Tablet", Kind::Product, "966222", &[1501700]),
    concept(1557272, "alendronate", Kind::Ingredient, "46041", &[]),
    concept(40173590, "alendronic acid 10 MG Oral Tablet", Kind::Product, "904419", &[1557272]),
    concept(1177480, "ibuprofen", Kind::Ingredient, "5640", &[ANTIINFLAMMATORY]),
    concept(19078461, "ibuprofen 200 MG Oral Tablet", Kind::Product, "310965", &[1177480]),
    concept(1125315, "acetaminophen", Kind::Ingredient, "161", &[]),
    concept(1127433, "acetaminophen 325 MG Oral Tablet", Kind::Product, "313782", &[1125315]),
    concept(1713332, "amoxicillin", Kind::Ingredient, "723", &[ANTIBACTERIALS]),
    concept(19073183, "amoxicillin 250 MG Oral Capsule", Kind::Product, "308182", &[1713332]),
    concept(19073188, "amoxicillin 500 MG Oral Tablet", Kind::Product, "308192", &[1713332]),
    concept(920293, "nitrofurantoin", Kind::Ingredient, "7454", &[ANTIBACTERIALS]),
    concept(1799139, "oseltamivir", Kind::Ingredient, "260101", &[]),
    concept(1551099, "prednisone", Kind::Ingredient, "8640", &[]),
    concept(1551192, "prednisone 5 MG Oral Tablet", Kind::Product, "312617", &[1551099]),
    concept(40213154, "Influenza, seasonal, injectable, preservative free", Kind::Vaccine, "140", &[]),
    concept(37003436, "SARS-CoV-2 (COVID-19) vaccine, mRNA-BNT162b2 0.1 MG/ML Injectable Suspension", Kind::Product, "2468235", &[]),
];

#[rustfmt::skip] // a concept a line
const MEASURES: &[Concept] = &[
    concept(3004410, "Hemoglobin A1c/Hemoglobin.total in Blood", Kind::Test, "4548-4", &[]),
    concept(3004501, "Glucose [Mass/volume] in Serum or Plasma", Kind::Test, "2345-7", &[]),
    concept(3028437, "Cholesterol in LDL [Mass/volume] in Serum or Plasma", Kind::Test, "13457-7", &[]),
    concept(3016723, "Creatinine [Mass/volume] in Serum or Plasma", Kind::Test, "2160-0", &[]),
    concept(3000963, "Hemoglobin [Mass/volume] in Blood", Kind::Test, "718-7", &[]),
    concept(3020460, "C reactive protein [Mass/volume] in Serum or Plasma", Kind::Test, "1988-5", &[]),
    concept(3004249, "Systolic blood pressure", Kind::Vital, "8480-6", &[]),
    concept(3012888, "Diastolic blood pressure", Kind::Vital, "8462-4", &[]),
    concept(3027018, "Heart rate", Kind::Vital, "8867-4", &[]),
    concept(3025315, "Body weight", Kind::Vital, "29463-7", &[]),
    concept(3020891, "Body temperature", Kind::Vital, "8310-5", &[]),
    concept(40762499, "Oxygen saturation in Arterial blood by Pulse oximetry", Kind::Vital, "59408-5", &[]),
    concept(SMOKING_STATUS, "Tobacco smoking status", Kind::Question, "72166-2", &[]),
    concept(NEVER_SMOKER, "Never smoker", Kind::Answer, "LA18978-9", &[]),
    concept(FORMER_SMOKER, "Former smoker", Kind::Answer, "LA15920-4", &[]),
    concept(CURRENT_SMOKER, "Current every day smoker", Kind::Answer, "LA18976-3", &[]),
    concept(8554, "percent", Kind::Unit, "%", &[]),
    concept(8840, "milligram per deciliter", Kind::Unit, "mg/dL", &[]),
    concept(8713, "gram per deciliter", Kind::Unit, "g/dL", &[]),
    concept(8751, "milligram per liter", Kind::Unit, "mg/L", &[]),
    concept(8876, "millimeter mercury column", Kind::Unit, "mm[Hg]", &[]),
    concept(8541, "per minute", Kind::Unit, "/min", &[]),
    concept(9529, "kilogram", Kind::Unit, "kg", &[]),
    concept(586323, "degree Celsius", Kind::Unit, "Cel", &[]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_unique_and_parents_exist() {
        let ids: HashSet<i64> = all().map(|c| c.id).collect();
        assert_eq!(ids.len(), all().count());
        for concept in all() {
            for parent in concept.parents {
                assert!(ids.contains(parent), "{}: {parent}", concept.name);
            }
        }
    }
}
