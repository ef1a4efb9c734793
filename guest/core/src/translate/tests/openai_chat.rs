use super::*;

#[track_caller]
fn chat(deltas: &[&str], expected: &[&str]) {
    let chunks: Vec<_> =
        deltas.iter().map(|delta| format!(r#"{{"id":"c1","choices":[{{"index":0,"delta":{delta}}}]}}"#)).collect();
    check(Dialect::OpenaiChat, &chunks.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn a_text_is_one_step_and_its_deltas_byte_for_byte() {
    let chunks = [
        r#"{"id":"c1","choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":null}"#,
        r#"{"id":"c1","choices":[{"index":0,"delta":{"content":"Hé\ud83d"}}]}"#,
        r#"{"id":"c1","choices":[{"index":0,"delta":{"content":"\ude00\n"}}]}"#,
        r#"{"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"id":"c1","choices":[],"usage":{"prompt_tokens": 1}}"#,
        "[DONE]",
        r#"{"id":"c2","choices":[{"index":0,"delta":{"content":"never read"}}]}"#,
    ];
    let records = translate(Dialect::OpenaiChat, &chunks);
    let step = Json::parse(records.lines().next().expect("a step")).expect("JSON");
    let step = step.get("data").and_then(|data| data.get("id")).and_then(Json::literal).expect("an id");
    assert!(step.starts_with("step_c1-") && step.ends_with("_0"), "{step}");
    let expected = [
        r#"{"event":"on_run_step","data":{"id":"STEP","index":0,"type":"message_creation","stepDetails":{"type":"message_creation","message_creation":{"message_id":"c1"}}}}"#,
        r#"{"event":"on_message_delta","data":{"id":"STEP","delta":{"content":[{"type":"text","text":"Hé\ud83d"}]}}}"#,
        r#"{"event":"on_message_delta","data":{"id":"STEP","delta":{"content":[{"type":"text","text":"\ude00\n"}]}}}"#,
        r#"{"event":"on_finish","data":{"reason":"stop"}}"#,
        r#"{"event":"on_usage","data":{"prompt_tokens": 1}}"#,
    ];
    assert_eq!(records, expected.map(|line| format!("{}\n", line.replace("STEP", step))).concat());
}

#[test]
fn a_tool_call_is_announced_streamed_and_completed_byte_for_byte() {
    let call = |entry: &str| format!(r#"{{"choices":[{{"delta":{{"content":null,"tool_calls":[{entry}]}}}}]}}"#);
    let chunks = [
        call(r#"{"index":0,"id":"call_1","type":"function","function":{"name":"weather","arguments":""}}"#),
        call(r#"{"index":0,"function":{"arguments":"{\"city\":"}}"#),
        call(r#"{"index":0,"function":{"arguments":"\"Kyōto\"}"}}"#),
    ];
    let records = translate(Dialect::OpenaiChat, &chunks.each_ref().map(String::as_str));
    let step = Json::parse(records.lines().next().expect("a step")).expect("JSON");
    let step = step.get("data").and_then(|data| data.get("id")).and_then(Json::literal).expect("an id");
    let expected = [
        r#"{"event":"on_run_step","data":{"id":"STEP","index":0,"type":"tool_calls","stepDetails":{"type":"tool_calls","tool_calls":[{"name":"weather","args":"","id":"call_1","type":"tool_call"}]}}}"#,
        r#"{"event":"on_run_step_delta","data":{"id":"STEP","delta":{"type":"tool_calls","tool_calls":[{"index":0,"args":"{\"city\":","type":"tool_call_chunk"}]}}}"#,
        r#"{"event":"on_run_step_delta","data":{"id":"STEP","delta":{"type":"tool_calls","tool_calls":[{"index":0,"args":"\"Kyōto\"}","type":"tool_call_chunk"}]}}}"#,
        r#"{"event":"on_run_step_completed","data":{"result":{"id":"STEP","index":0,"type":"tool_call","tool_call":{"id":"call_1","name":"weather","args":"{\"city\":\"Kyōto\"}","type":"tool_call"}}}}"#,
    ];
    assert_eq!(records, expected.map(|line| format!("{}\n", line.replace("STEP", step))).concat());
}

#[test]
fn reasoning_and_text_take_turns_in_steps_of_their_own() {
    chat(
        &[
            r#"{"content":null,"reasoning_content":"Hm"}"#,
            r#"{"reasoning":"m"}"#,
            r#"{"content":"Yes"}"#,
            r#"{"content":".","reasoning_content":null}"#,
            r#"{"reasoning":"same","reasoning_details":[{"type":"reasoning.text","text":"same"}]}"#,
            r#"{"reasoning_details":[{"type":"reasoning.summary","summary":"S"},{"type":"reasoning.encrypted","data":"x"}]}"#,
        ],
        &["message", "think Hm", "think m", "message", "text Yes", "text .", "message", "think same", "think S"],
    );
}

#[test]
fn content_may_be_a_list_of_parts() {
    chat(
        &[r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"Hm"}]},{"type":"text","text":"Yes"}]}"#],
        &["message", "think Hm", "message", "text Yes"],
    );
}

#[test]
fn parallel_calls_are_told_apart_by_index() {
    chat(
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}},{"index":1,"id":"b","function":{"name":"g","arguments":"{"}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":"1"}},{"index":1,"function":{"arguments":"}"}}]}"#,
        ],
        &["call a f", "call b g", "args {", "args 1", "args }", "done a f 1 -", "done b g {} -"],
    );
}

#[test]
fn calls_that_share_an_index_or_have_none_are_told_apart_by_id() {
    chat(
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"1"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"b","function":{"name":"f","arguments":"2"}}]}"#,
            r#"{"tool_calls":[{"id":"c","function":{"name":"f","arguments":"3"}}]}"#,
            r#"{"tool_calls":[{"function":{"arguments":"4"}}]}"#,
        ],
        &[
            "call a f",
            "args 1",
            "call b f",
            "args 2",
            "call c f",
            "args 3",
            "args 4",
            "done a f 1 -",
            "done b f 2 -",
            "done c f 34 -",
        ],
    );
}

