//! Bytes as they come, in pieces of any size, to batches of whole lines. Pure.
//!
//! The law: **any split of the same bytes gives the same lines, and stops at the same line for the same reason.**

/// Why no more lines come. Everything before the line has been handed over; nothing from it on ever is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The line of the whole body, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has more bytes than a line may have.
    TooLong,
    /// It is not UTF-8.
    NotUtf8,
}

/// Gathers bytes and hands over whole lines. Holds one cut line, and what was fed since the last batch.
#[derive(Debug)]
pub struct LineSplitter {
    gathered: Vec<u8>,
    /// Bytes of `gathered` that are whole lines.
    whole: usize,
    /// Lines handed over.
    taken: u64,
    line_bytes_max: usize,
    batch_bytes_max: usize,
    broken: Option<Why>,
}

/// Whole lines, each with its line break but perhaps the last one of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The text.
    pub text: String,
    /// Lines of the body before it.
    pub lines_before: u64,
}

impl LineSplitter {
    /// Nothing has come yet. `line_bytes_max` is without the line break; a batch has at most `batch_bytes_max` bytes, or
    /// one line.
    pub fn new(line_bytes_max: usize, batch_bytes_max: usize) -> Self {
        let (gathered, broken) = (Vec::new(), None);
        LineSplitter { gathered, whole: 0, taken: 0, line_bytes_max, batch_bytes_max, broken }
    }

    /// Takes the next bytes. A line that gets too long is not gathered: bytes from it on are dropped.
    pub fn feed(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.broken.is_some() {
                return;
            }
            let ends = part.ends_with(b"\n");
            let line_bytes = self.gathered.len() - self.whole + part.len() - usize::from(ends);
            if line_bytes > self.line_bytes_max {
                self.gathered.truncate(self.whole);
                self.broken = Some(Why::TooLong);
                return;
            }
            self.gathered.extend_from_slice(part);
            if ends {
                self.whole = self.gathered.len();
            }
        }
    }

    /// No more bytes come: the rest is a line.
    pub fn finish(&mut self) {
        self.whole = self.gathered.len();
    }

    /// Whether no more need be fed now: a batch is full, or nothing more can be taken.
    pub fn is_full(&self) -> bool {
        self.whole >= self.batch_bytes_max || self.broken.is_some()
    }

    /// Whether there are whole lines.
    pub fn has_lines(&self) -> bool {
        self.whole > 0
    }

    /// Lines handed over so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// The next whole lines; none when there are none yet. Errors: [`Broken`], after all lines before it were taken.
    pub fn take(&mut self) -> Result<Option<Batch>, Broken> {
        if self.whole == 0 {
            return match self.broken {
                Some(why) => Err(Broken { line: self.taken + 1, why }),
                None => Ok(None),
            };
        }
        let end = self.batch_end();
        let rest = self.gathered.split_off(end);
        let bytes = std::mem::replace(&mut self.gathered, rest);
        self.whole -= end;
        let lines_before = self.taken;
        let text = self.utf8(bytes);
        if text.is_empty() {
            return self.take();
        }
        let breaks = text.bytes().filter(|byte| *byte == b'\n').count();
        self.taken += (breaks + usize::from(!text.ends_with('\n'))) as u64;
        Ok(Some(Batch { text, lines_before }))
    }

    /// Where the next batch ends: at the last line break within its bound, or at the first one.
    fn batch_end(&self) -> usize {
        if self.whole <= self.batch_bytes_max {
            return self.whole;
        }
        let is_break = |byte: &u8| *byte == b'\n';
        let within = self.gathered[..self.batch_bytes_max].iter().rposition(is_break);
        let first = || self.gathered[..self.whole].iter().position(is_break);
        within.or_else(first).map_or(self.whole, |at| at + 1)
    }

    /// The lines before the first one that is not UTF-8; after that one nothing is taken any more.
    fn utf8(&mut self, bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap_or_else(|error| {
            let valid = error.utf8_error().valid_up_to();
            let mut bytes = error.into_bytes();
            bytes.truncate(bytes[..valid].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
            (self.gathered, self.whole, self.broken) = (Vec::new(), 0, Some(Why::NotUtf8));
            String::from_utf8(bytes).expect("a part of what was just found valid, cut at a line break")
        })
    }
}

