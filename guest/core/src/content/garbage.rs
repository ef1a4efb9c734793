//! Test data: events that are nearly right, made from a tape of numbers (so that failures shrink).

/// A member of an object: its name and what makes its value.
type Member<'a, T> = (&'a str, fn(&mut T) -> String);

/// Numbers that decide; zeros when it ends.
pub(super) struct Tape<'a>(pub(super) &'a [u8]);

impl Tape<'_> {
    fn below(&mut self, n: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % n
    }

    /// True once in `n`, never at the end.
    fn rarely(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    fn one<'b>(&mut self, of: &[&'b str]) -> &'b str {
        of[self.below(of.len())]
    }

    /// `value`, or now and then something else altogether.
    fn or_junk(&mut self, value: String) -> String {
        if self.rarely(40) { self.junk() } else { value }
    }

    fn junk(&mut self) -> String {
        self.one(&[
            "null",
            "true",
            "false",
            "0",
            "1",
            "-1",
            "2.0",
            "1.5",
            "1e999",
            "12345678901234567890",
            "\"\"",
            "\" \"",
            "\"a\"",
            "\"text\"",
            "\"\\ud83d\"",
            "\"\\ude00\"",
            "[]",
            "[1]",
            "[null]",
            "{}",
            "{\"type\":\"text\"}",
            "{\"id\":\"c1\"}",
            "[[[]]]",
            "\"summary\"",
            "\"\\u0074ext\"",
        ])
        .into()
    }

    /// An object of some of `members`; each is there nearly always if its name starts with `!`.
    fn object(&mut self, members: &[Member<'_, Self>]) -> String {
        let mut out = Vec::new();
        for (name, value) in members {
            let there = if name.starts_with('!') { !self.rarely(30) } else { self.rarely(4) };
            if there {
                let value = value(self);
                let value = self.or_junk(value);
                out.push(format!("\"{}\":{value}", name.trim_start_matches('!')));
            }
        }
        self.or_junk_object(out)
    }

    fn or_junk_object(&mut self, mut members: Vec<String>) -> String {
        if self.rarely(8) {
            members.reverse();
        }
        format!("{{{}}}", members.join(","))
    }

    fn list(&mut self, most: usize, item: fn(&mut Self) -> String) -> String {
        let items: Vec<String> = (0..self.below(most + 1)).map(|_| item(self)).collect();
        format!("[{}]", items.join(","))
    }

    fn step_id(&mut self) -> String {
        self.one(&["\"s1\"", "\"s1\"", "\"s2\"", "\"s2\"", "\"s3\"", "\"s4\"", "\"\"", "\"\\u00731\"", "null", "7"])
            .into()
    }

    fn call_id(&mut self) -> String {
        self.one(&[
            "\"c1\"",
            "\"c1\"",
            "\"c2\"",
            "\"c2\"",
            "\"c3\"",
            "\"c4\"",
            "\"\"",
            "null",
            "\"\\u00631\"",
            "\"  \"",
        ])
        .into()
    }

    fn index(&mut self) -> String {
        self.one(&["0", "0", "1", "1", "2", "3", "4", "7", "2.0", "-0"]).into()
    }

    fn name(&mut self) -> String {
        self.one(&["\"n\"", "\"n\"", "\"m\"", "\"\"", "null", "\"\\ufeff \""]).into()
    }

    fn args(&mut self) -> String {
        self.one(&[
            "\"\"",
            "\"x\"",
            "\"{\\\"a\\\"\"",
            "\":1}\"",
            "\"\\ud83d\"",
            "\"\\ude00\"",
            "{}",
            "{\"v\":1}",
            "null",
            "[1]",
        ])
        .into()
    }

    fn agent(&mut self) -> String {
        self.one(&["\"a1\"", "\"a2\"", "\"\"", "null"]).into()
    }

    fn group(&mut self) -> String {
        self.one(&["0", "1", "\"\"", "null"]).into()
    }

    fn text(&mut self) -> String {
        self.one(&["\"\"", "\"a\"", "\" b\\n\"", "\"\\ud83d\"", "\"\\ude00\"", "\"\\\\\"", "\"é\""]).into()
    }

    fn any(&mut self) -> String {
        self.junk()
    }

    fn anys(&mut self) -> String {
        self.list(2, Self::junk)
    }

    fn kind(&mut self) -> String {
        self.one(&[
            "\"text\"",
            "\"text\"",
            "\"text\"",
            "\"think\"",
            "\"think\"",
            "\"tool_call\"",
            "\"tool_call\"",
            "\"summary\"",
            "\"summary\"",
            "\"toolCall\"",
            "\"toolResponse\"",
            "\"text_delta\"",
            "\"thinking\"",
            "\"t\"",
            "\"error\"",
            "\"agent_update\"",
            "\"image_url\"",
            "\"tool\"",
        ])
        .into()
    }

    fn incoming(&mut self) -> String {
        self.object(&[
            ("!id", Self::call_id),
            ("!name", Self::name),
            ("!args", Self::args),
            ("output", Self::any),
            ("outcome", Self::any),
            ("auth", Self::agent),
            ("expires_at", Self::group),
            ("progress", Self::group),
        ])
    }

    fn chunk(&mut self) -> String {
        self.object(&[("!index", Self::index), ("id", Self::call_id), ("name", Self::name), ("!args", Self::args)])
    }

    fn update(&mut self) -> String {
        self.object(&[("!index", Self::index), ("agentId", Self::agent)])
    }

    pub(super) fn part(&mut self) -> String {
        let part = self.object(&[
            ("!type", Self::kind),
            ("!text", Self::text),
            ("!think", Self::text),
            ("tool_call_ids", Self::anys),
            ("citations", Self::anys),
            ("!tool_call", Self::incoming),
            ("content", Self::anys),
            ("agentId", Self::agent),
            ("groupId", Self::group),
            ("agent_update", Self::update),
            ("image_url", Self::any),
        ]);
        self.or_junk(part)
    }

    fn content(&mut self) -> String {
        if self.rarely(5) { self.part() } else { self.list(3, Self::part) }
    }

    fn details(&mut self) -> String {
        if self.rarely(2) {
            return "{\"type\":\"message_creation\"}".into();
        }
        let calls = self.list(3, Self::incoming);
        format!("{{\"type\":\"tool_calls\",\"tool_calls\":{}}}", self.or_junk(calls))
    }

    fn delta(&mut self) -> String {
        self.object(&[("!content", Self::content)])
    }

    fn call_delta(&mut self) -> String {
        let chunks = self.list(3, Self::chunk);
        let more = self.one(&["", "", "", ",\"auth\":\"u\",\"expires_at\":1", ",\"auth\":null,\"expires_at\":2"]);
        format!("{{\"type\":\"tool_calls\",\"tool_calls\":{}{more}}}", self.or_junk(chunks))
    }

    fn result(&mut self) -> String {
        if self.rarely(4) {
            return self.object(&[
                ("!id", Self::step_id),
                ("!type", |_| "\"summary\"".into()),
                ("!summary", Self::part),
            ]);
        }
        self.object(&[("!id", Self::step_id), ("!type", |_| "\"tool_call\"".into()), ("!tool_call", Self::incoming)])
    }

    /// One record.
    pub(super) fn event(&mut self) -> String {
        let (name, data) = match self.below(8) {
            0 | 1 => (
                "on_run_step",
                self.object(&[
                    ("!id", Self::step_id),
                    ("!index", Self::index),
                    ("!stepDetails", Self::details),
                    ("agentId", Self::agent),
                    ("groupId", Self::group),
                    ("summary", Self::part),
                ]),
            ),
            2 | 3 => ("on_message_delta", self.object(&[("!id", Self::step_id), ("!delta", Self::delta)])),
            4 => ("on_reasoning_delta", self.object(&[("!id", Self::step_id), ("!delta", Self::delta)])),
            5 => ("on_run_step_delta", self.object(&[("!id", Self::step_id), ("!delta", Self::call_delta)])),
            6 => ("on_run_step_completed", self.object(&[("!result", Self::result)])),
            _ => (
                "on_agent_update",
                self.object(&[("!type", Self::kind), ("!agent_update", Self::update), ("text", Self::text)]),
            ),
        };
        format!("{{\"event\":\"{name}\",\"data\":{}}}", self.or_junk(data))
    }

    /// Records until the tape ends, and one more.
    pub(super) fn events(&mut self) -> Vec<String> {
        let mut events = vec![self.event()];
        while !self.0.is_empty() {
            events.push(self.event());
        }
        events
    }
}
