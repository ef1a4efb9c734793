//! Which trace a request belongs to: `traceparent` of W3C Trace Context, kept from the client or made here.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

/// A place in a trace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// All that belongs together; never 0.
    pub trace: u128,
    /// This part of it; never 0.
    pub span: u64,
    /// Whether it is recorded.
    pub sampled: bool,
}

impl Context {
    /// Reads `00-<32 hex digits>-<16>-<2>`; none when it breaks a rule of the standard, and then it is as if it were not
    /// there. Of a version that is not known yet, what version 00 has is read.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |text: &str, digits: usize| {
            let plain = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if plain { u128::from_str_radix(text, 16).ok() } else { None }
        };
        let mut parts = text.trim().splitn(5, '-');
        let version = hex(parts.next()?, 2).filter(|version| *version != 0xff)?;
        let trace = hex(parts.next()?, 32).filter(|id| *id != 0)?;
        let span = hex(parts.next()?, 16).filter(|id| *id != 0)?;
        let flags = hex(parts.next()?, 2)?;
        if version == 0 && parts.next().is_some() {
            return None;
        }
        Some(Context { trace, span: u64::try_from(span).ok()?, sampled: flags & 1 == 1 })
    }

    /// A trace that begins here.
    pub fn new() -> Self {
        let trace = u128::from(random()) << 64 | u128::from(random() | 1);
        Context { trace, span: random() | 1, sampled: false }
    }

    /// Another part of the same trace.
    pub fn child(self) -> Self {
        Context { span: random() | 1, ..self }
    }

    /// The trace as logs have it.
    pub fn trace_id(self) -> impl fmt::Display {
        fmt::from_fn(move |f| write!(f, "{:032x}", self.trace))
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

/// As `traceparent` and `traceresponse` have it.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Unlike any other number of this or another process, as far as 64 bits can be; not for secrets. (SplitMix64.)
fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(std::thread::current().id()));
    }
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written() {
        let context = Context::parse(EXAMPLE).expect("the example of the standard");
        assert_eq!((context.span, context.sampled), (0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.to_string(), EXAMPLE);
        assert_eq!(Context::parse(&format!("{}-more", EXAMPLE.replacen("00", "01", 1))), Some(context));
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Context::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_made_here_is_valid_and_unlike_the_last_one() {
        let (one, other) = (Context::new(), Context::new());
        assert_eq!(Context::parse(&one.to_string()), Some(one));
        assert_ne!(one.trace, other.trace);
        assert_eq!((one.child().trace, one.child() == one), (one.trace, false));
    }
}
