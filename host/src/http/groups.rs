//! Consumer groups: `…/groups/{group}`. Each entry of the log goes to one consumer of a group, and comes again until it
//! is acknowledged. A group is a backend's reader: it gets every record, those with `"_internal": true` too.
//!
//! A group belongs to a generation. A consumer that goes on makes it anew for the next one, or when the store has lost
//! it: `PUT` is harmless where the group is there.

use std::time::Duration;

use http::{Method, StatusCode};
use serde::Deserialize;

use super::answer::{self, Object};
use super::query::{invalid, percent_decode};
use super::{Problem, Query, Request, Response, body, guard, list};
use crate::app::App;
use crate::store::groups::GROUPS_MAX;
use crate::store::{NewGroup, Pending};
use crate::types::{Cursor, Entry, StreamId};

/// Bytes of the name of a group or a consumer.
const NAME_BYTES_MAX: usize = 128;
/// Entries of one answer.
const COUNT: u64 = 10;
const COUNT_MAX: u64 = 1000;
/// Bytes of the records in one answer, beside its last entry.
const ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// What is not acknowledged for this long is given to the next who asks.
const REDELIVER_AFTER_MS: u64 = 30_000;
/// Entries that are acknowledged at once.
const IDS_MAX: usize = 1000;

/// What of a group a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Itself,
    Events,
    Pending,
    Ack,
}

impl Part {
    /// Reads what follows the stream id in a path.
    pub(super) fn of(tail: &str) -> Option<Self> {
        let rest = tail.strip_prefix("groups/")?;
        let Some((_, part)) = rest.split_once('/') else { return Some(Part::Itself) };
        match part {
            "events" => Some(Part::Events),
            "pending" => Some(Part::Pending),
            "ack" => Some(Part::Ack),
            _ => None,
        }
    }

    pub(super) fn template(self) -> &'static str {
        match self {
            Part::Itself => "/v1/streams/{id}/groups/{group}",
            Part::Events => "/v1/streams/{id}/groups/{group}/events",
            Part::Pending => "/v1/streams/{id}/groups/{group}/pending",
            Part::Ack => "/v1/streams/{id}/groups/{group}/ack",
        }
    }

    pub(super) fn methods(self) -> &'static str {
        match self {
            Part::Itself => "PUT, DELETE",
            Part::Events | Part::Pending => "GET, HEAD",
            Part::Ack => "POST",
        }
    }
}

/// Any request below `…/groups/{group}`.
pub(super) async fn handle(
    app: &App,
    stream: &StreamId,
    part: Part,
    request: &mut Request,
) -> Result<Response, Problem> {
    let group = group_of(request.uri().path())?;
    let (query, fence) = (Query::of(request.uri())?, guard::Fence::of(request));
    match part {
        Part::Itself if *request.method() == Method::DELETE => {
            app.store.delete_group(stream, &group).await?;
            Ok(answer::empty(StatusCode::NO_CONTENT))
        }
        Part::Itself => create(app, stream, &group, &query).await,
        Part::Events => events(app, stream, &group, &query, fence).await,
        Part::Pending => {
            let pending = app.store.pending(stream, &group, list::limit(&query)?).await?;
            if !pending.iter().all(|one| fence.holds(one.id.generation)) {
                return Err(Problem::not_found());
            }
            let pending: Vec<_> = pending.iter().map(pending_json).collect();
            let list = format!("[{}]", pending.join(","));
            Ok(answer::json(StatusCode::OK, Object::new().raw("pending", &list).end()))
        }
        Part::Ack => acknowledge(app, stream, &group, request).await,
    }
}

/// The name after `/v1/streams/{id}/groups/`, percent-decoded exactly once. Errors: 400 `invalid_group`.
fn group_of(path: &str) -> Result<String, Problem> {
    let name = percent_decode(path.split('/').nth(5).unwrap_or_default());
    let rule = "the name of a group is percent-encoded, 1 to 128 bytes of printable ASCII";
    name.filter(|name| is_name(name)).ok_or_else(|| Problem::bad_request("invalid_group", rule))
}

