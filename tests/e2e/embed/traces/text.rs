//! Characters that hosts spell in several ways.

use anyhow::{Result, ensure};
use serde_json::json;

use super::script::{Script, say, step};

pub(super) fn unicode(script: &mut Script) -> Result<()> {
    // As they are.
    let raw = "é ß 漢字 🦀👩‍👩‍👧 \u{2028}\u{2029}\u{85}\u{7f}\u{feff}\u{fffd}\u{10ffff} \u{202e}abc";
    let stream = &format!("конv/{raw}?&#");
    let s = &script.open(stream, &json!(null), None)?;
    script.done(s, "create", json!({ "user-id": "ünï 🦀", "idempotency-key": "k\u{2028}\"\\", "request": r#"{"sender":"\u0041\ud83e\udd80/\/"}"# }))?;
    script.push(s, &[step("ste\u{301}p", 0), say("ste\u{301}p", raw)])?;
    // Escaped: what was sent is stored byte for byte, and read as what it means.
    for escaped in [
        r"\u00e9 \u6f22 \ud83e\udd80 \u2028 \u007f \uFFFD",
        r#"\b\f\n\r\t\"\\\/ \u0000\u0001\u001f \u0022\u005c"#,
        r"\\u0041 \\\\ \\n",
    ] {
        script.push(s, &[say("ste\u{301}p", escaped)])?;
    }
    // A pair in two halves, which only meet in the fold; the second step keeps its half alone.
    script.push(s, &[say("ste\u{301}p", r"\ud83e"), say("ste\u{301}p", r"\udd80")])?;
    script.push(s, &[step("half", 1), say("half", r"x\ud83e")])?;
    script.push(s, &[r#"{"\u0065vent":"on_message_delta","d\u0061ta":{"id":"half","delta":{"content":[{"type":"text","text":" named in escapes"}]}}}"#])?;
    // Blanks of Unicode are no blanks of JSON, and no line breaks of records.
    for blank in ['\u{a0}', '\u{85}', '\u{2028}'] {
        let pushed = script.unchanged(s, "push", json!({ "text": format!("{{\"a\":1}}{blank}\n{{}}") }))?;
        ensure!(pushed["stopped"]["line"] == 1, "{pushed}");
    }
    for getter in ["content", "text", "resume-state", "save", "job"] {
        script.get(s, getter)?;
    }
    script.done(s, "pause", json!({ "action": "{\"id\":\"\u{1f980}\\n\"}" }))?;
    script.done(s, "resolve", json!({ "action-id": "\u{1f980}\n", "decision": "\"\\u2028\u{2028}\"" }))?;
    script.done(s, "fail", json!({ "reason": "\u{0}\u{7}\u{8}\u{c}\u{1b}\u{7f} \u{2028} 🦀 \"\\/" }))?;
    script.get(s, "job")?;
    Ok(())
}
