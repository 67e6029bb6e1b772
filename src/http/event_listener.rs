//! One who listens: what was missed first, then what happens. It is told or dropped, never waited for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::event_filter::Filter;
use super::event_frames::{NOTHING, event, first, place, reset};
use super::events::Place;
use crate::events::Item;
use crate::events::missed::{Begin, Missed};

/// How often a listener hears something at least: proxies end a connection that is silent for a minute or less.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What it is told with.
#[derive(Debug)]
pub struct Listener {
    news: broadcast::Receiver<Arc<Item>>,
    end: CancellationToken,
    silence: Duration,
    filter: Filter,
    /// What is to be said before anything else.
    first: Option<Bytes>,
    missed: Option<Box<Missed>>,
    /// What was committed up to these numbers is not news.
    known: BTreeMap<String, i64>,
    /// Where it stands since events that it did not want.
    stands: Option<Arc<Item>>,
    _place: Place,
}

impl Listener {
    /// Begins where it was found.
    pub fn new(
        news: broadcast::Receiver<Arc<Item>>,
        end: CancellationToken,
        begin: Begin,
        filter: Filter,
        held: Place,
    ) -> Self {
        let mut text = BytesMut::new();
        let (mut missed, mut known) = (None, BTreeMap::new());
        match begin {
            Begin::Now(cursor) => {
                text.extend_from_slice(&first(cursor.as_ref().map(|it| it.text("")).as_deref()));
                known = cursor.map(|it| it.told).unwrap_or_default();
            }
            Begin::Missed(it) => {
                text.extend_from_slice(&first(None));
                known.clone_from(&it.end().told);
                missed = Some(it);
            }
            Begin::Reset(why, cursor) => {
                let stands = cursor.as_ref().map(|it| it.text(""));
                text.extend_from_slice(&first(None));
                text.extend_from_slice(&reset(why, stands.as_deref()));
                known = cursor.map(|it| it.told).unwrap_or_default();
            }
        }
        let first = Some(text.freeze());
        let (silence, stands) = (KEEP_ALIVE, None);
        Self { news, end, silence, filter, first, missed, known, stands, _place: held }
    }

    /// The next bytes; none when the service stops, this one is too far behind, or what it missed cannot be read.
    pub async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let end = self.end.clone();
        tokio::select! {
            biased;
            () = end.cancelled() => None,
            text = self.tell() => text,
        }
    }

    async fn tell(&mut self) -> Option<Bytes> {
        while let Some(missed) = &mut self.missed {
            // Without the database it comes again, from where it stands by then.
            let Some(page) = missed.next().await.ok()? else {
                let stands = place(&missed.end().text(""));
                self.missed = None;
                return Some(stands);
            };
            let mut text = BytesMut::new();
            for news in page.iter().filter(|news| self.filter.takes(news)) {
                text.extend_from_slice(&event(news));
            }
            if !text.is_empty() {
                return Some(text.freeze());
            }
        }
        let silence = tokio::time::sleep(self.silence);
        tokio::pin!(silence);
        loop {
            let item = tokio::select! {
                () = &mut silence => return Some(self.still_here()),
                item = self.news.recv() => item.ok()?,
            };
            if self.is_known(&item) {
                continue;
            }
            if self.filter.takes(&item) {
                if item.committed.is_some() {
                    self.stands = None;
                }
                return Some(item.text(event));
            }
            if item.committed.is_some() {
                self.stands = Some(item);
            }
        }
    }

    fn is_known(&self, item: &Item) -> bool {
        item.committed
            .as_ref()
            .is_some_and(|it| self.known.get(&it.instance).is_some_and(|known| it.seq <= *known))
    }

    /// Said in silence: where it stands, if that moved.
    fn still_here(&mut self) -> Bytes {
        let stands = self.stands.take();
        let committed = stands.as_ref().and_then(|item| item.committed.as_ref());
        committed.map_or(NOTHING, |it| place(&it.place))
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::Streams;
    use super::super::query::Params;
    use super::*;
    use crate::domain::Timestamp;
    use crate::events::cursor::Cursor;
    use crate::events::{Committed, Hub, News, Subject};

    fn news(seq: Option<i64>) -> News {
        let subject = Subject::Node { id: 7, name: "n".to_owned() };
        let committed = seq.map(|seq| Committed {
            instance: "a".to_owned(),
            seq,
            place: format!("a:{seq}@61"),
        });
        News { subject, state: "down".to_owned(), reason: None, at: Timestamp(61_000), committed }
    }

    async fn listener(hub: &Hub, begin: Begin, query: &str) -> Listener {
        let filter = Filter::of(&Params::parse(Some(query))).unwrap();
        let held = Streams::default().place().unwrap();
        let end = CancellationToken::new();
        let mut listener = Listener::new(hub.listen(), end, begin, filter, held);
        assert!(listener.next().await.unwrap().starts_with(b": what"));
        listener
    }

    #[tokio::test]
    async fn a_text_is_made_once_and_one_that_is_behind_is_dropped() {
        let hub = Hub::default();
        let mut first = listener(&hub, Begin::Now(None), "").await;
        let mut second = listener(&hub, Begin::Now(None), "").await;
        let mut slow = listener(&hub, Begin::Now(None), "").await;
        hub.tell(news(None));
        let (one, two) = (first.next().await.unwrap(), second.next().await.unwrap());
        assert_eq!(one.as_ptr(), two.as_ptr(), "the same bytes");
        for _ in 0..100_000 {
            hub.tell(news(None));
            assert!(first.next().await.is_some());
        }
        assert!(slow.next().await.is_none());
        first.end.cancel();
        assert!(first.next().await.is_none());
    }

    #[tokio::test]
    async fn silence_is_broken_for_the_proxies_and_says_where_it_stands() {
        let hub = Hub::default();
        let mut one = listener(&hub, Begin::Now(None), "kinds=observed").await;
        one.silence = Duration::from_millis(10);
        assert_eq!(one.next().await.unwrap(), NOTHING);
        hub.tell(news(Some(4)));
        hub.tell(news(Some(5)));
        assert_eq!(one.next().await.unwrap(), "id: a:5@61\n\n", "although it wants none of them");
        assert_eq!(one.next().await.unwrap(), NOTHING);
    }

    #[tokio::test]
    async fn what_was_committed_before_it_began_is_no_news() {
        let hub = Hub::default();
        let mut cursor = Cursor::default();
        cursor.move_to("a", 5, Timestamp::from_secs(9));
        let mut one = listener(&hub, Begin::Reset("too_old", Some(cursor)), "kinds=flip").await;
        for seq in [4, 5, 6] {
            hub.tell(news(Some(seq)));
        }
        assert!(one.next().await.unwrap().starts_with(b"event: node\nid: a:6@61\n"));
    }
}
