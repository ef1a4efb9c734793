//! A live stream as it arrives: what, and when.

use std::time::Duration;

use http::HeaderMap;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Something that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// `id:` of a frame with data.
    Frame(String),
    /// `: keep-alive`.
    Comment,
    /// Nothing comes any more: in order, or why not.
    End(Result<(), String>),
}

/// A live stream that is being read in a task of its own. Dropped: given up.
pub(super) struct Reader {
    receiver: mpsc::Receiver<(Instant, Heard)>,
    task: tokio::task::JoinHandle<()>,
    /// All that has arrived, with the time.
    pub(super) heard: Vec<(Instant, Heard)>,
    /// Headers, when they have come.
    pub(super) head: tokio::sync::watch::Receiver<Option<(u16, HeaderMap)>>,
}

impl Reader {
    /// Reads what `opening` answers with.
    pub(super) fn start(
        opening: impl Future<Output = anyhow::Result<http::Response<Incoming>>> + Send + 'static,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(64);
        let (told, head) = tokio::sync::watch::channel(None);
        let task = tokio::spawn(async move {
            let end = match opening.await {
                Err(error) => Err(format!("{error:#}")),
                Ok(response) => {
                    let (parts, body) = response.into_parts();
                    let _ = told.send(Some((parts.status.as_u16(), parts.headers)));
                    read(body, &sender).await
                }
            };
            let _ = sender.send((Instant::now(), Heard::End(end))).await;
            // Whoever asks for the head hears that none comes from the end of this task only.
            drop(told);
        });
        Reader { receiver, task, heard: Vec::new(), head }
    }

    /// Listens until `enough`, or for `wait` at most. Whether it was enough.
    pub(super) async fn listen(&mut self, wait: Duration, enough: impl Fn(&[(Instant, Heard)]) -> bool) -> bool {
        let end = Instant::now() + wait;
        while !enough(&self.heard) {
            match timeout_at(end, self.receiver.recv()).await {
                Ok(Some(heard)) => self.heard.push(heard),
                Ok(None) | Err(_) => return false,
            }
        }
        true
    }

    /// When the frame with this id arrived.
    pub(super) fn arrived(&self, id: &str) -> Option<Instant> {
        self.heard.iter().find_map(|(at, heard)| matches!(heard, Heard::Frame(found) if found == id).then_some(*at))
    }

    /// When and how it ended.
    pub(super) fn ended(&self) -> Option<(Instant, Result<(), String>)> {
        self.heard.iter().find_map(|(at, heard)| match heard {
            Heard::End(how) => Some((*at, how.clone())),
            _ => None,
        })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(mut body: Incoming, sender: &mpsc::Sender<(Instant, Heard)>) -> Result<(), String> {
    let mut lines = Lines::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| error.to_string())?;
        let at = Instant::now();
        for heard in lines.feed(frame.data_ref().map_or(&[], |data| data)) {
            let _ = sender.send((at, heard)).await;
        }
    }
    Ok(())
}

/// As much of server-sent events as a stream of this server has.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    id: String,
    has_data: bool,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8]) -> Vec<Heard> {
        let mut heard = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                // Of a long record only the begin of its line is looked at.
                if self.line.len() < 256 {
                    self.line.push(*byte);
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            match line.as_slice() {
                [] if self.has_data => {
                    self.has_data = false;
                    heard.push(Heard::Frame(self.id.clone()));
                }
                [b':', ..] => heard.push(Heard::Comment),
                line if line.starts_with(b"id: ") => self.id = String::from_utf8_lossy(&line[4..]).into_owned(),
                line if line.starts_with(b"data:") => self.has_data = true,
                _ => {}
            }
        }
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_comments_are_told_apart_in_any_pieces() {
        let text = b"retry: 1000\n\nid: 7-1\ndata: {}\n\n: keep-alive\n\nid: 7-2\nevent: error\ndata: {}\n\n";
        let wanted = [Heard::Frame("7-1".into()), Heard::Comment, Heard::Frame("7-2".into())];
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let heard: Vec<_> = text.chunks(size).flat_map(|piece| lines.feed(piece)).collect();
            assert_eq!(heard, wanted, "{size}");
        }
    }
}
