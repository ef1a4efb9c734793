//! Tells the store which streams to follow, and which have readers here.

use super::book::Round;
use super::{BackOff, Log, Task, bounded};
use crate::sse::Signal;
use crate::sse::hub::{Changes, Hub};
use crate::store::StoreError;
use crate::types::StreamId;

impl<L: Log + ?Sized> Task<'_, L> {
    pub(super) async fn keep_interest(&self) {
        let mut back_off = BackOff::new();
        loop {
            self.note_changes();
            let Some(mut round) = self.next_round() else {
                tokio::select! {
                    () = self.hub.interest_changed() => {}
                    () = self.to_tell.notified() => {}
                }
                continue;
            };
            match self.tell(&mut round).await {
                Ok(()) => back_off.reset(),
                Err(error) => {
                    tracing::debug!(%error, "cannot tell the store what is followed");
                    self.book().again(round);
                    back_off.pause().await;
                }
            }
        }
    }

    fn next_round(&self) -> Option<Round> {
        self.book().next_round()
    }

    /// The names come first, then how each stands: a change in between is noted again.
    pub(super) fn note_changes(&self) {
        let changed = match self.hub.take_changes() {
            Changes::Of(streams) => streams,
            Changes::All => [self.hub.streams(), self.book().streams()].concat(),
        };
        for stream in changed {
            let known = self.hub.known(&stream);
            self.book().note(&stream, known);
        }
    }

    /// One after the other, and what is left first: streams that nobody reads never pile up behind new ones.
    async fn tell(&self, round: &mut Round) -> Result<(), StoreError> {
        if !round.presence.is_empty() {
            let any = bounded(self.wakes.presence(&round.presence)).await?;
            self.book().told(&round.presence);
            for ((stream, _), any) in round.presence.iter().zip(any) {
                self.tell_listeners(round, stream, any);
            }
            round.presence.clear();
        }
        if !round.unfollow.is_empty() {
            bounded(self.wakes.unfollow(&round.unfollow)).await?;
            self.book().unfollowed(&round.unfollow);
            round.unfollow.clear();
        }
        if !round.follow.is_empty() {
            bounded(self.wakes.follow(&round.follow)).await?;
            self.book().followed(&round.follow);
            self.to_look.notify_one();
            round.follow.clear();
        }
        if !round.ask.is_empty() {
            let any = bounded(self.wakes.readers(&round.ask)).await?;
            self.book().asked(&round.ask);
            for (stream, any) in round.ask.iter().zip(any) {
                self.tell_listeners(round, stream, any);
            }
            round.ask.clear();
        }
        Ok(())
    }

    /// Each listener knows what it was told before.
    fn tell_listeners(&self, round: &Round, stream: &StreamId, any: bool) {
        if self.book().is_news(round, stream) {
            let signal = if any { Signal::Ready } else { Signal::SubscribersLeft };
            self.hub.signal(stream, Hub::EVERY_GENERATION, signal);
        }
    }
}
