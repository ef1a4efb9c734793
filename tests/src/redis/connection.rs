//! One connection to a Redis, one command at a time: what a test asks the server behind the host's back.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

const PATIENCE: Duration = Duration::from_secs(10);

/// An answer. Errors are none: [`Connection::call`] fails with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A string or a status.
    Text(String),
    /// A number.
    Number(i64),
    /// Nothing.
    Nil,
    /// Several.
    List(Vec<Reply>),
}

/// As `redis-cli` prints it when nobody looks: nothing for nil, one line for each element.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Text(text) => f.write_str(text),
            Reply::Number(number) => write!(f, "{number}"),
            Reply::Nil => Ok(()),
            Reply::List(replies) => replies.iter().enumerate().try_for_each(|(at, reply)| {
                f.write_str(if at > 0 { "\n" } else { "" })?;
                write!(f, "{reply}")
            }),
        }
    }
}

/// Dropped: closed.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to a port of 127.0.0.1.
    pub fn open(port: u16) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, PATIENCE).with_context(|| address.to_string())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection { stream: BufReader::new(stream) })
    }

    /// How long an answer may take from now on.
    pub fn patience(&mut self, patience: Duration) -> Result<()> {
        Ok(self.stream.get_ref().set_read_timeout(Some(patience))?)
    }

    /// Sends one command and reads its answer. Errors: the server's own, in its words, among them.
    pub fn call(&mut self, arguments: &[&str]) -> Result<Reply> {
        let mut command = format!("*{}\r\n", arguments.len());
        for argument in arguments {
            command.push_str(&format!("${}\r\n{argument}\r\n", argument.len()));
        }
        self.stream.get_mut().write_all(command.as_bytes())?;
        self.reply()
    }

    /// The next thing that the server says, as after SUBSCRIBE.
    pub fn reply(&mut self) -> Result<Reply> {
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line)? > 0, "the server has closed the connection");
        let (kind, rest) = line.trim_end().split_at_checked(1).context("an empty line")?;
        match kind {
            "+" => Ok(Reply::Text(rest.to_owned())),
            "-" => bail!("{rest}"),
            ":" => Ok(Reply::Number(rest.parse()?)),
            "$" => self.bulk(rest.parse()?),
            "*" if rest == "-1" => Ok(Reply::Nil),
            "*" => (0..rest.parse::<u32>()?).map(|_| self.reply()).collect::<Result<_>>().map(Reply::List),
            _ => bail!("no answer of a Redis: {line:?}"),
        }
    }

    fn bulk(&mut self, length: i64) -> Result<Reply> {
        let Ok(length) = usize::try_from(length) else { return Ok(Reply::Nil) };
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
    }
}
