//! The component between the core and whoever carries out what it asks for: the core imports `store` and `sse` from
//! here, the adapter takes from here what they were called with. So neither has to import the other.

#[expect(unsafe_code, reason = "generated from wit/: the canonical ABI is pointers")]
mod bindings {
    wit_bindgen::generate!({
        world: "rejoin:edge/notebook",
        path: ["../../../wit", "../wit"],
        generate_all,
    });
    export!(Notebook);
    use super::Notebook;
}

use std::cell::RefCell;

use bindings::exports::rejoin::edge::calls::{Append, Call, Checkpoint, Create, Guest as Calls, Resolved};
use bindings::exports::rejoin::streams::sse::{Guest as Sse, ProducerSignal};
use bindings::exports::rejoin::streams::store::Guest as Store;
use bindings::exports::rejoin::streams::types::{Change, Cursor, Job, LogRecord};

/// What the exports hang on.
struct Notebook;

thread_local! {
    /// Bounded by the calls of one command: the adapter takes them after each.
    static CALLS: RefCell<Vec<Call>> = const { RefCell::new(Vec::new()) };
}

fn note(call: Call) {
    CALLS.with_borrow_mut(|calls| calls.push(call));
}

impl Store for Notebook {
    fn create(_stream: String, ticket: u64, previous: u64, job: Job) {
        note(Call::Create(Create { ticket, previous, job }));
    }

    fn append(_stream: String, ticket: u64, first: Cursor, records: Vec<LogRecord>, change: Change) {
        note(Call::Append(Append { ticket, first, records, change }));
    }

    fn checkpoint(_stream: String, at: Cursor, state: String) {
        note(Call::Checkpoint(Checkpoint { at, state }));
    }
}

impl Sse for Notebook {
    fn publish(_stream: String, _at: Cursor) {
        // The write itself wakes the readers: those of other replicas hear it from the store, those here look there.
    }

    fn signal(_stream: String, generation: u64, what: ProducerSignal) {
        if let ProducerSignal::Resolved(answer) = what {
            note(Call::Resolved(Resolved { generation, answer }));
        }
    }
}

impl Calls for Notebook {
    fn take() -> Vec<Call> {
        CALLS.take()
    }
}
