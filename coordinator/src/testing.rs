//! Values for unit tests: one template, its plan, permits and answers under it.

pub(crate) mod authority;
pub(crate) mod scripted;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeZone, Utc};
use ward_schemas::ask::AskContent;
use ward_schemas::canonical::ContentHash;
use ward_schemas::delta::Delta;
use ward_schemas::ehds::Purpose;
use ward_schemas::finish::Expr;
use ward_schemas::jws::{MessageKind, SigningKey};
use ward_schemas::key::NoVocabulary;
use ward_schemas::loss::{EpsilonDelta, Loss};
use ward_schemas::names::{NodeName, Subject};
use ward_schemas::parameter::Parameters;
use ward_schemas::partial::{
    AuditHead, NoiseKind, PARTIAL_FORMAT, PartialClaims, PartialEnvelope, Vectors,
};
use ward_schemas::permit::{Holder, PERMIT_FORMAT, Permit};
use ward_schemas::plan::{
    Column, ColumnContent, Component, ComponentUnit, ENGINE_VERSION, KeyColumn, Plan, TablePlan,
};
use ward_schemas::rho::Rho;
use ward_schemas::snapshot::SnapshotId;
use ward_schemas::template::{ExpandedTemplate, Template};
use ward_schemas::wire::{Quote, WIRE_FORMAT};

use crate::accept::{ComponentRow, Received};

pub(crate) const TEMPLATE: &str = r#"
id = "patients_by_sex"
version = "1.0.0"
title = "Patients by sex"
question = "How many patients are there, by sex?"
purposes = ["scientific-research", "public-health"]
categories = ["ehr"]

[[tables]]
name = "by_sex"
sql = "SELECT p.gender_concept_id AS sex, COUNT(DISTINCT p.person_id) AS patients FROM person p GROUP BY 1"
rho = "0.005"
contribution = { max_groups = 1, max_rows_per_group = 1 }
keys.sex = { concepts = [8507, 8532] }
"#;

pub(crate) fn node(name: &str) -> NodeName {
    name.parse().expect("node name")
}

pub(crate) fn ada() -> Subject {
    "ada@uni.example".parse().expect("subject")
}

pub(crate) fn rho() -> Rho {
    "0.005".parse().expect("rho")
}

pub(crate) fn noon(day: u32) -> DateTime<Utc> {
    let time = Utc.with_ymd_and_hms(2026, 1, day, 12, 0, 0);
    time.single().expect("time")
}

pub(crate) fn template() -> ExpandedTemplate {
    let vocabulary = ContentHash::of_bytes(b"vocabulary");
    let template = Template::parse(TEMPLATE).expect("template");
    template
        .expand(vocabulary, &NoVocabulary)
        .expect("expanded")
}

pub(crate) fn plan() -> Plan {
    let template = template();
    let name = "by_sex".parse().expect("name");
    let sex: ward_schemas::names::Ident = "sex".parse().expect("name");
    let domain = template.keys(&name).expect("table")[&sex].clone();
    let column = |name: &str, content| Column {
        name: name.parse().expect("name"),
        unit: String::new(),
        content,
    };
    Plan {
        template: template.reference(),
        engine: ENGINE_VERSION.into(),
        vocabulary: template.vocabulary(),
        tables: vec![TablePlan {
            totals: Vec::new(),
            name,
            keys: vec![KeyColumn { name: sex, domain }],
            data_key: None,
            contribution: template.template().tables[0].contribution,
            rho: rho(),
            delta: Delta::ZERO,
            components: vec![Component {
                name: "patients".into(),
                unit: ComponentUnit::One,
                bound: 1,
                weight: 1,
            }],
            columns: vec![
                column("sex", ColumnContent::Key { index: 0 }),
                column(
                    "patients",
                    ColumnContent::Measure {
                        expr: Expr::component(0),
                    },
                ),
            ],
        }],
    }
}

pub(crate) fn quote(name: &str) -> Quote {
    Quote {
        v: WIRE_FORMAT,
        node: node(name),
        plan: plan(),
        loss: loss(),
        meaning: meaning(),
        charge: loss(),
        permit_left: loss(),
    }
}

pub(crate) fn loss() -> Loss {
    Loss {
        rho: rho(),
        delta: Delta::ZERO,
    }
}

pub(crate) fn meaning() -> EpsilonDelta {
    EpsilonDelta {
        epsilon: "0.429942".parse().expect("epsilon"),
        delta: "1e-6".parse().expect("delta"),
    }
}

/// Valid from the 1st to the 11th of January 2026, for Ada's research at these nodes.
pub(crate) fn permit(nodes: &[NodeName]) -> Permit {
    Permit {
        v: PERMIT_FORMAT,
        id: "P-1".parse().expect("permit"),
        version: 1,
        access_body: "HDAB".into(),
        issued_at: noon(1),
        valid_from: noon(1),
        valid_until: noon(11),
        holder: Holder {
            organisation: "University".into(),
            principal_investigator: "Ada".into(),
            public_body: false,
        },
        persons: BTreeSet::from([ada()]),
        purpose: Purpose::ScientificResearch,
        templates: BTreeSet::from([template().reference()]),
        nodes: nodes.iter().cloned().collect(),
        budget: rho(),
        budget_delta: Delta::ZERO,
        minimum_nodes: 1,
        requester_key: None,
    }
}

/// A node's answer, before it is signed.
pub(crate) struct Answer {
    pub(crate) claims: PartialClaims,
    pub(crate) audit: AuditHead,
    pub(crate) rows: Vec<ComponentRow>,
    /// The head that was sent with the ask.
    pub(crate) witness: Option<AuditHead>,
    /// Who signs, in place of the node.
    pub(crate) signer: Option<SigningKey>,
}

impl Answer {
    /// 101 and -3 patients, in an audit log of seven records.
    pub(crate) fn new(node: &NodeName) -> Self {
        Self::of(node, &plan())
    }

    /// The same, of another plan of this shape.
    pub(crate) fn of(node: &NodeName, plan: &Plan) -> Self {
        let snapshot = SnapshotId::random().expect("randomness");
        let content = AskContent {
            template: plan.template.hash,
            engine: plan.engine.clone(),
            vocabulary: plan.vocabulary,
            parameters: Parameters::new(),
            rho: rho(),
            snapshot,
            opt_out_cutoff: noon(1).date_naive(),
            opt_out_exception: false,
        };
        let vectors = Vectors::new(plan, vec![vec![vec![101, -3]]]).expect("shape");
        let claims = PartialClaims {
            v: PARTIAL_FORMAT,
            node: node.clone(),
            ask: content.identity().expect("identity"),
            plan: plan.hash().expect("hash"),
            snapshot,
            rho: rho(),
            noise: NoiseKind::DiscreteGaussian,
            digest: vectors.digest(),
        };
        Self {
            claims,
            audit: AuditHead {
                sequence: 7,
                hash: ContentHash::of_bytes(b"seven"),
            },
            rows: vec![ComponentRow {
                table: "by_sex".into(),
                component: "patients".into(),
                shown: None,
                values: vec![101, -3],
            }],
            witness: None,
            signer: None,
        }
    }

    pub(crate) fn sign(&self, key: &SigningKey) -> Received {
        let envelope = PartialEnvelope {
            claims: self.claims.clone(),
            audit: self.audit,
        };
        Received {
            envelope: key.sign(MessageKind::Partial, &envelope).expect("signed"),
            rows: self.rows.clone(),
        }
    }
}

pub(crate) fn no_parameters() -> BTreeMap<ward_schemas::names::Ident, String> {
    BTreeMap::new()
}
