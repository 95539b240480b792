use std::collections::BTreeSet;
use std::sync::LazyLock;

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use ward_schemas::delta::Delta;
use ward_schemas::ehds::Purpose;
use ward_schemas::jws::SigningKey;
use ward_schemas::key::NoVocabulary;
use ward_schemas::names::Ident;
use ward_schemas::permit::{Holder, PERMIT_FORMAT};
use ward_schemas::plan::{Component, ComponentUnit, TablePlan};

use super::*;

/// One way in which an ask can be wrong, in the order in which the gate looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    NoCoordinator,
    NotJson,
    OtherVersion,
    UnknownField,
    NoToken,
    OtherKey,
    OtherAccessBody,
    NoPublicBody,
    NotYetValid,
    Expired,
    Superseded,
    WrongNode,
    WrongPerson,
    Unsigned,
    OtherSigned,
    WrongPurpose,
    WrongTemplate,
    OtherContentGranted,
    Truncated,
    RolledBack,
    NeverOffered,
    Withdrawn,
    OtherContentApproved,
    TemplatePurpose,
    UnknownParameter,
    WrongType,
    OutOfDomain,
    RhoTooLarge,
    RhoTooSmall,
    RhoZero,
}

use Fault as F;

const ALL: &[(Fault, ErrorCode)] = &[
    (F::NoCoordinator, ErrorCode::PeerNotTrusted),
    (F::NotJson, ErrorCode::MalformedRequest),
    (F::OtherVersion, ErrorCode::UnsupportedVersion),
    (F::UnknownField, ErrorCode::MalformedRequest),
    (F::NoToken, ErrorCode::PermitMalformed),
    (F::OtherKey, ErrorCode::PermitNotTrusted),
    (F::OtherAccessBody, ErrorCode::PermitNotTrusted),
    (F::NoPublicBody, ErrorCode::PermitMalformed),
    (F::NotYetValid, ErrorCode::PermitNotYetValid),
    (F::Expired, ErrorCode::PermitExpired),
    (F::Superseded, ErrorCode::PermitSuperseded),
    (F::WrongNode, ErrorCode::PermitWrongNode),
    (F::WrongPerson, ErrorCode::PermitWrongPerson),
    (F::Unsigned, ErrorCode::AskSignature),
    (F::OtherSigned, ErrorCode::AskSignature),
    (F::WrongPurpose, ErrorCode::PermitWrongPurpose),
    (F::WrongTemplate, ErrorCode::PermitWrongTemplate),
    (F::OtherContentGranted, ErrorCode::TemplateAltered),
    (F::Truncated, ErrorCode::NodeRolledBack),
    (F::RolledBack, ErrorCode::NodeRolledBack),
    (F::NeverOffered, ErrorCode::TemplateUnknown),
    (F::Withdrawn, ErrorCode::TemplateNotApproved),
    (F::OtherContentApproved, ErrorCode::TemplateAltered),
    (F::TemplatePurpose, ErrorCode::PermitWrongPurpose),
    (F::UnknownParameter, ErrorCode::ParameterInvalid),
    (F::WrongType, ErrorCode::ParameterInvalid),
    (F::OutOfDomain, ErrorCode::ParameterInvalid),
    (F::RhoTooLarge, ErrorCode::RhoRefused),
    (F::RhoTooSmall, ErrorCode::RhoRefused),
    (F::RhoZero, ErrorCode::RhoRefused),
];

struct World {
    body: SigningKey,
    stranger: SigningKey,
    requester: SigningKey,
    template: Template,
    plan: Plan,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let template = Template::parse(TEMPLATE).expect("a template");
    let expanded = template
        .clone()
        .expand(ContentHash::of_bytes(b"vocabulary"), &NoVocabulary)
        .expect("an expanded template");
    World {
        body: SigningKey::generate().expect("randomness"),
        stranger: SigningKey::generate().expect("randomness"),
        requester: SigningKey::generate().expect("randomness"),
        plan: plan(expanded.reference(), &template),
        template,
    }
});

const TEMPLATE: &str = r#"
    id = "patients"
    version = "1.0.0"
    title = "Patients"
    question = "How many patients were born since?"
    purposes = ["scientific-research"]
    categories = ["ehr"]
    parameters.since = { type = "integer", minimum = 1900, maximum = 2000 }
    [[tables]]
    name = "all"
    sql = "SELECT COUNT(DISTINCT person_id) AS n FROM person WHERE year_of_birth >= $since"
    rho = "0.005"
    contribution = { max_groups = 1, max_rows_per_group = 1 }
"#;

/// What the plan's thresholds cost.
fn delta() -> Delta {
    "2e-7".parse().expect("a delta")
}

