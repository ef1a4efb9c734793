use proptest::prelude::*;

use super::*;

fn push_all(dialect: Dialect, pieces: &[&str]) -> Translated {
    let mut translator = Translator::new(dialect);
    let mut all = Translated::default();
    for piece in pieces {
        let Translated { records, bad } = translator.push(piece);
        all.records.push_str(&records);
        all.bad = bad;
    }
    let Translated { records, bad } = translator.finish();
    all.records.push_str(&records);
    Translated { bad, ..all }
}

#[track_caller]
fn passes(body: &str, records: &str) {
    assert_eq!(push_all(Dialect::Events, &[body]), Translated { records: records.into(), bad: None });
}

#[track_caller]
fn refuses(dialect: Dialect, body: &str, line: u64, reason: &str) {
    let mut translator = Translator::new(dialect);
    let bad = translator.push(body).bad.or_else(|| translator.finish().bad).expect("a bad chunk");
    assert_eq!(bad.line, line);
    assert!(bad.reason.contains(reason), "{}", bad.reason);
}

#[test]
fn names_of_dialects_are_those_of_the_wire() {
    let names = ["events", "openai-chat", "openai-responses", "anthropic-messages"];
    assert_eq!(Dialect::ALL.map(Dialect::name), names);
    assert_eq!(names.map(Dialect::parse), Dialect::ALL.map(Some));
    assert_eq!(Dialect::parse("Events"), None);
}

#[test]
fn an_event_is_a_record_as_it_stands() {
    passes("data: {\"a\": 1}\n\ndata:{\"b\":\"\\ud83d\"}\n\n", "{\"a\": 1}\n{\"b\":\"\\ud83d\"}\n");
}

#[test]
fn comments_ids_retries_and_unknown_fields_are_passed_over() {
    passes(": hi\nid: 4\nretry: 1\nevent: x\nnonsense\ndata\n\ndata: {}\n: in between\n\n", "{}\n");
}

#[test]
fn data_over_several_lines_is_one_record_on_one_line() {
    passes("data: {\"a\":\ndata: 1,\ndata:\ndata: \"b\":2}\n\n", "{\"a\": 1,  \"b\":2}\n");
}

#[test]
fn a_byte_order_mark_and_every_kind_of_line_end_are_fine() {
    for end in ["\n", "\r\n", "\r"] {
        passes(&format!("\u{feff}data: {{\"a\":1}}{end}{end}data: {{\"b\":2}}{end}{end}"), "{\"a\":1}\n{\"b\":2}\n");
    }
}

#[test]
fn an_event_without_its_blank_line_counts_when_the_body_ends() {
    passes("data: {}", "{}\n");
    passes("data: {}\n", "{}\n");
}

#[test]
fn a_bad_chunk_is_named_by_its_line_and_what_was_before_is_kept() {
    let body = "data: {\"a\":1}\n\ndata: {\"b\":\n\ndata: {\"c\":1}\n\n";
    let Translated { records, bad } = push_all(Dialect::Events, &[body]);
    assert_eq!(records, "{\"a\":1}\n");
    assert_eq!(bad.map(|bad| bad.line), Some(3));
}

#[test]
fn what_is_not_a_json_object_is_refused() {
    refuses(Dialect::Events, "data: [1]\n\n", 1, "not a JSON object");
    refuses(Dialect::Events, "\n\ndata: [DONE]\n\n", 3, "not JSON");
    refuses(Dialect::OpenaiChat, "data: oops", 1, "not JSON");
    refuses(Dialect::AnthropicMessages, ":\ndata: \"a\ndata: b\"\n\n", 2, "not JSON");
}

#[test]
fn an_event_over_its_bound_is_refused_before_it_is_held() {
    let line = format!("data: {}\n", "x".repeat(sse::EVENT_BYTES_MAX / 2));
    refuses(Dialect::Events, &line.repeat(3), 1, "more than 1048576 bytes");
}

#[test]
fn arguments_over_their_bound_are_refused() {
    let call =
        r#"data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"ARGS"}}]}}]}"#;
    let line = format!("{}\n\n", call.replace("ARGS", &"x".repeat(1_000_000)));
    refuses(Dialect::OpenaiChat, &line.repeat(9), 17, "hold more than 8388608 bytes");
}

#[test]
fn calls_over_their_bound_are_refused() {
    let call = |n: u64| format!(r#"{{"index":{n},"id":"c{n}","function":{{"name":"f"}}}}"#);
    let body: String = (0..5_000)
        .map(|n| format!("data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":[{}]}}}}]}}\n\n", call(n)))
        .collect();
    refuses(Dialect::OpenaiChat, &body, 2 * 4_096 + 1, "more than 4096 tool calls");
}

