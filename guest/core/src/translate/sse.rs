//! Server-sent events from lines, as the WHATWG HTML standard (9.2.6) frames them.

use super::BadChunk;

/// Most data one event may carry.
pub(super) const EVENT_BYTES_MAX: usize = 1 << 20;
/// Longest event name that is kept; longer ones name nothing we know.
const NAME_BYTES_MAX: usize = 128;

/// The event being gathered.
#[derive(Default)]
pub(super) struct Sse {
    lines: u64,
    event: Event,
}

/// One event.
#[derive(Default)]
pub(super) struct Event {
    /// `event:`, or "".
    pub(super) name: String,
    /// The `data:` lines, joined by `\n`.
    pub(super) data: String,
    /// The first line with data, from 1; 0 when there is none.
    pub(super) line: u64,
}

impl Sse {
    /// Takes one line without its end. True when it closed an event.
    ///
    /// Errors: the event carries more than [`EVENT_BYTES_MAX`].
    pub(super) fn line(&mut self, mut line: &str) -> Result<bool, BadChunk> {
        self.lines += 1;
        if self.lines == 1 {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(true);
        }
        // A comment is a line whose field name is empty.
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => self.data(value)?,
            "event" => {
                self.event.name.clear();
                if value.len() <= NAME_BYTES_MAX {
                    self.event.name.push_str(value);
                }
            }
            _ => {}
        }
        Ok(false)
    }

    /// What is gathered; the next event starts empty.
    pub(super) fn take(&mut self) -> Event {
        std::mem::take(&mut self.event)
    }

    fn data(&mut self, value: &str) -> Result<(), BadChunk> {
        let event = &mut self.event;
        if event.line == 0 {
            event.line = self.lines;
        } else {
            event.data.push('\n');
        }
        if event.data.len() + value.len() > EVENT_BYTES_MAX {
            let reason = format!("the event carries more than {EVENT_BYTES_MAX} bytes");
            return Err(BadChunk { line: event.line, reason });
        }
        event.data.push_str(value);
        Ok(())
    }
}