fn plan(template: TemplateRef, source: &Template) -> Plan {
    Plan {
        template,
        engine: "tests".to_owned(),
        vocabulary: ContentHash::of_bytes(b"vocabulary"),
        tables: vec![TablePlan {
            name: ident("all"),
            totals: Vec::new(),
            keys: Vec::new(),
            data_key: None,
            contribution: source.tables[0].contribution,
            rho: source.tables[0].rho,
            delta: delta(),
            components: vec![Component {
                name: "n".to_owned(),
                unit: ComponentUnit::One,
                bound: 1,
                weight: 1,
            }],
            columns: Vec::new(),
        }],
    }
}

fn ident(text: &str) -> Ident {
    text.parse().expect("an identifier")
}

fn subject(text: &str) -> Subject {
    text.parse().expect("a subject")
}

fn rho(text: &str) -> Rho {
    text.parse().expect("a rho")
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).expect("in range")
}

fn rules() -> Rules {
    let body = WORLD.body.verifying_key();
    Rules {
        node: "hospital-a".parse().expect("a name"),
        access_bodies: KeyRing::new([(body, "Body".to_owned())]),
        max_rho_per_ask: rho("0.02"),
        min_rho_per_ask: rho("0.0001"),
    }
}

/// An ask with some faults, as a coordinator would send it.
struct Case(BTreeSet<u8>);

impl Case {
    fn new(faults: &[Fault]) -> Self {
        Self(faults.iter().map(|f| *f as u8).collect())
    }

    fn has(&self, fault: Fault) -> bool {
        self.0.contains(&(fault as u8))
    }

    fn pick<T>(&self, fault: Fault, wrong: T, right: T) -> T {
        if self.has(fault) { wrong } else { right }
    }

    fn question(&self) -> Question {
        let since = match () {
            () if self.has(F::WrongType) => "nineteen",
            () if self.has(F::OutOfDomain) => "1800",
            () => "1950",
        };
        let mut parameters = ward_schemas::parameter::RawParameters::new();
        parameters.insert(ident("since"), since.to_owned());
        if self.has(F::UnknownParameter) {
            parameters.insert(ident("until"), "1990".to_owned());
        }
        let rho = match () {
            () if self.has(F::RhoTooLarge) => Some(rho("0.3")),
            () if self.has(F::RhoTooSmall) => Some(rho("0.00009")),
            () if self.has(F::RhoZero) => Some(Rho::ZERO),
            () => None,
        };
        Question {
            template: WORLD.plan.template.clone(),
            parameters,
            rho,
            purpose: self.pick(
                F::WrongPurpose,
                Purpose::Education,
                Purpose::ScientificResearch,
            ),
        }
    }

    fn granted(&self) -> TemplateRef {
        let mut granted = WORLD.plan.template.clone();
        if self.has(F::WrongTemplate) {
            granted.id = ident("others");
        } else if self.has(F::OtherContentGranted) {
            granted.hash = ContentHash::of_bytes(b"other");
        }
        granted
    }

    fn permit(&self) -> Permit {
        let day = TimeDelta::days(1);
        let (valid_from, valid_until) = match () {
            () if self.has(F::NotYetValid) => (now() + day, now() + day * 2),
            () if self.has(F::Expired) => (now() - day, now()),
            () => (now(), now() + day),
        };
        Permit {
            v: PERMIT_FORMAT,
            id: "P-1".parse().expect("a permit"),
            version: 2,
            access_body: self.pick(F::OtherAccessBody, "Another", "Body").to_owned(),
            issued_at: now(),
            valid_from,
            valid_until,
            holder: Holder {
                organisation: "University".to_owned(),
                principal_investigator: "Ada".to_owned(),
                public_body: false,
            },
            persons: [subject(self.pick(F::WrongPerson, "eve@x", "ada@x"))].into(),
            purpose: match () {
                () if self.has(F::NoPublicBody) => Purpose::PublicHealth,
                () => Purpose::ScientificResearch,
            },
            templates: [self.granted()].into(),
            nodes: [self
                .pick(F::WrongNode, "hospital-b", "hospital-a")
                .parse()
                .expect("a name")]
            .into(),
            budget: rho("1"),
            budget_delta: Delta::ZERO,
            minimum_nodes: 1,
            requester_key: Some(WORLD.requester.verifying_key()),
        }
    }

    fn signature(&self) -> Option<String> {
        let mut question = self.question();
        if self.has(F::OtherSigned) {
            question.rho = Some(rho("0.001"));
        }
        let signed = SignedQuestion {
            permit: "P-1".parse().expect("a permit"),
            question,
        };
        let token = WORLD.requester.sign(MessageKind::Ask, &signed);
        (!self.has(F::Unsigned)).then(|| token.expect("a signature"))
    }

    fn token(&self) -> String {
        let key = self.pick(F::OtherKey, &WORLD.stranger, &WORLD.body);
        let token = key.sign(MessageKind::Permit, &self.permit());
        let token = token.expect("a signature");
        self.pick(F::NoToken, "permit".to_owned(), token)
    }

