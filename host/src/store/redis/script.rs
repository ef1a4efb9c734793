//! Scripts: called by their hash, sent whole when the server does not know them (any more).

use redis::{Cmd, RedisResult, ServerErrorKind, ToRedisArgs, Value};

use super::link::Link;

/// One script. Its text is a contract with hosts in other languages.
pub(crate) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    /// A script of this text.
    pub(crate) fn new(text: &'static str) -> Self {
        Script { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    /// Runs it. `SCRIPT FLUSH` may come at any time: what the server does not know was not begun, so it is sent again
    /// with its whole text, which also makes it known.
    pub(crate) async fn run<K: ToRedisArgs>(
        &self,
        link: &Link,
        keys: &[K],
        arguments: impl ToRedisArgs,
    ) -> RedisResult<Value> {
        let answer = link.run(&self.command("EVALSHA", &self.hash, keys, &arguments)).await;
        match answer {
            Err(error) if error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript) => {
                link.run(&self.command("EVAL", self.text, keys, &arguments)).await
            }
            answer => answer,
        }
    }

    fn command<K: ToRedisArgs>(&self, name: &str, script: &str, keys: &[K], arguments: &impl ToRedisArgs) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
        command
    }
}
