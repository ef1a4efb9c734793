//! Consumer groups: `…/groups/{group}`. Each entry of the log goes to one consumer of a group, and comes again until it
//! is acknowledged. A group is a backend's reader: it gets every record, those with `"_internal": true` too.
//!
//! A group belongs to a generation. A consumer that goes on makes it anew for the next one, or when the store has lost
//! it: `PUT` is harmless where the group is there. What a user asks is for groups of the generation that was theirs when
//! they were let in: those of a generation that took its place meanwhile are not touched.

use std::time::Duration;

use http::{Method, StatusCode};
use serde::Deserialize;

use super::answer::{self, Object};
use super::query::{invalid, percent_decode};
use super::route::Part;
use super::{Problem, Query, Request, Response, admitted, body, list};
use crate::app::App;
use crate::store::groups::GROUPS_MAX;
use crate::store::{GroupKey, NewGroup, Pending};
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

/// Any request below `…/groups/{group}`.
pub(super) async fn handle(
    app: &App,
    stream: &StreamId,
    part: Part,
    request: &mut Request,
) -> Result<Response, Problem> {
    let name = group_of(request.uri().path())?;
    let query = Query::of(request.uri())?;
    let group = key(admitted::Fence::of(request), stream, &name);
    match part {
        Part::Ack => acknowledge(app, group, request).await,
        _ => without_body(app, group, part, request.method(), &query).await,
    }
}

/// The group of the generation that whoever asks was let in to, and of no other.
fn key<'a>(fence: admitted::Fence, stream: &'a StreamId, name: &'a str) -> GroupKey<'a> {
    GroupKey { stream, generation: fence.generation(), name }
}

async fn without_body(
    app: &App,
    group: GroupKey<'_>,
    part: Part,
    method: &Method,
    query: &Query,
) -> Result<Response, Problem> {
    match part {
        Part::Itself if *method == Method::DELETE => delete(app, group).await,
        Part::Itself => create(app, group, query).await,
        Part::Events => events(app, group, query).await,
        Part::Pending | Part::Ack => {
            let limit = list::limit(query)?;
            let pending = app.patience().ask(|| app.store.pending(group, limit)).await?;
            let pending: Vec<_> = pending.iter().map(pending_json).collect();
            let list = format!("[{}]", pending.join(","));
            Ok(answer::json(StatusCode::OK, Object::new().raw("pending", &list).end()))
        }
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
async fn create(app: &App, group: GroupKey<'_>, query: &Query) -> Result<Response, Problem> {
    let from_start = match query.get("from") {
        None | Some("" | "start") => true,
        Some("now") => false,
        Some(_) => return Err(invalid("from", "is start or now")),
    };
    let status = match app.patience().ask(|| app.store.create_group(group, from_start)).await? {
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
    object
        .string("streamId", group.stream.as_str())
        .string("group", group.name)
        .bool("created", status == StatusCode::CREATED);
    Ok(answer::json(status, object.end()))
}

/// `DELETE`: 204, whether it was there or not. Until it is answered it may be done again: a group that somebody else makes
/// of the same name in the same generation meanwhile may go with it.
async fn delete(app: &App, group: GroupKey<'_>) -> Result<Response, Problem> {
    let patience = app.patience();
    // Held to one generation by those too who are held to none: the first attempt may have been done although its answer
    // was lost, and a group of this name that the next generation has by then is another one.
    let generation = match group.generation {
        None => patience.ask(|| app.store.job(group.stream)).await?.map(|job| job.generation),
        held => held,
    };
    if generation.is_some() {
        patience.ask(|| app.store.delete_group(GroupKey { generation, ..group })).await?;
    }
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// `GET …/events?consumer=&count=&redeliverAfter=`: `{"entries":[{"id","records":[…]}…],"malformed":n}`.
async fn events(app: &App, group: GroupKey<'_>, query: &Query) -> Result<Response, Problem> {
    let consumer = query.get("consumer").filter(|name| is_name(name));
    let consumer = consumer.ok_or_else(|| invalid("consumer", "has 1 to 128 bytes of printable ASCII"))?;
    let count = query.number("count")?.unwrap_or(COUNT);
    let count = usize::try_from(count).ok().filter(|_| (1..=COUNT_MAX).contains(&count));
    let count = count.ok_or_else(|| invalid("count", "is 1 to 1000"))?;
    let after = Duration::from_millis(query.number("redeliverAfter")?.unwrap_or(REDELIVER_AFTER_MS));
    // Not asked again by itself: what an answer that is lost has handed out comes again in its time only.
    let unseen = app.store.read_group(group, consumer, count, ANSWER_BYTES, after).await?;
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
async fn acknowledge(app: &App, group: GroupKey<'_>, request: &mut Request) -> Result<Response, Problem> {
    let text = body::command(app, request).await?;
    let ids = ids(&body::parse(&text)?)?;
    let acknowledged = app.patience().ask(|| app.store.acknowledge(group, &ids)).await?;
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
    use http::Uri;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::config::Config;
    use crate::engine::Framing;
    use crate::types::RecordKind;

    /// Nobody from outside can be made to come right between the look at the row and what follows: so it is asked here.
    #[tokio::test]
    async fn a_request_that_is_late_finds_no_group_of_a_stream_that_has_become_somebody_elses() {
        let app = App::start(Config { sessions_max: 4, ..Config::default() }).await.expect("the component is built in");
        let stream = StreamId::parse("s").expect("it is valid");
        let create = async |user| {
            let made = app.sessions.create(&stream, Some(user), None, "{}").await;
            made.map(|(_, job)| job.generation).expect("it is free")
        };
        let ask = async |generation, method: Method, part| {
            let group = key(admitted::Fence::at(generation), &stream, "g");
            let query = Query::of(&Uri::from_static("/?consumer=a")).expect("it is decoded");
            let response = without_body(&app, group, part, &method, &query).await?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.expect("it cannot fail").to_bytes();
            Ok::<_, Problem>((status, String::from_utf8(body.to_vec()).expect("text")))
        };
        let anns = create("ann").await;
        assert!(app.sessions.remove(&stream, anns).await.expect("memory"));
        app.sessions.forget(&stream);
        let bobs = create("bob").await;
        assert_eq!(ask(bobs, Method::PUT, Part::Itself).await.expect("a new one").0, 201);
        let record = r#"{"event":"x","data":{}}"#;
        app.sessions.push(&stream, Some(bobs), Framing::Ndjson, record, None).await.expect("it is appended");

        assert_eq!(ask(anns, Method::PUT, Part::Itself).await.expect_err("hers is gone").code, "not_found");
        let nothing = (200, r#"{"entries":[],"malformed":0}"#.to_owned());
        assert_eq!(ask(anns, Method::GET, Part::Events).await.expect("an answer"), nothing);
        let (_, entry) = ask(bobs, Method::GET, Part::Events).await.expect("an answer");
        assert!(entry.contains(record), "{entry}");
        let nothing = (200, r#"{"pending":[]}"#.to_owned());
        assert_eq!(ask(anns, Method::GET, Part::Pending).await.expect("an answer"), nothing);
        assert_eq!(ask(anns, Method::DELETE, Part::Itself).await.expect("an answer").0, 204);
        let (_, pending) = ask(bobs, Method::GET, Part::Pending).await.expect("an answer");
        assert!(pending.contains(r#""deliveries":1"#), "his is as it was: {pending}");
    }

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