    fn bytes(&self) -> Vec<u8> {
        let ask = Ask {
            v: self.pick(F::OtherVersion, 9, ASK_FORMAT),
            question: self.question(),
            requester: subject("ada@x"),
            permit: self.token(),
            signature: self.signature(),
            witness: None,
        };
        let mut value = serde_json::to_value(ask).expect("JSON");
        if self.has(F::UnknownField) {
            value["extra"] = true.into();
        }
        let json = value.to_string();
        self.pick(F::NotJson, json[1..].into(), json.into())
    }

    fn witnessed(&self) -> Vec<(AuditHead, Option<ContentHash>)> {
        let hash = ContentHash::of_bytes(b"record 7");
        let own = match () {
            () if self.has(F::Truncated) => None,
            () if self.has(F::RolledBack) => Some(ContentHash::of_bytes(b"another record 7")),
            () => Some(hash),
        };
        vec![(AuditHead { sequence: 7, hash }, own)]
    }

    fn decide(&self) -> Result<Admitted, Box<Refusal>> {
        let caller = Caller {
            name: "coordinator.example".to_owned(),
            is_coordinator: !self.has(F::NoCoordinator),
        };
        let presented = present(&rules(), &caller, &self.bytes())?;
        let mut template = WORLD.template.clone();
        if self.has(F::TemplatePurpose) {
            template.purposes = [Purpose::Education].into();
        }
        let approved = ContentHash::of_bytes(b"approved");
        let standing = match () {
            () if self.has(F::NeverOffered) => Standing::Unknown,
            () if self.has(F::Withdrawn) => Standing::NotApproved(Decision::Withdrawn),
            () if self.has(F::OtherContentApproved) => Standing::Altered { approved },
            () => Standing::Approved {
                template: &template,
                plan: &WORLD.plan,
            },
        };
        let known = Known {
            newest_permit: Some(self.pick(F::Superseded, 3, 2)),
            witnessed: self.witnessed(),
            standing,
        };
        admit(&rules(), presented, &known, now())
    }
}

#[test]
fn a_good_ask_is_admitted() {
    let admitted = Case::new(&[]).decide().expect("admitted");
    assert_eq!(
        (admitted.loss.rho, admitted.loss.delta),
        (rho("0.005"), delta())
    );
    assert_eq!(admitted.parameters.len(), 1);
    assert_eq!(admitted.who.requester, Some(subject("ada@x")));
    assert_eq!(admitted.who.peer, "coordinator.example");
}

#[test]
fn every_single_fault_is_refused_with_its_code_and_a_remedy() {
    for (fault, code) in ALL {
        let refusal = Case::new(&[*fault]).decide().expect_err("refused");
        let Problem {
            code: found,
            detail,
            remedy,
        } = &refusal.problem;
        assert_eq!(found, code, "{fault:?}: {detail}");
        assert!(!detail.is_empty() && !detail.ends_with('.'), "{detail}");
        assert!(remedy.ends_with('.'), "{remedy}");
    }
}

#[test]
fn refusals_say_who_as_far_as_it_is_known() {
    let who = |fault| Case::new(&[fault]).decide().expect_err("refused").who;
    assert_eq!(who(F::NotJson).requester, None);
    assert_eq!(who(F::OtherKey).requester, Some(subject("ada@x")));
    assert_eq!(who(F::OtherKey).permit, None);
    assert_eq!(
        who(F::Expired).permit.map(|p| p.to_string()),
        Some("P-1".to_owned())
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_first_fault_decides(faults in subsequence(ALL, 0..=ALL.len())) {
        let case = Case::new(&faults.iter().map(|(f, _)| *f).collect::<Vec<_>>());
        match (case.decide(), faults.first()) {
            (Ok(_), None) => {}
            (Err(refusal), Some((_, code))) => prop_assert_eq!(refusal.problem.code, *code),
            (decision, first) => prop_assert!(false, "{:?}: {:?}", first, decision),
        }
    }

    #[test]
    fn an_altered_permit_never_passes(at in any::<Index>(), with in "[A-Za-z0-9_.-]") {
        let case = Case::new(&[]);
        let token = case.token();
        let at = at.index(token.len());
        prop_assume!(token[at..=at] != with);
        let altered = format!("{}{with}{}", &token[..at], &token[at + 1..]);
        let code = signed_permit(&rules(), &altered).expect_err("refused").code;
        prop_assert!(
            matches!(code, ErrorCode::PermitMalformed | ErrorCode::PermitNotTrusted),
            "{}", code
        );
    }

    #[test]
    fn arbitrary_bytes_are_malformed(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(read(&bytes).expect_err("refused").code, ErrorCode::MalformedRequest);
    }
}

#[test]
fn a_huge_ask_is_not_read() {
    let problem = read(&vec![b' '; MAX_ASK_BYTES + 1]).expect_err("refused");
    assert_eq!(problem.code, ErrorCode::MalformedRequest);
    assert!(problem.detail.contains("limit"), "{}", problem.detail);
}
