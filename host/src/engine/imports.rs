//! What the component asks for, written down while a call runs and carried out when it has returned.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Store, Trap, UpdateDeadline};
use wasmtime_wasi::clocks::{WasiClocksCtx, WasiClocksCtxView};
use wasmtime_wasi::p2::bindings::clocks::wall_clock;

use super::bindings::rejoin::streams::{sse, store, types as wit};
use super::convert;
use crate::types::{Cursor, Entry, Job, RecordKind, Status};

/// The state behind one instance.
pub(super) struct Ctx {
    clocks: WasiClocksCtx,
    table: ResourceTable,
    memory_bytes_max: usize,
    memory_denied: bool,
    /// Ticks that one call may last, and those that the present one has left.
    call_ticks: u64,
    ticks_left: u64,
    asked: Asked,
}

/// What one call asked for.
#[derive(Default)]
pub(super) struct Asked {
    pub write: Option<Write>,
    pub checkpoint: Option<(Cursor, String)>,
    pub publish: bool,
    pub signals: Vec<(u64, sse::ProducerSignal)>,
}

/// A write for the store.
pub(super) struct Write {
    pub ticket: u64,
    pub what: What,
}

/// What to write.
pub(super) enum What {
    /// A new generation in place of this one.
    Create { previous: u64, job: Job },
    /// Records and a change of the row.
    Append {
        first: Cursor,
        entry: Option<Entry>,
        expected_status: Status,
        status: Option<Status>,
        fields: Vec<(String, String)>,
    },
}

impl Ctx {
    pub(super) fn new(memory_bytes_max: usize, call_ticks: u64) -> Self {
        Ctx {
            clocks: WasiClocksCtx::default(),
            table: ResourceTable::new(),
            memory_bytes_max,
            memory_denied: false,
            call_ticks,
            ticks_left: call_ticks,
            asked: Asked::default(),
        }
    }

    /// The next call of an instance begins: all its time is before it.
    pub(super) fn begin_call(store: &mut Store<Ctx>) {
        let ctx = store.data_mut();
        ctx.ticks_left = ctx.call_ticks;
        store.set_epoch_deadline(1);
    }

    /// A running call meets a tick, or several that have passed while its thread did not run: however long a machine gives it
    /// no turn, that takes one tick of its time.
    pub(super) fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        self.ticks_left = self.ticks_left.saturating_sub(1);
        if self.ticks_left == 0 { Err(Trap::Interrupt.into()) } else { Ok(UpdateDeadline::Continue(1)) }
    }

    fn clocks(&mut self) -> WasiClocksCtxView<'_> {
        WasiClocksCtxView { ctx: &mut self.clocks, table: &mut self.table }
    }

    pub(super) fn take_asked(&mut self) -> Asked {
        std::mem::take(&mut self.asked)
    }

    /// Whether the component wanted more memory than it may have: the likely reason of a trap.
    pub(super) fn memory_denied(&self) -> bool {
        self.memory_denied
    }
}

impl ResourceLimiter for Ctx {
    fn memory_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = desired <= self.memory_bytes_max;
        self.memory_denied |= !allowed;
        Ok(allowed)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }
}

impl wit::Host for Ctx {}

impl wall_clock::Host for Ctx {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        self.clocks().now()
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        self.clocks().resolution()
    }
}

impl store::Host for Ctx {
    fn create(&mut self, _stream: String, ticket: u64, previous: u64, job: wit::Job) {
        self.asked.write = Some(Write { ticket, what: What::Create { previous, job: convert::job(job) } });
    }

    fn append(
        &mut self,
        _stream: String,
        ticket: u64,
        first: wit::Cursor,
        records: Vec<wit::LogRecord>,
        change: wit::Change,
    ) {
        let first = Cursor::from(first);
        self.asked.write = Some(Write {
            ticket,
            what: What::Append {
                first,
                entry: pack(first, &records),
                expected_status: change.expected_status.into(),
                status: change.status.map(Status::from),
                fields: change.fields.into_iter().map(|field| (field.name, field.value)).collect(),
            },
        });
    }

    fn checkpoint(&mut self, _stream: String, at: wit::Cursor, state: String) {
        self.asked.checkpoint = Some((at.into(), state));
    }
}

impl sse::Host for Ctx {
    fn publish(&mut self, _stream: String, _at: wit::Cursor) {
        self.asked.publish = true;
    }

    fn signal(&mut self, _stream: String, generation: u64, what: sse::ProducerSignal) {
        self.asked.signals.push((generation, what));
    }
}

/// Packs the records of one append; none when there are none.
fn pack(first: Cursor, records: &[wit::LogRecord]) -> Option<Entry> {
    if records.is_empty() {
        return None;
    }
    let mut lines = BytesMut::with_capacity(records.iter().map(|record| record.json.len() + 1).sum());
    for record in records {
        lines.put_slice(record.json.as_bytes());
        lines.put_u8(b'\n');
    }
    let plain = records.iter().all(|record| record.kind == wit::RecordKind::Event);
    let kinds: Arc<[RecordKind]> =
        if plain { Arc::new([]) } else { records.iter().map(|record| RecordKind::from(record.kind)).collect() };
    Some(Entry { first, lines: lines.freeze(), kinds, count: records.len() as u64 })
}
