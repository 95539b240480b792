//! The templates that ship, one TOML file each in `schemas/library`.

macro_rules! library {
    ($($name:literal),* $(,)?) => {
        /// Name and text of every template that ships.
        pub const TEMPLATES: &[(&str, &str)] = &[$((
            $name,
            include_str!(concat!("../library/", $name, ".toml")),
        )),*];
    };
}

library![
    "condition_prevalence",
    "drug_exposure_by_sex",
    "hba1c_by_age_and_sex",
    "length_of_stay_by_visit_type",
    "patients_by_age_and_sex",
    "visits_by_month_and_type",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Template;

    #[test]
    fn every_template_reads_and_is_named_as_its_file() {
        for (name, text) in TEMPLATES {
            let template = Template::parse(text).expect(name);
            assert_eq!(template.id.as_str(), *name);
        }
    }
}
