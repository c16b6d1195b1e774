//! The status page: hosts, links, addresses and conflicts of the cluster, as this host's agent sees them. Three sheets that never
//! change, and one of JSON that is made anew each second while somebody looks.

mod view;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::agent::Seen;
use super::agent::clock::Moment;
use crate::frontend::daemon::serve::{Page, Sheet};
use view::View;

/// How often it is made anew.
const PULSE: Duration = Duration::from_millis(700);
/// Nobody has looked for so long: it is not made until somebody does.
const WATCHED: Duration = Duration::from_secs(10);

/// The page.
pub struct StatusPage {
    inner: Arc<Mutex<Inner>>,
    /// Until the thread has begun.
    seen: Mutex<Option<Seen>>,
}

struct Inner {
    json: Vec<u8>,
    asked: Option<Moment>,
}

impl StatusPage {
    /// What the agent sees, as a page.
    pub fn new(seen: Seen) -> Self {
        let inner = Inner { json: br#"{"ready":false}"#.to_vec(), asked: None };
        Self { inner: Arc::new(Mutex::new(inner)), seen: Mutex::new(Some(seen)) }
    }

    /// Begins when somebody looks first, and not before the daemon holds its signals: a thread from before would be ended by them.
    /// It ends with the process.
    fn begin(&self) {
        let Some(seen) = self.seen.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let own = self.inner.clone();
        let work = move || loop {
            let asked = own.lock().unwrap_or_else(PoisonError::into_inner).asked;
            if asked.is_some_and(|asked| Moment::now().since(asked) < WATCHED)
                && let Ok(json) = serde_json::to_vec(&View::of(&seen))
            {
                own.lock().unwrap_or_else(PoisonError::into_inner).json = json;
                std::thread::sleep(PULSE);
            } else {
                std::thread::sleep(Duration::from_millis(50));
            }
        };
        // Without a thread the page says that it waits for the agent.
        let _ = std::thread::Builder::new().name("page".into()).spawn(work);
    }
}

impl Page for StatusPage {
    fn sheet(&self, path: &str) -> Option<Sheet> {
        let fixed = |kind, text: &str| Some(Sheet { kind, bytes: text.as_bytes().to_vec() });
        match path {
            "/" => fixed("text/html; charset=utf-8", include_str!("page.html")),
            "/page.css" => fixed("text/css; charset=utf-8", include_str!("page.css")),
            "/page.js" => fixed("text/javascript; charset=utf-8", include_str!("page.js")),
            "/v1/cluster" => {
                self.begin();
                let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
                inner.asked = Some(Moment::now());
                Some(Sheet { kind: "application/json", bytes: inner.json.clone() })
            }
            _ => None,
        }
    }
}
