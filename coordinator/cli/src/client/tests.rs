use super::*;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::routing::{get, post};
use ward_schemas::ask::Question;
use ward_schemas::ehds::Purpose;
use ward_schemas::problem::ErrorCode;
use ward_schemas::template::TemplateRef;

use crate::render::tests::{release, template_ref};

/// A client of a server on loopback that answers like a coordinator.
async fn client(router: Router) -> Client {
    ward_transport::install_crypto_provider();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("port");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    let base = format!("http://{address}/ward/").parse().expect("url");
    let http = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("client");
    Client::over(http, base, Some("secret".to_owned().into()))
}

fn answering(path: &str, status: u16, body: String) -> Router {
    let status = StatusCode::from_u16(status).expect("status");
    let answer = move || async move { (status, body) };
    Router::new().route(path, get(answer.clone()).post(answer))
}

fn request() -> AskRequest {
    let template: TemplateRef = template_ref();
    AskRequest {
        v: 1,
        question: Question {
            template,
            parameters: std::collections::BTreeMap::new(),
            rho: None,
            purpose: Purpose::ScientificResearch,
        },
        permit: "a.b.c".into(),
        signature: None,
    }
}

fn lines(events: &[AskEvent]) -> String {
    let line = |event| serde_json::to_string(event).expect("json") + "\n";
    events.iter().map(line).collect()
}

fn accepted() -> AskEvent {
    AskEvent::Accepted {
        release: release().id,
        nodes: vec!["hospital-a".parse().expect("name")],
    }
}

fn done() -> AskEvent {
    AskEvent::Done {
        release: Box::new(release()),
    }
}

#[tokio::test]
async fn an_ask_tells_its_events_and_ends_with_the_release() {
    let body = lines(&[accepted()]) + "\n" + lines(&[done()]).trim_end();
    let client = client(answering("/ward/v1/asks", 200, body)).await;
    let mut seen = Vec::new();
    let answer = client
        .ask(&request(), |event| seen.push(event.clone()))
        .await;
    assert_eq!(answer.expect("release"), release());
    assert_eq!(seen, [accepted(), done()]);
}

#[tokio::test]
async fn a_cut_connection_names_the_release_to_fetch() {
    let client = client(answering("/ward/v1/asks", 200, lines(&[accepted()]))).await;
    let error = client.ask(&request(), |_| {}).await.expect_err("cut");
    let text = error.to_string();
    let hint = format!("ward release show {}", release().id);
    assert!(text.contains(&hint), "{text}");
}

#[tokio::test]
async fn a_failed_ask_keeps_what_the_nodes_did() {
    let problem = Problem::new(ErrorCode::TooFewNodes, "1 of 2 answered", "Ask later");
    let nodes = release().nodes;
    let failed = AskEvent::Failed {
        problem: problem.clone(),
        nodes: nodes.clone(),
    };
    let client = client(answering(
        "/ward/v1/asks",
        200,
        lines(&[accepted(), failed]),
    ))
    .await;
    match client.ask(&request(), |_| {}).await {
        Err(ClientError::Failed {
            problem: p,
            nodes: n,
        }) => assert_eq!((p, n), (problem, nodes)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn problem_documents_become_typed_errors() {
    let problem = Problem::new(ErrorCode::PermitExpired, "it expired", "Get a new one");
    let body = serde_json::to_string(&problem.document()).expect("json");
    let client = client(answering("/ward/v1/quotes", 403, body)).await;
    match client.quote(&request()).await {
        Err(ClientError::Problem(p)) => assert_eq!(p, problem),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn other_servers_are_told_apart() {
    let router = answering("/ward/v1/whoami", 502, "<html>".into()).merge(answering(
        "/ward/v1/templates",
        200,
        "<html>".into(),
    ));
    let client = client(router).await;
    let status = client.whoami().await.expect_err("no problem document");
    assert!(matches!(status, ClientError::Status { .. }), "{status}");
    let answer = client.templates().await.expect_err("no JSON");
    assert!(matches!(answer, ClientError::Answer { .. }), "{answer}");
}

#[tokio::test]
async fn nobody_listening_names_url_and_remedy() {
    let mut client = client(Router::new()).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("port");
    let address = free.local_addr().expect("address");
    drop(free);
    client.base = format!("http://{address}").parse().expect("url");
    let error = client.whoami().await.expect_err("nobody").to_string();
    assert!(
        error.contains(&address.to_string()) && error.contains("profile"),
        "{error}"
    );
}

#[tokio::test]
async fn the_token_and_the_ask_arrive() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let handler = move |request: Request| async move {
        let token = request.headers()[AUTHORIZATION]
            .to_str()
            .expect("text")
            .to_owned();
        let body = axum::body::to_bytes(request.into_body(), 1 << 20)
            .await
            .expect("body");
        let ask: AskRequest = serde_json::from_slice(&body).expect("ask");
        log.lock().expect("log").push((token, ask));
        r#"{"nodes":[],"assumed":{"nodes":0,"group":1000},"costs":[]}"#
    };
    let client = client(Router::new().route("/ward/v1/quotes", post(handler))).await;
    client.quote(&request()).await.expect("quote");
    let seen = seen.lock().expect("log");
    assert_eq!(*seen, [("Bearer secret".to_owned(), request())]);
}