/// Whether the path names a group, for `probe`.
pub(super) fn probe(path: &str) -> Result<(), Problem> {
    group_of(path).map(drop)
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// `PUT …?from=start|now`: 201 for a new group, 200 for one that is there and stays where it is.
async fn create(app: &App, stream: &StreamId, group: &str, query: &Query) -> Result<Response, Problem> {
    let from_start = match query.get("from") {
        None | Some("" | "start") => true,
        Some("now") => false,
        Some(_) => return Err(invalid("from", "is start or now")),
    };
    let status = match app.store.create_group(stream, group, from_start).await? {
        NewGroup::Made => StatusCode::CREATED,
        NewGroup::Existed => StatusCode::OK,
        NewGroup::NotFound => return Err(Problem::not_found()),
        NewGroup::TooMany => {
            let detail =
                format!("a generation has at most {GROUPS_MAX} groups: delete one that is not needed any more");
            return Err(Problem::new(StatusCode::CONFLICT, "too_many_groups", detail).with("groupsMax", GROUPS_MAX));
        }
    };
    let mut object = Object::new();
    object.string("streamId", stream.as_str()).string("group", group).bool("created", status == StatusCode::CREATED);
    Ok(answer::json(status, object.end()))
}

/// `GET …/events?consumer=&count=&redeliverAfter=`: `{"entries":[{"id","records":[…]}…],"malformed":n}`.
async fn events(
    app: &App,
    stream: &StreamId,
    group: &str,
    query: &Query,
    fence: guard::Fence,
) -> Result<Response, Problem> {
    let consumer = query.get("consumer").filter(|name| is_name(name));
    let consumer = consumer.ok_or_else(|| invalid("consumer", "has 1 to 128 bytes of printable ASCII"))?;
    let count = query.number("count")?.unwrap_or(COUNT);
    let count = usize::try_from(count).ok().filter(|_| (1..=COUNT_MAX).contains(&count));
    let count = count.ok_or_else(|| invalid("count", "is 1 to 1000"))?;
    let after = Duration::from_millis(query.number("redeliverAfter")?.unwrap_or(REDELIVER_AFTER_MS));
    let unseen = app.store.read_group(stream, group, consumer, count, ANSWER_BYTES, after).await?;
    if !unseen.entries.iter().all(|entry| fence.holds(entry.first.generation)) {
        return Err(Problem::not_found());
    }
    let entries = format!("[{}]", unseen.entries.iter().map(entry_json).collect::<Vec<_>>().join(","));
    let json = Object::new().raw("entries", &entries).number("malformed", unseen.malformed).end();
    Ok(answer::json(StatusCode::OK, json))
}

/// An entry under the cursor of its last record; the records byte for byte as they are stored.
fn entry_json(entry: &Entry) -> String {
    let id = Cursor { sequence: entry.last(), ..entry.first }.to_string();
    let records: Vec<_> = entry.records().map(|(_, _, line)| String::from_utf8_lossy(line)).collect();
    Object::new().string("id", &id).raw("records", &format!("[{}]", records.join(","))).end()
}

fn pending_json(pending: &Pending) -> String {
    let idle_ms = u64::try_from(pending.idle.as_millis()).unwrap_or(u64::MAX);
    let mut object = Object::new();
    object.string("id", &pending.id.to_string()).string("consumer", &pending.consumer);
    object.number("idleMs", idle_ms).number("deliveries", pending.deliveries).end()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ack {
    ids: Vec<String>,
}

/// `POST …/ack` with `{"ids":[…]}`: `{"acknowledged":n}`, the number of those that were pending.
async fn acknowledge(app: &App, stream: &StreamId, group: &str, request: &mut Request) -> Result<Response, Problem> {
    let fence = guard::Fence::of(request);
    let text = body::command(app, request).await?;
    let mut ids = ids(&body::parse(&text)?)?;
    // While the body came, the stream may have become somebody else's: of theirs nothing is acknowledged.
    ids.retain(|id| fence.holds(id.generation));
    let acknowledged = app.store.acknowledge(stream, group, &ids).await?;
    Ok(answer::json(StatusCode::OK, Object::new().number("acknowledged", acknowledged).end()))
}

fn ids(ack: &Ack) -> Result<Vec<Cursor>, Problem> {
    if ack.ids.len() > IDS_MAX {
        return Err(Problem::invalid_request("at most 1000 ids are acknowledged at once: send the rest after them"));
    }
    let ids = ack.ids.iter().map(|id| Cursor::parse(id));
    let rule = "an id is <generation>-<sequence>, as it came with its entry";
    ids.collect::<Option<_>>().ok_or_else(|| Problem::invalid_request(rule))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::types::RecordKind;

    #[test]
    fn a_group_is_named_in_the_path_and_decoded_once() {
        let path = |group: &str| format!("/v1/streams/a%2Fb/groups/{group}/events");
        for (raw, name) in [("g", "g"), ("a%2Fb", "a/b"), ("a%252F", "a%2F"), ("a+b", "a+b"), ("a%20b", "a b")] {
            assert_eq!(group_of(&path(raw)).expect(raw), name);
        }
        for bad in ["", "%", "%0a", "%7f", "%c3%a9", &"x".repeat(129)] {
            assert_eq!(group_of(&path(bad)).expect_err(bad).code, "invalid_group", "{bad}");
        }
        assert!(group_of(&path(&"x".repeat(128))).is_ok());
    }

    #[test]
    fn an_entry_has_the_id_of_its_last_record_and_every_record_as_it_is() {
        let entry = Entry {
            first: Cursor { generation: 7, sequence: 4 },
            lines: Bytes::from_static(b"{\"a\": 1.0}\n{\"_internal\":true}\n"),
            kinds: [RecordKind::Event, RecordKind::Internal].into(),
            count: 2,
        };
        assert_eq!(entry_json(&entry), r#"{"id":"7-5","records":[{"a": 1.0},{"_internal":true}]}"#);
    }

    #[test]
    fn ids_are_cursors_and_bounded() {
        let parse = |list: &[&str]| ids(&Ack { ids: list.iter().map(ToString::to_string).collect() });
        let cursor = |generation, sequence| Cursor { generation, sequence };
        assert_eq!(parse(&["7-1", "8-2"]).expect("two cursors"), [cursor(7, 1), cursor(8, 2)]);
        assert!(parse(&["7-1"; 1000]).is_ok());
        for bad in [&["7-1", "x"][..], &[""], &["7-1"; 1001]] {
            assert_eq!(parse(bad).expect_err("a rule is broken").status, 422);
        }
    }
}
