//! A model provider's response body, taken as it is, becomes records.
//!
//! The body is server-sent events; what is inside depends on the [`Dialect`]. [`Translator`] is a value: whole
//! lines go in, NDJSON records come out. The same body gives the same bytes however it is cut into pushes.
//!
//! # Records
//!
//! | event | data | when |
//! |---|---|---|
//! | `on_run_step` | `id`, `index`, `type`, `stepDetails` | a message, a run of reasoning or a tool call begins |
//! | `on_message_delta` | `id`, `delta.content` = one `text` part, or an empty one with `citations` | text, refusal text, citations (as the provider spells them) |
//! | `on_reasoning_delta` | `id`, `delta.content` = one `think` part | reasoning and its summaries |
//! | `on_run_step_delta` | `id`, `delta.tool_calls` = one nameless fragment, `index` 0 | arguments of a call |
//! | `on_run_step_completed` | `result` with `tool_call`: `id`, `name`, `args` (always a string), `output` (a string) if the provider ran it | arguments complete; for calls the provider runs: result there, or body ended |
//! | `on_refusal` | `id` of the step whose text is a refusal | before that text, which is ordinary message text: a reader must see it |
//! | `on_usage` | the provider's usage object | once per response, at its end; Anthropic's two are merged, the later value of a key wins |
//! | `on_finish` | `reason` (finish reason, stop reason, incomplete reason or status) | once per response, at its end |
//! | `on_error` | `error`, as the provider spells it | once per response; the job goes on, its end is the producer's word |
//! | `on_mcp_list_tools`, `on_redacted_thinking` | the provider's item or block | kept and delivered, not part of the content |
//!
//! Consecutive text is one step, so an answer that Anthropic cuts into blocks around its citations stays one
//! text part. A message item (Responses), a block of thinking or a tool call ends it. A call a client runs itself
//! is completed without `output`; the client appends a second completion that carries it (SPEC C10).
//!
//! # Ids and indexes
//!
//! A step id is `step_<provider's response id>-<hash of the chunk that opened the first step>_<n>`: made of the body alone, and
//! different for every body of a generation even where a server counts its ids from zero.
//!
//! `index` is a correlation key (SPEC S3): two steps of different kinds under one index lose the later one's
//! content. So bodies of one generation must not share indexes, and one body cannot know of the others: the caller
//! says with [`Translator::index_at_least`], before every push, one more than the highest index of the generation
//! (`Session::next_index`). Steps are numbered 0, 1, 2, …, as clients expect that take `index` for a position in the
//! content list, and stay apart even for bodies that arrive at the same time or twice.
//!
//! # What is left out
//!
//! Choices other than the first (`n` > 1), audio, log probabilities, thinking signatures, partial images, and chunk
//! types not known here.

mod anthropic;
mod fields;
mod openai_calls;
mod openai_chat;
mod openai_responses;
mod record;
mod sse;
#[cfg(test)]
mod tests;
mod text;

use crate::json::{Json, Kind};

use record::Records;
use sse::Sse;

/// What the events of a body hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Records already: each event's data is one, passed through.
    Events,
    /// OpenAI chat completion chunks, and what speaks like them.
    OpenaiChat,
    /// OpenAI Responses events.
    OpenaiResponses,
    /// Anthropic Messages events.
    AnthropicMessages,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Dialect; 4] =
        [Dialect::Events, Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::AnthropicMessages];

    /// The dialect of this name; none for other names.
    pub fn parse(name: &str) -> Option<Dialect> {
        Dialect::ALL.into_iter().find(|dialect| dialect.name() == name)
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Events => "events",
            Dialect::OpenaiChat => "openai-chat",
            Dialect::OpenaiResponses => "openai-responses",
            Dialect::AnthropicMessages => "anthropic-messages",
        }
    }
}

/// What a push gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translated {
    /// Records, one JSON object a line, each line ended by `\n`. Those before a bad chunk are here too.
    pub records: String,
    /// The chunk that stopped the translation. Nothing after it is read; further calls repeat it.
    pub bad: Option<BadChunk>,
}

