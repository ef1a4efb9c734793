//! Tickets for a browser's `EventSource`, which can send no header: `POST …/tickets`, then `GET …/events?ticket=`.
//!
//! A ticket reads one stream once, soon, on any replica, and as nobody else than the owner of the stream.

use std::time::Duration;

use http::StatusCode;

use super::answer::{self, Object};
use super::{Problem, Request, Response, admitted, body};
use crate::app::App;
use crate::auth::{Identity, Ticket, TicketHash};
use crate::store::{NewTicket, TICKETS_MAX, USER_TICKETS_MAX};
use crate::types::{StreamId, now_ms};

/// `POST /v1/streams/{id}/tickets`: 201 `{"ticket","expiresAt"}`. Errors: 429 `too_many_tickets`; 503 `overloaded`.
pub(super) async fn create(app: &App, stream: &StreamId, request: &mut Request) -> Result<Response, Problem> {
    body::command(app, request).await?;
    let identity = admitted::identity(request);
    let job = app.job(stream).await?.filter(|job| identity.sees(&job.user_id)).ok_or_else(Problem::not_found)?;
    let ticket = Ticket::new().ok_or_else(|| {
        let detail = "the system gives no random numbers: try again";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_randomness", detail).retry_after(1)
    })?;
    let ticket_max = app.config.access.ticket_max;
    let expires_ms = now_ms().saturating_add(u64::try_from(ticket_max.as_millis()).unwrap_or(u64::MAX));
    let TicketHash(hash) = ticket.hash();
    // Without keys nobody asks for it, and everything is open: it is not kept.
    if app.auth.is_some() {
        match app.store.put_ticket(stream, hash, &job.user_id, expires_ms).await? {
            NewTicket::Kept => {}
            refused => return Err(too_many(refused, ticket_max)),
        }
    }
    let mut object = Object::new();
    object.string("ticket", ticket.reveal()).number("expiresAt", expires_ms);
    Ok(answer::json(StatusCode::CREATED, object.end()))
}

fn too_many(refused: NewTicket, ticket_max: Duration) -> Problem {
    let (whose, max) = match refused {
        NewTicket::TooManyOfUser => ("user", USER_TICKETS_MAX),
        NewTicket::Kept | NewTicket::TooManyOfStream => ("stream", TICKETS_MAX),
        NewTicket::TooMany => {
            let detail = "as many tickets as this host keeps wait for their use: try again, or add a replica";
            return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).retry_after(1);
        }
    };
    let detail = format!("{max} tickets of this {whose} wait for their use: use one, or wait until they end");
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_tickets", detail);
    problem.with("limit", whose).with("ticketsMax", max).retry_after(ticket_max.as_secs().max(1))
}

/// Who comes with a ticket. It is used from here on, whatever becomes of the request, even where the user has too much open:
/// only the ticket tells who it is. As it is used up by that, whoever is refused again and again asks the store no more
/// often than there are tickets; one that was made up costs a look and opens nothing. Errors: 401.
pub(super) async fn redeem(app: &App, stream: &StreamId, ticket: &str) -> Result<Identity, Problem> {
    let Some(TicketHash(hash)) = TicketHash::of(ticket) else { return Err(Problem::ticket_refused()) };
    let subject = app.patience().ask(|| app.store.take_ticket(stream, hash)).await?;
    subject.map(|subject| Identity::of_ticket(&subject, stream)).ok_or_else(Problem::ticket_refused)
}
