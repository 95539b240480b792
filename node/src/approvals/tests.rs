use super::*;
use crate::clock::SystemClock;
use crate::store::Setup;

fn template(id: &str, version: &str, content: &str) -> TemplateRef {
    TemplateRef {
        id: id.parse().expect("an identifier"),
        version: version.parse().expect("a version"),
        hash: ContentHash::of_bytes(content.as_bytes()),
    }
}

async fn inbox(templates: &[TemplateRef]) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::create(Setup {
        file: dir.path().join("state.db"),
        head_file: None,
        clock: Arc::new(SystemClock),
        max_clock_step: chrono::TimeDelta::days(30),
    });
    let store = store.await.expect("a store");
    for template in templates {
        let offered = offer(
            &store,
            template.clone(),
            "text".into(),
            "coordinator".into(),
        );
        assert_eq!(offered.await.expect("written"), Ok(Decision::Pending));
    }
    (dir, store)
}

async fn say(
    store: &Store,
    template: &TemplateRef,
    decision: Decision,
) -> Result<(), ApprovalError> {
    decide(store, template.clone(), decision, "steward".into())
        .await
        .expect("written")
}

async fn records(store: &Store) -> u64 {
    let mut db = store.read().await.expect("a connection");
    let head = audit::head(&mut db).await.expect("a head");
    head.map_or(0, |h| h.sequence)
}

#[tokio::test]
async fn an_offer_is_kept_once() {
    let first = template("patients", "1.0.0", "a");
    let (_dir, store) = inbox(std::slice::from_ref(&first)).await;
    say(&store, &first, Decision::Approved)
        .await
        .expect("approved");
    let before = records(&store).await;
    let again = offer(&store, first, "text".into(), "coordinator".into()).await;
    assert_eq!(again.expect("read"), Ok(Decision::Approved));
    assert_eq!(records(&store).await, before);
}

#[tokio::test]
async fn one_content_of_a_version_is_approved() {
    let (one, other) = (
        template("patients", "1.0.0", "a"),
        template("patients", "1.0.0", "b"),
    );
    let next = template("patients", "1.1.0", "c");
    let (_dir, store) = inbox(&[one.clone(), other.clone(), next.clone()]).await;
    say(&store, &one, Decision::Approved)
        .await
        .expect("approved");
    let before = records(&store).await;
    let refused = say(&store, &other, Decision::Approved)
        .await
        .expect_err("another is");
    assert!(
        refused.to_string().contains("withdraw that one first"),
        "{refused}"
    );
    assert_eq!(records(&store).await, before, "nothing was written");
    say(&store, &next, Decision::Approved)
        .await
        .expect("another version");
    say(&store, &one, Decision::Withdrawn)
        .await
        .expect("withdrawn");
    say(&store, &other, Decision::Approved)
        .await
        .expect("now it can be");
}

#[tokio::test]
async fn only_steps_that_make_sense() {
    let one = template("patients", "1.0.0", "a");
    let (_dir, store) = inbox(std::slice::from_ref(&one)).await;
    let refused = say(&store, &one, Decision::Withdrawn)
        .await
        .expect_err("not approved");
    assert!(
        refused
            .to_string()
            .contains("is pending and can't become withdrawn"),
        "{refused}"
    );
    say(&store, &one, Decision::Rejected)
        .await
        .expect("rejected");
    say(&store, &one, Decision::Approved)
        .await
        .expect("on second thoughts");
    assert!(say(&store, &one, Decision::Rejected).await.is_err());
    assert!(say(&store, &one, Decision::Pending).await.is_err());
    let unknown = template("others", "1.0.0", "z");
    let refused = say(&store, &unknown, Decision::Approved)
        .await
        .expect_err("never offered");
    assert!(refused.to_string().contains("template list"), "{refused}");
}

#[tokio::test]
async fn a_steward_names_templates_in_short() {
    let templates = [
        template("patients", "1.0.0", "a"),
        template("patients", "1.1.0", "b"),
        template("drugs", "1.0.0", "c"),
    ];
    let (_dir, store) = inbox(&templates).await;
    let mut db = store.read().await.expect("a connection");
    let entries = list(&mut db).await.expect("entries");
    let selected = |text: &str| select(entries.clone(), text).map(|e| e.template);
    assert_eq!(selected("drugs"), Ok(templates[2].clone()));
    assert_eq!(selected("patients@1.1.0"), Ok(templates[1].clone()));
    assert_eq!(
        selected(&templates[0].hash.short()),
        Ok(templates[0].clone())
    );
    assert_eq!(
        selected(&templates[0].hash.to_string()),
        Ok(templates[0].clone())
    );
    let several = selected("patients").expect_err("two of them");
    assert!(several.to_string().contains("patients@1.0.0"), "{several}");
    assert!(matches!(
        selected("nothing"),
        Err(ApprovalError::Unknown(_))
    ));
}
