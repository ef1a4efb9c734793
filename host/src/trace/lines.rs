//! Log lines on their way out, off the threads that serve. When whoever reads them does not keep up, lines are dropped and
//! counted, and a line says so: a full pipe never stops a request.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

use crate::config::LogFormat;

/// Lines that wait.
const LINES_MAX: usize = 8 * 1024;
/// Bytes of one line; the rest of a longer one is cut off.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Lines that come within this time are written at once: waking a thread for each costs more than the line.
const GATHER: Duration = Duration::from_millis(2);
/// How long the end waits for what is left.
const FLUSH_MAX: Duration = Duration::from_secs(1);

enum Message {
    Line(Vec<u8>),
    /// Write everything before this, then answer.
    Flush(SyncSender<()>),
}

/// The way out. Dropped: what waits is written, within a second.
pub(super) struct Lines {
    writer: Writer,
    // Not joined: it may hang in a write that nobody takes.
    _thread: Option<JoinHandle<()>>,
}

/// Where a line is handed over. Cheap to clone.
#[derive(Clone)]
pub(super) struct Writer {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Lines {
    /// Lines go to `out`.
    pub(super) fn start(format: LogFormat, out: impl Write + Send + 'static) -> Self {
        let (queue, waiting) = sync_channel(LINES_MAX);
        let writer = Writer { queue, dropped: Arc::default() };
        let dropped = Arc::clone(&writer.dropped);
        let work = move || write(&waiting, &dropped, format, out);
        let thread = std::thread::Builder::new().name("rejoin-log".into()).spawn(work);
        Lines { writer, _thread: thread.ok() }
    }

    /// Where lines are handed over.
    pub(super) fn writer(&self) -> Writer {
        self.writer.clone()
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let (answer, answered) = sync_channel(1);
        let (end, mut flush) = (Instant::now() + FLUSH_MAX, Message::Flush(answer));
        // The queue may be full of lines that are being written right now.
        while let Err(TrySendError::Full(again)) = self.writer.queue.try_send(flush) {
            if Instant::now() > end {
                return;
            }
            std::thread::sleep(GATHER);
            flush = again;
        }
        let _ = answered.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

impl Write for Writer {
    /// Takes one whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut kept = line[..line.len().min(LINE_BYTES_MAX)].to_vec();
        if kept.len() < line.len() {
            kept.push(b'\n');
        }
        if self.queue.try_send(Message::Line(kept)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Writer;

    fn make_writer(&'a self) -> Writer {
        self.clone()
    }
}

fn lost_line(format: LogFormat, lines: u64) -> String {
    const WHAT: &str = "log lines were dropped: stderr is not read fast enough";
    match format {
        LogFormat::Text => format!("WARN rejoin::trace: {WHAT} lines={lines}\n"),
        LogFormat::Json => {
            format!("{{\"level\":\"WARN\",\"message\":\"{WHAT}\",\"lines\":{lines},\"target\":\"rejoin::trace\"}}\n")
        }
    }
}

/// Ends when nobody can hand over any more.
fn write(waiting: &Receiver<Message>, dropped: &AtomicU64, format: LogFormat, mut out: impl Write) {
    let mut bytes = Vec::new();
    while let Ok(first) = waiting.recv() {
        if matches!(first, Message::Line(_)) {
            std::thread::sleep(GATHER);
        }
        let mut asked = None;
        for message in std::iter::once(first).chain(waiting.try_iter().take(LINES_MAX)) {
            match message {
                Message::Line(line) => bytes.extend_from_slice(&line),
                Message::Flush(answer) => asked = Some(answer),
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            bytes.extend_from_slice(lost_line(format, lost).as_bytes());
        }
        // Nobody is left to be told that this failed.
        let _ = out.write_all(&bytes).and_then(|()| out.flush());
        bytes.clear();
        if let Some(answer) = asked {
            let _ = answer.try_send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;

    use super::*;

    /// Keeps what is written; each write waits for a permission first.
    struct Slow(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_out_whole_and_in_order_and_the_end_waits_for_them() {
        let (go, wait) = mpsc::channel();
        drop(go);
        let written = Arc::new(Mutex::new(Vec::new()));
        let lines = Lines::start(LogFormat::Json, Slow(wait, written.clone()));
        for n in 0..500 {
            writeln!(lines.writer(), "line {n}").expect("taken");
        }
        drop(lines);
        let written = String::from_utf8(written.lock().expect("not poisoned").clone()).expect("text");
        // `writeln!` hands over in pieces; a subscriber hands over lines.
        let wanted: String = (0..500).map(|n| format!("line {n}\n")).collect();
        assert_eq!(written, wanted);
    }

    #[test]
    fn when_nobody_reads_lines_are_dropped_and_counted_and_nobody_waits() {
        let (go, wait) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let lines = Lines::start(LogFormat::Json, Slow(wait, written.clone()));
        let mut writer = lines.writer();
        let total = 3 * LINES_MAX;
        for _ in 0..total {
            assert_eq!(writer.write(b"x\n").expect("it never fails"), 2);
        }
        // From here on they are read.
        drop(go);
        drop(lines);
        let written = String::from_utf8(written.lock().expect("not poisoned").clone()).expect("text");
        let kept = written.lines().filter(|line| *line == "x").count();
        let told = written.lines().filter_map(|line| line.strip_suffix('}')?.rsplit_once("\"lines\":"));
        let number = |text: &str| text.split(',').next().and_then(|digits| digits.parse::<usize>().ok());
        let lost: usize = told.map(|(_, lost)| number(lost).expect("a number")).sum();
        assert!(kept >= LINES_MAX && lost > 0, "{kept} kept, {lost} lost");
        assert_eq!(kept + lost, total);
    }

    #[test]
    fn a_line_has_a_bound() {
        let (go, wait) = mpsc::channel();
        drop(go);
        let written = Arc::new(Mutex::new(Vec::new()));
        let lines = Lines::start(LogFormat::Json, Slow(wait, written.clone()));
        assert_eq!(lines.writer().write(&vec![b'x'; 1 << 20]).expect("taken"), 1 << 20);
        drop(lines);
        assert_eq!(written.lock().expect("not poisoned").len(), LINE_BYTES_MAX + 1);
    }
}
