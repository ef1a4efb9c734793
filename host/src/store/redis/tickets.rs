//! Tickets that wait for their use: beside the row of their stream, and always with an end.
//!
//! They are bounded by stream only. Those of all streams have no common bound that one user could take up, and a user's
//! streams are bounded; to count a user's tickets would take a key in another slot, one more round trip for each ticket
//! made and used, and a count that is wrong whenever one of the two is lost.

use redis::{Value, from_redis_value};

use super::store::unexpected;
use super::{MS_MAX, RedisStore};
use crate::store::{NewTicket, StoreError, TICKETS_MAX};
use crate::types::StreamId;

impl RedisStore {
    pub(super) async fn put_ticket_now(
        &self,
        stream: &StreamId,
        hash: [u8; 32],
        subject: &str,
        expires_ms: u64,
    ) -> Result<NewTicket, StoreError> {
        let bounds = format!("{TICKETS_MAX} {}", expires_ms.min(MS_MAX));
        let arguments = ["put", &hex(&hash), &bounds, subject];
        let answer = self.script(&self.scripts.ticket, stream, (self.clock)(), &arguments).await?;
        Ok(if answer == Value::Int(1) { NewTicket::Kept } else { NewTicket::TooManyOfStream })
    }

    /// A repeat after an answer that was lost finds nothing: the ticket counts as used, and another one is asked for.
    pub(super) async fn take_ticket_now(
        &self,
        stream: &StreamId,
        hash: [u8; 32],
    ) -> Result<Option<String>, StoreError> {
        let answer = self.script(&self.scripts.ticket, stream, (self.clock)(), &["take", &hex(&hash)]).await?;
        from_redis_value(answer).map_err(|_| unexpected("a ticket"))
    }
}

fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