#[test]
fn a_new_id_without_a_name_continues_the_call() {
    chat(
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"1"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"random","function":{"name":null,"arguments":"2"}}]}"#,
        ],
        &["call a f", "args 1", "args 2", "done a f 12 -"],
    );
}

#[test]
fn a_call_waits_for_its_name() {
    chat(
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"arguments":"1"}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"2"}}]}"#,
            r#"{"tool_calls":[{"index":1,"id":"b"}]}"#,
        ],
        &["call a f", "args 1", "args 2", "done a f 12 -", "call b ", "done b   -"],
    );
}

#[test]
fn function_call_of_old_and_custom_tools_are_calls() {
    let records = translate(
        Dialect::OpenaiChat,
        &[
            r#"{"choices":[{"delta":{"function_call":{"name":"f","arguments":"{"}}}]}"#,
            r#"{"choices":[{"delta":{"function_call":{"arguments":"}"}}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"x","type":"custom","custom":{"name":"sql","input":"SELECT"}}]}}]}"#,
        ],
    );
    let brief = brief(&records);
    assert!(brief[0].starts_with("call call_-") && brief[0].ends_with("_0 f"), "{}", brief[0]);
    assert_eq!(brief[1..5], ["args {", "args }", "call x sql", "args SELECT"]);
    assert!(brief[5].ends_with("f {} -"));
    assert_eq!(brief[6], "done x sql SELECT -");
}

#[test]
fn a_refusal_is_text_in_a_step_that_is_marked() {
    chat(
        &[r#"{"content":"Well"}"#, r#"{"refusal":"I can"}"#, r#"{"refusal":"not."}"#],
        &["message", "text Well", "message", "refusal", "text I can", "text not."],
    );
}

#[test]
fn annotations_are_citations_of_the_text() {
    chat(
        &[r#"{"content":"A"}"#, r#"{"annotations":[{"type":"url_citation","url_citation":{"url":"u"}}]}"#],
        &["message", "text A", r#"cite {"type":"url_citation","url_citation":{"url":"u"}}"#],
    );
}

#[test]
fn only_the_first_choice_is_content() {
    check(
        Dialect::OpenaiChat,
        &[
            r#"{"choices":[{"index":1,"delta":{"content":"B"},"finish_reason":"length"},{"index":0,"delta":{"content":"A"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        ],
        &["message", "text A", r#"finish {"reason":"stop"}"#],
    );
}

#[test]
fn usage_is_told_once_wherever_it_stands() {
    for chunk in [
        r#"{"choices":[],"usage":{"total_tokens":2}}"#,
        r#"{"choices":[],"x_groq":{"usage":{"total_tokens":2}}}"#,
        r#"{"choices":[{"index":0,"delta":{},"usage":{"total_tokens":2}}]}"#,
    ] {
        check(Dialect::OpenaiChat, &[r#"{"usage":{"total_tokens":1}}"#, chunk], &[r#"usage {"total_tokens":2}"#]);
    }
}

#[test]
fn an_error_is_told_once_as_the_provider_spells_it() {
    let error = r#"{"error":{"message":"over quota","code":429}}"#;
    check(Dialect::OpenaiChat, &[error, error], &[r#"error {"error":{"message":"over quota","code":429}}"#]);
    let choice = r#"{"choices":[{"index":0,"error":{"code":502},"finish_reason":"error"}]}"#;
    check(Dialect::OpenaiChat, &[choice], &[r#"error {"error":{"code":502}}"#, r#"finish {"reason":"error"}"#]);
    let mut translator = Translator::new(Dialect::OpenaiChat);
    let records = translator.push("event: error\ndata: {\"message\":\"no\"}\n\n").records;
    assert_eq!(records, "{\"event\":\"on_error\",\"data\":{\"error\":{\"message\":\"no\"}}}\n");
}
