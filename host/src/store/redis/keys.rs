//! What stands where in Redis. All keys of a stream hash to one slot of a Cluster, and all of the index to another.

use std::fmt::Write as _;

use crate::types::StreamId;

/// Names of the keys of one tenant of a server.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    /// Keys that begin with `prefix`, which has no braces: they mark what a Cluster hashes.
    pub(crate) fn new(prefix: &str) -> Self {
        Keys { prefix: prefix.to_owned() }
    }

    /// The row of a stream (hash). Scripts get only this one and derive the others of the stream from it.
    pub(crate) fn job(&self, stream: &StreamId) -> String {
        self.of(stream, "job")
    }

    /// What all keys of streams begin with, up to the name.
    pub(crate) fn begin(&self) -> String {
        format!("{}:{{", self.prefix)
    }

    /// The checkpoint (hash: `at`, `state`).
    pub(crate) fn checkpoint(&self, stream: &StreamId) -> String {
        self.of(stream, "checkpoint")
    }

    /// Replicas that have readers (zset: replica -> until when, Unix milliseconds).
    pub(crate) fn present(&self, stream: &StreamId) -> String {
        self.of(stream, "present")
    }

    /// The channel on which writes are told.
    pub(crate) fn wake(&self, stream: &StreamId) -> String {
        self.of(stream, "wake")
    }

    /// Anything else of a stream that lives in its slot.
    pub(crate) fn of(&self, stream: &StreamId, name: &str) -> String {
        let id = stream.as_str();
        let mut key = String::with_capacity(self.prefix.len() + id.len() + name.len() + 4);
        key.push_str(&self.prefix);
        key.push_str(":{");
        // A brace in a name would end the part that a Cluster hashes, or make one name look like another's key.
        for c in id.chars() {
            match c {
                '{' | '}' | '%' => drop(write!(key, "%{:02X}", u32::from(c))),
                _ => key.push(c),
            }
        }
        key.push_str("}:");
        key.push_str(name);
        key
    }

    /// The stream whose channel [`Keys::wake`] this is.
    pub(crate) fn stream_of_wake(&self, channel: &[u8]) -> Option<StreamId> {
        let text = std::str::from_utf8(channel).ok()?;
        let escaped = text.strip_prefix(&self.prefix)?.strip_prefix(":{")?.strip_suffix("}:wake")?;
        let id = escaped.replace("%7B", "{").replace("%7D", "}").replace("%25", "%");
        let stream = StreamId::parse(&id).ok()?;
        // Also refuses whatever was escaped in another way.
        (self.wake(&stream) == text).then_some(stream)
    }

    /// A key of the index. Its places (hash: stream -> place) are what scripts get; they derive the others.
    pub(crate) fn index(&self, name: &str) -> String {
        format!("{}:{{index}}:{name}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_any_name_has_one_slot_and_keys_of_its_own() {
        let keys = Keys::new("rejoin");
        for (id, job) in [
            ("chat-1", "rejoin:{chat-1}:job"),
            ("}", "rejoin:{%7D}:job"),
            ("a%7Db{", "rejoin:{a%257Db%7B}:job"),
            ("index}:places", "rejoin:{index%7D:places}:job"),
        ] {
            let stream = StreamId::parse(id).expect("it is a name");
            assert_eq!(keys.job(&stream), job);
            assert_eq!(keys.stream_of_wake(keys.wake(&stream).as_bytes()), Some(stream));
        }
        assert_eq!(keys.index("places"), "rejoin:{index}:places");
        for channel in ["", "rejoin:{a}:job", "other:{a}:wake", "rejoin:{a}b}:wake", "rejoin:{}:wake"] {
            assert_eq!(keys.stream_of_wake(channel.as_bytes()), None, "{channel}");
        }
    }
}
