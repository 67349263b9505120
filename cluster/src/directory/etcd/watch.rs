//! A watch in etcd.

use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{Event, WatchOptions, WatchRequestSender, WatchResponse, WatchResponseStream};
use tokio::time::Instant;

use super::calls::{end_of, entry};
use super::{EtcdDirectory, Failure, Link, revision, signed};
use crate::directory::{Revision, Watch, WatchBatch, WatchError, WatchEvent};

/// Most bytes of one message. etcd puts up to 1,000 revisions into one.
const MESSAGE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// How often a quiet watch is asked for its progress. etcd closes links that ask for signs of life more often than
/// it sends anything.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct EtcdWatch {
    link: Link,
    requests: WatchRequestSender,
    messages: WatchResponseStream,
    /// Everything up to here has been delivered. etcd's own word for it is not taken: before 3.4.25 and 3.5.8 a
    /// progress that was asked for may name a revision whose events are still to come.
    delivered: Revision,
    /// The caller has asked for progress.
    progress_wanted: bool,
    ask_at: Instant,
    ended: Option<WatchError>,
}

impl EtcdWatch {
    pub(super) async fn open(
        directory: &EtcdDirectory,
        prefix: &str,
        from: Revision,
    ) -> Result<Self, Failure> {
        // To etcd, 0 means from now on.
        let from = from.max(Revision(1));
        let options = WatchOptions::new().with_range(end_of(prefix)).with_start_revision(signed(from.0));
        let opened = directory.call_over_link(|client| async move {
            client
                .watch_client()
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .watch(prefix, Some(options))
                .await
        });
        let (stream, link) = opened.await?;
        let (requests, messages) = stream.split();
        Ok(Self {
            link,
            requests,
            messages,
            delivered: Revision(from.0 - 1),
            progress_wanted: false,
            ask_at: Instant::now() + PROGRESS_INTERVAL,
            ended: None,
        })
    }

    /// What a message brings for the caller, if anything.
    fn take(&mut self, message: &WatchResponse) -> Option<Result<WatchBatch, WatchError>> {
        if message.canceled() {
            return Some(Err(match message.compact_revision() {
                0 => self.broken(),
                compacted => WatchError::Compacted { compacted: revision(compacted) },
            }));
        }
        if message.created() {
            return None;
        }
        let events: Vec<_> = message.events().iter().filter_map(event).collect();
        if events.is_empty() && !self.progress_wanted {
            return None;
        }
        for event in &events {
            self.delivered = self.delivered.max(match event {
                WatchEvent::Put(entry) => entry.mod_revision,
                WatchEvent::Deleted { revision, .. } => *revision,
            });
        }
        self.progress_wanted = false;
        Some(Ok(WatchBatch { events, revision: self.delivered }))
    }

    async fn ask(&mut self) -> Result<(), WatchError> {
        self.ask_at = Instant::now() + PROGRESS_INTERVAL;
        let asked = self.requests.request_progress().await;
        asked.map_err(|_| *self.ended.insert(self.broken()))
    }

    /// The stream has ended, so the member may be gone: calls shall not have to find that out again.
    fn broken(&self) -> WatchError {
        self.link.leave();
        WatchError::Broken
    }
}

/// An event; nothing for a key that is no text. A deletion's entry has no revision of creation.
fn event(event: &Event) -> Option<WatchEvent> {
    let entry = entry(event.kv()?)?;
    Some(match entry.create_revision {
        Revision::ABSENT => WatchEvent::Deleted { key: entry.key, revision: entry.mod_revision },
        _ => WatchEvent::Put(entry),
    })
}

#[async_trait]
impl Watch for EtcdWatch {
    async fn next(&mut self) -> Result<WatchBatch, WatchError> {
        loop {
            if let Some(ended) = self.ended {
                return Err(ended);
            }
            let message = tokio::select! {
                message = self.messages.message() => message,
                () = tokio::time::sleep_until(self.ask_at) => {
                    self.ask().await?;
                    continue;
                }
            };
            self.ask_at = Instant::now() + PROGRESS_INTERVAL;
            let taken = match message {
                Ok(Some(message)) => self.take(&message),
                Ok(None) | Err(_) => Some(Err(self.broken())),
            };
            match taken {
                Some(Ok(batch)) => return Ok(batch),
                Some(Err(ended)) => self.ended = Some(ended),
                None => {}
            }
        }
    }

    async fn request_progress(&mut self) -> Result<(), WatchError> {
        if let Some(ended) = self.ended {
            return Err(ended);
        }
        self.progress_wanted = true;
        self.ask().await
    }
}
