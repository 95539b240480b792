//! The private side of a comparison: the engine as a node runs it.

use ward_privacy::{Execution, NoiseSource, Program, Request, SelectionKey};
use ward_schemas::canonical::ContentHash;
use ward_schemas::key::NoVocabulary;
use ward_schemas::parameter::{Parameters, RawParameters};
use ward_schemas::template::Template;

use crate::Comparison;
use crate::files::Files;

/// A compiled comparison.
pub(crate) struct Private {
    program: Program,
    parameters: Parameters,
    execution: Execution,
}

impl Private {
    pub(crate) fn compile(comparison: &Comparison) -> Self {
        let text = format!(
            r#"
id = "bench"
version = "1.0.0"
title = "bench"
question = "How fast?"
purposes = ["scientific-research"]
categories = ["ehr"]
[[tables]]
name = "bench"
sql = """{}"""
rho = "0.005"
{}
"#,
            comparison.private, comparison.declared
        );
        let template = Template::parse(&text).expect("template");
        let parameters = template.bind(&RawParameters::new()).expect("no parameters");
        let vocabulary = ContentHash::of_bytes(b"none");
        let expanded = template.expand(vocabulary, &NoVocabulary).expect("keys");
        Self {
            program: Program::compile(&expanded).expect("accepted"),
            parameters,
            execution: comparison.execution,
        }
    }

    pub(crate) async fn run(&self, files: &Files) {
        let selection_key = SelectionKey::from_bytes([7; 16]);
        let request = Request {
            program: &self.program,
            parameters: &self.parameters,
            rho: self.program.plan().rho(),
            tables: files.schema(),
            selection_key: &selection_key,
            execution: self.execution,
        };
        let noise = NoiseSource::discrete_gaussian();
        let answer = ward_privacy::run(request, &noise).await.expect("answer");
        assert!(!answer.vectors.values().is_empty());
    }
}
