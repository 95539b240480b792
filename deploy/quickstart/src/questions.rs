//! The three questions.

use ward_cli::client::Client;
use ward_cli::progress::Progress;
use ward_quickstart::deployment::Deployment;
use ward_schemas::ask::Question;
use ward_schemas::ehds::Purpose;
use ward_schemas::names::{Ident, NameError};
use ward_schemas::parameter::RawParameters;
use ward_schemas::release::Release;
use ward_schemas::wire::{AskRequest, WIRE_FORMAT};

use crate::run::RunError;

/// A question, in words and as an ask.
pub(crate) struct Chosen {
    /// For people.
    pub(crate) words: &'static str,
    /// The template.
    pub(crate) template: Ident,
    /// Its parameters.
    pub(crate) parameters: RawParameters,
}

/// Questions that make sense on generated hospitals, or on OMOP folders.
///
/// # Errors
/// Never for names as they are written here.
pub(crate) fn chosen(generated: bool) -> Result<[Chosen; 3], NameError> {
    let patients = chose(
        "How many patients of each age and sex do the hospitals know?",
        "patients_by_age_and_sex",
        &[],
    );
    let [second, third] = match generated {
        true => [
            chose(
                "What share of them has had type 2 diabetes (concept 201826)?",
                "condition_prevalence",
                &[("condition", "201826")],
            ),
            chose(
                "What is the mean HbA1c of those in whom it was measured since 2020?",
                "hba1c_by_age_and_sex",
                &[("since", "2020-01-01")],
            ),
        ],
        false => [
            chose(
                "What share of them has had viral sinusitis (concept 40481087)?",
                "condition_prevalence",
                &[("condition", "40481087")],
            ),
            chose(
                "How many people of each sex have had paracetamol (acetaminophen, concept 1125315)?",
                "drug_exposure_by_sex",
                &[("drug", "1125315"), ("since", "1900-01-01")],
            ),
        ],
    };
    Ok([patients?, second?, third?])
}

fn chose(
    words: &'static str,
    template: &str,
    parameters: &[(&str, &str)],
) -> Result<Chosen, NameError> {
    let parameter = |(name, value): &(&str, &str)| Ok((name.parse()?, (*value).to_owned()));
    Ok(Chosen {
        words,
        template: template.parse()?,
        parameters: parameters.iter().map(parameter).collect::<Result<_, _>>()?,
    })
}

impl Chosen {
    /// What `ward ask` and `ward quote` take after their name.
    pub(crate) fn arguments(&self) -> String {
        let parameters = self.parameters.iter();
        let parameters = parameters.map(|(name, value)| format!(" --param {name}={value}"));
        self.template.to_string() + &parameters.collect::<String>()
    }

    /// Asks it under the permit, and shows on standard error how far each node is.
    ///
    /// # Errors
    /// When the coordinator gives no answer.
    pub(crate) async fn ask(
        &self,
        client: &Client,
        deployment: &Deployment,
        permit: &str,
        terminal: bool,
    ) -> Result<Release, RunError> {
        let template = deployment.template(&self.template);
        let template = template.ok_or_else(|| RunError::NoTemplate(self.template.clone()))?;
        let request = AskRequest {
            v: WIRE_FORMAT,
            question: Question {
                template: template.clone(),
                parameters: self.parameters.clone(),
                rho: None,
                purpose: Purpose::ScientificResearch,
            },
            permit: permit.to_owned(),
            signature: None,
        };
        let mut progress = Progress::new(terminal, std::io::stderr());
        Ok(client.ask(&request, |event| progress.event(event)).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ward_schemas::library;
    use ward_schemas::template::Template;

    #[test]
    fn starter_templates_take_the_questions() {
        for question in [true, false]
            .into_iter()
            .flat_map(|g| chosen(g).expect("names"))
        {
            let text = library::TEMPLATES
                .iter()
                .find(|(name, _)| *name == question.template.as_str());
            let template = Template::parse(text.expect("it ships").1).expect("template");
            template.bind(&question.parameters).expect(question.words);
        }
    }
}
