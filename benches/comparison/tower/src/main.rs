//! The comparison's application on tower-sessions: `memory PORT SECONDS`, `sled PORT SECONDS FOLDER`, or `corrupt FOLDER`.
//!
//! The sled store goes with tower-sessions 0.14 only; the memory store is the one of 0.15. Logins, logouts and slow changes are
//! written as the examples of tower-sessions write them.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many requests hold a session and wait, and how many may go on.
static WAITING: AtomicUsize = AtomicUsize::new(0);
static GO: AtomicUsize = AtomicUsize::new(0);

async fn wait_for_go() {
    let turn = GO.load(Ordering::SeqCst);
    WAITING.fetch_add(1, Ordering::SeqCst);
    while GO.load(Ordering::SeqCst) == turn {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    WAITING.fetch_sub(1, Ordering::SeqCst);
}

macro_rules! application {
    ($module:ident, $sessions:ident) => {
        mod $module {
            use std::sync::atomic::Ordering;

            use axum::http::StatusCode;
            use axum::{Router, extract::Query, routing::any};
            use $sessions::cookie::time::Duration;
            use $sessions::{Expiry, Session, SessionManagerLayer, SessionStore};

            use super::{GO, WAITING, wait_for_go};

            type Answer = Result<String, (StatusCode, String)>;

            fn failed(error: impl ToString) -> (StatusCode, String) {
                (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }

            async fn login(session: Session) -> Answer {
                session.cycle_id().await.map_err(failed)?;
                session.insert("user", "alice").await.map_err(failed)?;
                Ok("in".into())
            }

            async fn logout(session: Session) -> Answer {
                session.flush().await.map_err(failed)?;
                Ok("out".into())
            }

            async fn whoami(session: Session) -> Answer {
                let user: Option<String> = session.get("user").await.map_err(failed)?;
                user.ok_or((StatusCode::UNAUTHORIZED, "nobody".into()))
            }

            async fn set(session: Session, Query(query): Query<Vec<(String, String)>>) -> Answer {
                let _: Option<String> = session.get("user").await.map_err(failed)?;
                wait_for_go().await;
                for (name, value) in query {
                    session.insert(&name, value).await.map_err(failed)?;
                }
                Ok("set".into())
            }

            async fn keys(session: Session) -> Answer {
                let mut found = Vec::new();
                for name in ["a", "b"] {
                    if session.get::<String>(name).await.map_err(failed)?.is_some() {
                        found.push(name);
                    }
                }
                Ok(found.join(","))
            }

            pub async fn serve<S: SessionStore + Clone>(store: S, port: &str, seconds: i64) {
                let layer = SessionManagerLayer::new(store)
                    .with_secure(false)
                    .with_expiry(Expiry::OnInactivity(Duration::seconds(seconds)));
                let app = Router::new()
                    .route("/login", any(login))
                    .route("/logout", any(logout))
                    .route("/whoami", any(whoami))
                    .route("/set", any(set))
                    .route("/keys", any(keys))
                    .layer(layer)
                    .route("/waiting", any(|| async { WAITING.load(Ordering::SeqCst).to_string() }))
                    .route("/go", any(|| async { GO.fetch_add(1, Ordering::SeqCst).to_string() }));
                let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await.unwrap();
                axum::serve(listener, app).await.unwrap();
            }
        }
    };
}

application!(newest, sessions_0_15);
application!(with_sled, sessions_0_14);

/// Puts bytes that are no record in the place of every session's value, in any tree of a sled store. Prints how many.
fn corrupt(folder: &str) {
    let db = sled::open(folder).unwrap();
    let mut changed = 0;
    for name in db.tree_names() {
        let tree = db.open_tree(name).unwrap();
        for key in tree.iter().keys().map(Result::unwrap) {
            // Our own store keeps a summary under a short key; sessions have 16 or 32 bytes.
            if key.len() >= 16 {
                tree.insert(key, b"\xc1 no record").unwrap();
                changed += 1;
            }
        }
    }
    db.flush().unwrap();
    println!("{changed}");
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["memory", port, seconds] => {
            newest::serve(sessions_0_15::MemoryStore::default(), port, seconds.parse().unwrap()).await
        }
        ["sled", port, seconds, folder] => {
            let tree = sled::open(folder).unwrap().open_tree("session").unwrap();
            with_sled::serve(tower_sessions_sled_store::SledStore::new(tree), port, seconds.parse().unwrap()).await
        }
        ["corrupt", folder] => corrupt(folder),
        _ => panic!("memory PORT SECONDS, sled PORT SECONDS FOLDER, or corrupt FOLDER"),
    }
}
