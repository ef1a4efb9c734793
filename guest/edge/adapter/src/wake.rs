//! Readers of this instance hear of what is written in it. With `wasi:http` 0.2 nobody else is here, and nobody is told;
//! what other instances, hosts and servers write is found by looking at the log.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_util::future::select;

use crate::clock::Deadline;
use crate::types::StreamId;
use crate::wasi::sleep;

thread_local! {
    /// One entry a reader, which takes it away again.
    static READERS: RefCell<HashMap<StreamId, Vec<Rc<Signal>>>> = RefCell::default();
}

#[derive(Default)]
struct Signal {
    written: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// One reader of a stream.
pub(crate) struct Reader {
    stream: StreamId,
    signal: Rc<Signal>,
}

impl Reader {
    /// Hears of everything that is written from now on: join first, then look at the log.
    pub(crate) fn join(stream: &StreamId) -> Self {
        let signal = Rc::new(Signal::default());
        READERS.with_borrow_mut(|readers| readers.entry(stream.clone()).or_default().push(Rc::clone(&signal)));
        Reader { stream: stream.clone(), signal }
    }

    /// Waits until something was written since the last time, at most this long, and then until `spaced`: what is
    /// written meanwhile is one wake with it. True: something was.
    pub(crate) async fn wait(&self, time: Duration, spaced: Deadline) -> bool {
        let written = poll_fn(|context| {
            *self.signal.waker.borrow_mut() = Some(context.waker().clone());
            if self.signal.written.get() { Poll::Ready(()) } else { Poll::Pending }
        });
        select(pin!(written), pin!(sleep(time))).await;
        if self.signal.written.get() && !spaced.is_over() {
            sleep(spaced.left()).await;
        }
        self.signal.written.take()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        READERS.with_borrow_mut(|readers| {
            let Some(signals) = readers.get_mut(&self.stream) else { return };
            signals.retain(|signal| !Rc::ptr_eq(signal, &self.signal));
            if signals.is_empty() {
                readers.remove(&self.stream);
            }
        });
    }
}

/// The store has accepted a write to this stream.
pub(crate) fn written(stream: &StreamId) {
    READERS.with_borrow(|readers| {
        for signal in readers.get(stream).into_iter().flatten() {
            signal.written.set(true);
            if let Some(waker) = signal.waker.take() {
                waker.wake();
            }
        }
    });
}
