use std::collections::BTreeMap;
use std::sync::Mutex;

use ward_cli::profile::Profile;
use ward_node::Steward;
use ward_schemas::jws::{KeyRing, MessageKind};
use ward_schemas::permit::Permit;
use ward_synthetic::Mix;

use super::*;

fn hospital(name: &str, mix: Mix) -> Hospital {
    Hospital {
        name: name.parse().expect("name"),
        source: Source::Synthetic {
            seed: 7,
            patients: 30,
            mix,
        },
    }
}

fn options(dir: &Path) -> Options {
    let hospitals = vec![
        hospital("hospital-a", Mix::General),
        hospital("hospital-b", Mix::Rural),
    ];
    Options::new(dir, hospitals)
}

/// Remembers what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<Step>>);

impl Progress for Told {
    fn step(&self, step: &Step) {
        self.0
            .lock()
            .expect("no panic while locked")
            .push(step.clone());
    }
}

#[tokio::test]
async fn a_deployment_is_whole_and_its_parts_know_each_other() {
    let dir = tempfile::tempdir().expect("directory");
    let told = Told::default();
    let mut options = options(dir.path());
    options.policy.yearly_rho = "0.25".parse().expect("rho");
    options.answers.reply_tick_ms = 60;
    let mut made = Deployment::create(options, &told)
        .await
        .expect("deployment");

    let coordinator = SocketAddr::from(([127, 0, 0, 1], 7400));
    let mut addresses = BTreeMap::new();
    for (port, name) in (7401..).zip(made.nodes()) {
        addresses.insert(name.clone(), SocketAddr::from(([127, 0, 0, 1], port)));
    }
    made.set_addresses(coordinator, &addresses)
        .expect("written");

    let config = ward_coordinator::Config::load(&made.coordinator_config()).expect("valid");
    assert_eq!(config.listen, coordinator);
    assert_eq!(config.nodes[1].address.as_str(), "127.0.0.1:7402");
    for (at, name) in made.nodes().iter().enumerate() {
        let node = ward_node::Config::load(&made.node_config(name)).expect("valid");
        assert_eq!(node.listen, addresses[name].to_string());
        assert_eq!(node.policy.yearly_rho.to_string(), "0.25");
        assert_eq!(node.answers.reply_tick_ms, 60);
        let url = node.coordinator.as_ref().expect("coordinator").url.clone();
        assert_eq!(url.as_str(), "https://127.0.0.1:7400/");
        let key = ward_node::node::verifying_key(&node).expect("key");
        assert_eq!(config.nodes[at].key, key);

        let steward = Steward::open(node).await.expect("state");
        let status = steward.status().await.expect("status");
        assert_eq!(status.approved, library::TEMPLATES.len());
        assert!(status.snapshot.is_some() && status.vocabulary_present);
        let head = steward.audit_verify(None).await.expect("whole log");
        assert!(head.is_some_and(|h| h.sequence > 12));
    }

    let profile = std::fs::read_to_string(made.profile()).expect("profile");
    let requester = made.dir().join("requester");
    let profile = Profile::parse(&profile, &requester).expect("valid");
    ward_cli::client::Client::new(&profile).expect("usable files");

    let steps = told.0.lock().expect("no panic while locked");
    let ready = steps.iter().filter(|s| matches!(s, Step::Ready { .. }));
    assert_eq!(ready.count(), 2);
}

#[tokio::test]
async fn permits_verify_and_take_other_terms() {
    let dir = tempfile::tempdir().expect("directory");
    let mut options = options(dir.path());
    options.hospitals.truncate(1);
    options.approve = false;
    let made = Deployment::create(options, &Silent)
        .await
        .expect("deployment");
    let ring = KeyRing::new([(made.access_body_key().verifying_key(), ())]);
    let read = |token: &str| {
        let (permit, ()) = ring
            .verify::<Permit>(MessageKind::Permit, token)
            .expect("signed");
        permit
    };

    let file = std::fs::read_to_string(made.permit_file()).expect("file");
    let usual = read(&file);
    assert_eq!(usual.templates, *made.templates());
    assert_eq!(usual.minimum_nodes, 1);

    let terms = PermitTerms {
        templates: vec!["patients_by_age_and_sex".parse().expect("template")],
        budget: Some("0.01".parse().expect("rho")),
        ..PermitTerms::default()
    };
    let narrow = read(&made.permit(terms).expect("issued"));
    assert_eq!(narrow.templates.len(), 1);
    assert_eq!(narrow.budget.to_string(), "0.01");

    let config = ward_node::Config::load(&made.node_config(&made.nodes()[0])).expect("valid");
    let steward = Steward::open(config).await.expect("state");
    let status = steward.status().await.expect("status");
    assert_eq!(
        (status.approved, status.pending),
        (0, library::TEMPLATES.len())
    );
}

#[tokio::test]
async fn bad_options_are_refused_with_the_remedy() {
    let refuse = async |options: Options| {
        let made = Deployment::create(options, &Silent).await;
        made.map(|_| ()).expect_err("refused").to_string()
    };
    let dir = tempfile::tempdir().expect("directory");
    let none = Options::new(dir.path(), Vec::new());
    assert!(refuse(none).await.contains("at least one"));
    let twice = Options::new(
        dir.path(),
        vec![hospital("a", Mix::Rural), hospital("a", Mix::Rural)],
    );
    assert!(refuse(twice).await.contains("give every hospital its own"));
    std::fs::write(dir.path().join("mine"), "").expect("written");
    assert!(
        refuse(options(dir.path()))
            .await
            .contains("another directory")
    );
}