/// A chunk that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadChunk {
    /// Line of the body, from 1, on which the chunk begins.
    pub line: u64,
    /// Why, in words for a person.
    pub reason: String,
}

/// One body on its way.
pub struct Translator {
    sse: Sse,
    body: Body,
    out: Records,
    ended: bool,
    bad: Option<BadChunk>,
}

/// What a dialect remembers.
enum Body {
    Events,
    Chat(openai_chat::Chat),
    Responses(openai_responses::Responses),
    Anthropic(anthropic::Message),
}

impl Translator {
    /// A body of which nothing has come yet.
    pub fn new(dialect: Dialect) -> Self {
        let body = match dialect {
            Dialect::Events => Body::Events,
            Dialect::OpenaiChat => Body::Chat(Default::default()),
            Dialect::OpenaiResponses => Body::Responses(Default::default()),
            Dialect::AnthropicMessages => Body::Anthropic(Default::default()),
        };
        Translator { sse: Sse::default(), body, out: Records::default(), ended: false, bad: None }
    }

    /// The next step gets at least this `index` (see the module's text).
    pub fn index_at_least(&mut self, index: u64) {
        self.out.index_at_least(index);
    }

    /// Takes whole lines of the body and returns the records they complete.
    ///
    /// Shape: lines end with `\n`, `\r\n` or `\r`; only the last line of the body may lack its end.
    pub fn push(&mut self, lines: &str) -> Translated {
        if self.bad.is_none() {
            self.bad = self.lines(lines).err();
        }
        self.taken()
    }

    /// The body ended: an event without its blank line counts, and calls still open are completed with what came.
    pub fn finish(&mut self) -> Translated {
        if self.bad.is_none() {
            self.bad = self.event().err();
        }
        if self.bad.is_none() {
            self.end();
        }
        self.taken()
    }

    fn taken(&mut self) -> Translated {
        Translated { records: self.out.take(), bad: self.bad.clone() }
    }

    fn lines(&mut self, lines: &str) -> Result<(), BadChunk> {
        for line in lines.split_inclusive('\n') {
            let line = line.strip_suffix('\n').unwrap_or(line);
            let line = line.strip_suffix('\r').unwrap_or(line);
            for line in line.split('\r') {
                if self.sse.line(line)? {
                    self.event()?;
                }
            }
        }
        Ok(())
    }

    /// Translates the event that is gathered, if there is one.
    fn event(&mut self) -> Result<(), BadChunk> {
        let event = self.sse.take();
        let data = event.data.trim_matches([' ', '\t', '\n']);
        if self.ended || data.is_empty() {
            return Ok(());
        }
        let bad = |reason: String| BadChunk { line: event.line, reason };
        if data == "[DONE]" && !matches!(self.body, Body::Events) {
            self.end();
            return Ok(());
        }
        let parse = |text| Json::parse(text).map_err(|error| bad(format!("the chunk is not JSON: {error}")));
        let mut chunk = parse(data)?;
        // A record is one line. In valid JSON a line break stands between tokens, never in a string.
        let flat;
        if data.contains('\n') {
            flat = data.replace('\n', " ");
            chunk = parse(&flat)?;
        }
        if chunk.kind() != Kind::Object {
            return Err(bad("the chunk is not a JSON object".into()));
        }
        self.out.seed(chunk);
        match &mut self.body {
            Body::Events => {
                self.out.record(chunk);
                Ok(())
            }
            Body::Chat(body) => body.chunk(&event.name, chunk, &mut self.out),
            Body::Responses(body) => body.chunk(&event.name, chunk, &mut self.out),
            Body::Anthropic(body) => body.chunk(&event.name, chunk, &mut self.out),
        }
        .map_err(bad)
    }

    fn end(&mut self) {
        self.ended = true;
        match &mut self.body {
            Body::Events => {}
            Body::Chat(body) => body.close(&mut self.out),
            Body::Responses(body) => body.close(&mut self.out),
            Body::Anthropic(body) => body.close(&mut self.out),
        }
    }
}