#[test]
fn a_caller_that_knows_the_generation_numbers_steps_on() {
    let mut translator = Translator::new(Dialect::AnthropicMessages);
    translator.index_at_least(7);
    let text = "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n";
    assert!(translator.push(text).records.contains(r#""index":7,"#));
    translator.index_at_least(3);
    let think =
        "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"Hm\"}}\n\n";
    assert!(translator.push(think).records.contains(r#""index":8,"#));
    translator.index_at_least(20);
    assert!(translator.push(text).records.contains(r#""index":20,"#));
}

/// Lines that a body may hold, sound and unsound.
fn any_line() -> impl Strategy<Value = String> {
    let chat = r#"data: {"id":"c","choices":[{"delta":{"content":"a","reasoning":"b","refusal":"r"},"finish_reason":"stop"}]}"#;
    let chat_call = r#"data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":"{}"}}]}}]}"#;
    let block = r#"data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"n","input":{"a":1}}}"#;
    let delta = r#"data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\ud83d"}}"#;
    let item = r#"data: {"type":"response.output_item.added","output_index":2,"item":{"type":"code_interpreter_call","id":"i"}}"#;
    let code = r#"data: {"type":"response.code_interpreter_call_code.delta","output_index":2,"delta":"1\n"}"#;
    let done = r#"data: {"type":"response.output_item.done","output_index":2,"item":{"type":"code_interpreter_call","code":"1\n2"}}"#;
    let odd = r#"data: {"type":{},"choices":{"index":[]},"delta":7,"item":null,"usage":{"a":null},"error":null}"#;
    let known = [
        chat,
        chat_call,
        block,
        delta,
        item,
        code,
        done,
        odd,
        "data: [DONE]",
        "data:",
        "event: error",
        ":",
        "",
        "",
        "",
    ];
    prop_oneof![
        8 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => any::<String>().prop_map(|text| text.replace('\n', " ")),
        1 => any::<String>().prop_map(|text| format!("data: {}", text.replace('\n', " "))),
    ]
}

/// Chunks that use the words of all dialects without sense.
fn any_chunk() -> impl Strategy<Value = String> {
    const WORDS: &str = "type id index choices delta content text reasoning refusal tool_calls function name arguments usage error \
        finish_reason annotations message content_block tool_use server_tool_use web_search_tool_result tool_use_id input \
        text_delta input_json_delta partial_json citations_delta citation message_start content_block_start \
        content_block_delta content_block_stop message_delta message_stop response output item output_index \
        response.created response.completed response.output_item.added response.output_item.done \
        response.output_text.delta response.output_text.done response.content_part.done output_text part summary \
        response.code_interpreter_call_code.delta code_interpreter_call code call_id mcp_call action queries reasoning_text";
    let word = || proptest::sample::select(WORDS.split_whitespace().collect::<Vec<_>>());
    let leaf = prop_oneof![
        4 => word().prop_map(|word| format!("\"{word}\"")),
        1 => (0..3u8).prop_map(|number| number.to_string()),
        1 => proptest::sample::select(vec!["null", "true", "-1.5e9", "{}", "[]", r#""\ud83d\n\"""#]).prop_map(str::to_owned),
    ];
    let object = move |value: BoxedStrategy<String>| {
        let member = (word(), value).prop_map(|(key, value)| format!("\"{key}\":{value}"));
        prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(",")))
    };
    let value = leaf.prop_recursive(4, 40, 6, move |value| {
        prop_oneof![
            2 => object(value.clone().boxed()),
            1 => prop::collection::vec(value, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
        ]
    });
    (word(), prop::collection::vec((word(), value), 0..6)).prop_map(|(kind, members)| {
        let members: Vec<_> = members.iter().map(|(key, value)| format!(",\"{key}\":{value}")).collect();
        format!("{{\"type\":\"{kind}\"{}}}", members.concat())
    })
}

proptest! {
    #[test]
    fn chunks_without_sense_give_sound_records(
        chunks in prop::collection::vec(any_chunk(), 0..12),
        dialect in proptest::sample::select(&Dialect::ALL[..]),
    ) {
        let body: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
        let translated = push_all(dialect, &[&body]);
        prop_assert_eq!(translated.bad, None);
        for record in translated.records.lines() {
            prop_assert!(Json::parse(record).is_ok(), "{}", record);
        }
    }

    #[test]
    fn any_lines_cut_anywhere_give_the_same_records_and_never_panic(
        lines in prop::collection::vec((any_line(), any::<bool>()), 0..40),
        dialect in proptest::sample::select(&Dialect::ALL[..]),
    ) {
        let whole: String = lines.iter().map(|(line, _)| format!("{line}\n")).collect();
        let mut pieces = vec![String::new()];
        for (line, cut) in &lines {
            if *cut {
                pieces.push(String::new());
            }
            let last = pieces.len() - 1;
            pieces[last].push_str(&format!("{line}\n"));
        }
        let pieces: Vec<_> = pieces.iter().map(String::as_str).collect();
        let translated = push_all(dialect, &pieces);
        prop_assert_eq!(&translated, &push_all(dialect, &[&whole]));
        for record in translated.records.lines() {
            prop_assert!(Json::parse(record).is_ok(), "{}", record);
        }
    }
}
