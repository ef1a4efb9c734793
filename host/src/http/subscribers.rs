//! `GET …/subscribers`: who reads a stream on this host, and how far behind each one is.

use http::StatusCode;

use super::answer::{self, Object};
use super::{Problem, Request, Response, admitted};
use crate::app::App;
use crate::sse::Readers;
use crate::types::{Cursor, StreamId};

/// Rows of one answer: those furthest behind.
const ROWS_MAX: usize = 1000;

/// `{"subscribers":[{"id","cursor","lag","sinceMs","kind"}…],"total","listeners","cursor","host","shared"}`, the furthest
/// behind first. Of this host alone: with `"shared":true` other hosts may have more. Errors: 404.
pub(super) async fn handle(app: &App, stream: &StreamId, request: &Request) -> Result<Response, Problem> {
    let fence = admitted::Fence::of(request);
    let job = app.job(stream).await?.filter(|job| fence.holds(job.generation)).ok_or_else(Problem::not_found)?;
    let readers = app.hub.readers(stream, ROWS_MAX);
    let json = json(&readers, job.cursor(), app.hub.host(), app.store.wakes().is_some());
    Ok(answer::json(StatusCode::OK, json))
}

fn json(readers: &Readers, end: Cursor, host: &str, shared: bool) -> String {
    let rows = readers.rows.iter().map(|reader| {
        let mut row = Object::new();
        row.string("id", &reader.number.to_string())
            .string("cursor", &reader.cursor.to_string())
            .number("lag", reader.lag(end))
            .number("sinceMs", reader.since_ms)
            .string("kind", "live");
        row.end()
    });
    let rows: Vec<_> = rows.collect();
    let mut object = Object::new();
    object
        .raw("subscribers", &format!("[{}]", rows.join(",")))
        .number("total", readers.total as u64)
        .number("listeners", readers.listeners as u64)
        .string("cursor", &end.to_string())
        .string("host", host)
        .bool("shared", shared);
    object.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::Reader;

    #[test]
    fn a_reader_is_a_row_with_its_lag() {
        let at = |generation, sequence| Cursor { generation, sequence };
        let rows = vec![
            Reader { number: 4, cursor: at(6, 90), since_ms: 3 },
            Reader { number: 2, cursor: at(7, 1), since_ms: 2 },
            Reader { number: 9, cursor: at(7, 6), since_ms: 5 },
        ];
        let readers = Readers { rows, total: 3, listeners: 1 };
        let expected = concat!(
            r#"{"subscribers":[{"id":"4","cursor":"6-90","lag":5,"sinceMs":3,"kind":"live"},"#,
            r#"{"id":"2","cursor":"7-1","lag":4,"sinceMs":2,"kind":"live"},"#,
            r#"{"id":"9","cursor":"7-6","lag":0,"sinceMs":5,"kind":"live"}],"#,
            r#""total":3,"listeners":1,"cursor":"7-5","host":"h","shared":false}"#,
        );
        assert_eq!(json(&readers, at(7, 5), "h", false), expected);
    }
}
