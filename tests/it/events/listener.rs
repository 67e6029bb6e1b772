//! A client of `GET /events`.

use reqwest::Method;
use serde_json::Value;

use crate::nodes::SOON;
use crate::support::Warden;

/// One event as a client reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `node`, `migration` or `reset`.
    pub word: String,
    /// Of a flip.
    pub id: Option<String>,
    /// What it says.
    pub data: Value,
}

/// A client that listens.
pub struct Listener {
    answer: reqwest::Response,
    text: String,
    stands: Option<String>,
}

impl Listener {
    /// Listens; the first line is here.
    pub async fn of(warden: &Warden, path: &str) -> Self {
        Self::from(warden, path, None).await
    }

    /// The same from where it stood.
    pub async fn from(warden: &Warden, path: &str, last: Option<&str>) -> Self {
        let mut request = warden.request(Method::GET, path);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let mut listener = Self { answer, text: String::new(), stands: None };
        listener.block().await.expect("the first line");
        listener
    }

    /// The last `id:` that came, with an event or alone.
    pub fn stands(&self) -> Option<&str> {
        self.stands.as_deref()
    }

    /// The next block of lines; none at the end of the stream.
    pub async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_string();
                let id = block.lines().find_map(|line| line.strip_prefix("id: "));
                self.stands = id.map(str::to_owned).or_else(|| self.stands.take());
                return Some(block);
            }
            let chunk = tokio::time::timeout(SOON, self.answer.chunk()).await;
            let chunk = chunk.unwrap_or_else(|_| panic!("silence after {:?}", self.text));
            self.text.push_str(std::str::from_utf8(&chunk.unwrap()?).unwrap());
        }
    }

    /// The next event.
    pub async fn event(&mut self) -> Event {
        loop {
            let block = self.block().await.expect("no end");
            let field = |name: &str| {
                block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
            };
            let Some(word) = field("event: ") else { continue };
            let data = serde_json::from_str(&field("data: ").unwrap()).unwrap();
            let event = Event { word, id: field("id: "), data };
            let has_id = event.data["kind"] == "flip";
            assert!(event.word == "reset" || event.id.is_some() == has_id, "{event:?}");
            return event;
        }
    }

    /// The next event that is on record, whatever was observed and said between.
    pub async fn flip(&mut self) -> Event {
        loop {
            let event = self.event().await;
            if event.id.is_some() {
                return event;
            }
        }
    }

    /// The next that are on record.
    pub async fn flips(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..count {
            events.push(self.flip().await);
        }
        events
    }
}