/// Whether there is nothing in it but blanks and line breaks, as JSON knows them and the component passes them over: a form
/// feed is neither, and refused wherever it stands.
pub fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lines of a body that comes in these pieces, and how it ended.
    fn split(pieces: &[&[u8]], line_bytes_max: usize, batch_bytes_max: usize) -> (Vec<String>, Option<Broken>) {
        let mut splitter = LineSplitter::new(line_bytes_max, batch_bytes_max);
        let (mut lines, mut broken) = (Vec::new(), None);
        let mut take_all = |splitter: &mut LineSplitter, lines: &mut Vec<String>| loop {
            match splitter.take() {
                Ok(Some(batch)) => {
                    assert!(batch.text.len() <= batch_bytes_max || batch.text.lines().count() == 1, "{batch:?}");
                    assert_eq!(batch.lines_before, lines.len() as u64);
                    lines.extend(batch.text.split_inclusive('\n').map(str::to_owned));
                }
                Ok(None) => break,
                Err(why) => {
                    broken = Some(why);
                    break;
                }
            }
        };
        for piece in pieces {
            splitter.feed(piece);
            assert!(splitter.gathered.len() - splitter.whole <= line_bytes_max, "more than one line is held");
            take_all(&mut splitter, &mut lines);
        }
        splitter.finish();
        take_all(&mut splitter, &mut lines);
        (lines, broken)
    }

    const BODIES: [&[u8]; 10] = [
        b"",
        b"\n",
        b"{\"a\":1}\n{\"b\":2}\n",
        b"one\ntwo\nthe rest has no end",
        b"\n\n\r\n\na\r\n",
        "žluťoučký\nkůň\n🦀\n".as_bytes(),
        b"fine\nbad \xff here\nnever\n",
        b"fine\ncut \xf0\x9f\n\xa6\x80\n",
        b"short\nthis line is much longer than any line may be\nnever\n",
        b"short\n\xff\nthis line is much longer than any line may be\n",
    ];

    #[test]
    fn any_split_of_the_same_bytes_gives_the_same_lines() {
        for body in BODIES {
            let whole = split(&[body], 24, 16);
            for first in 0..=body.len() {
                for second in first..=body.len() {
                    let pieces = [&body[..first], &body[first..second], &body[second..]];
                    assert_eq!(split(&pieces, 24, 16), whole, "{:?} at {first} and {second}", body.escape_ascii());
                }
            }
            let bytes: Vec<&[u8]> = body.chunks(1).collect();
            assert_eq!(split(&bytes, 24, 16), whole, "{:?} byte by byte", body.escape_ascii());
            for batch_bytes_max in 1..40 {
                assert_eq!(split(&[body], 24, batch_bytes_max), whole, "{:?}", body.escape_ascii());
            }
        }
    }

    #[test]
    fn random_bodies_in_random_pieces_give_the_same_lines() {
        let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
        println!("seed {random:#x}");
        let mut below = |bound: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % bound as u64).expect("it is below a usize")
        };
        for _ in 0..2000 {
            let alphabet = b"ab\n\n\r\xc3\xa9{";
            let body: Vec<u8> = (0..below(80)).map(|_| alphabet[below(alphabet.len())]).collect();
            let (mut pieces, mut rest) = (Vec::new(), body.as_slice());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(1 + below(rest.len()));
                (rest, _) = (after, pieces.push(piece));
            }
            let (line_max, batch_max) = (1 + below(20), 1 + below(30));
            assert_eq!(
                split(&pieces, line_max, batch_max),
                split(&[&body], line_max, 1000),
                "{:?}",
                body.escape_ascii()
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let broken = |body: &[u8]| split(&[body], 24, 1000);
        assert_eq!(broken(BODIES[6]), (vec!["fine\n".into()], Some(Broken { line: 2, why: Why::NotUtf8 })));
        assert_eq!(broken(BODIES[8]), (vec!["short\n".into()], Some(Broken { line: 2, why: Why::TooLong })));
        assert_eq!(broken(BODIES[9]).1, Some(Broken { line: 2, why: Why::NotUtf8 }));
        assert_eq!(broken(BODIES[3]).0, ["one\n", "two\n", "the rest has no end"]);
    }

    #[test]
    fn blanks_are_those_of_json() {
        assert!(is_blank("") && is_blank(" \t\r\n\n"));
        for text in ["\u{c}\n", "\u{b}", "\u{a0}", "x"] {
            assert!(!is_blank(text), "{text:?}");
        }
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_taken() {
        assert_eq!(split(&[b"12345\n"], 5, 100).1, None);
        assert_eq!(split(&[b"123456\n"], 5, 100).1, Some(Broken { line: 1, why: Why::TooLong }));
        assert_eq!(split(&[b"123456"], 5, 100).1, Some(Broken { line: 1, why: Why::TooLong }));
    }
}
