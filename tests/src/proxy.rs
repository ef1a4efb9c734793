//! A network between a host and its Redis that a test may break: lost packets, refused connections, cut ones, deaf ones.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What becomes of bytes and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// All arrives.
    Fair,
    /// Nothing arrives, and nobody is told: connections stay, new ones too.
    BlackHole,
    /// Connections are closed at once.
    Refusing,
    /// What the server says to connections that have ever subscribed is lost; the rest arrives.
    Deaf,
    /// A command with this word arrives; what the server says on its connection from then on is lost.
    Losing(&'static str),
}

/// Dropped: it ends, with all its connections.
pub struct Proxy {
    port: u16,
    weather: watch::Sender<Weather>,
    /// Counts up; connections from before are cut.
    epoch: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port and passes everything on to that port of this machine.
    pub async fn start(target: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (weather, epoch) = (watch::Sender::new(Weather::Fair), watch::Sender::new(0));
        let line = Line { weather: weather.subscribe(), epoch: epoch.subscribe() };
        let task = tokio::spawn(accept(listener, (Ipv4Addr::LOCALHOST, target).into(), line));
        Ok(Proxy { port, weather, epoch, task })
    }

    /// The address of a Redis behind it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on nothing arrives, in neither direction, and nobody is told. What is sent meanwhile arrives after
    /// [`Proxy::heal`], as TCP does it.
    pub fn black_hole(&self) {
        self.weather.send_replace(Weather::BlackHole);
    }

    /// From now on connections are closed at once; those that are open are cut.
    pub fn refuse(&self) {
        self.weather.send_replace(Weather::Refusing);
        self.cut();
    }

    /// From now on subscribed connections hear nothing. They stay open, and commands on others are answered.
    pub fn deafen(&self) {
        self.weather.send_replace(Weather::Deaf);
    }

    /// From now on whoever sends a command with this word never hears what became of it. The connection stays open.
    pub fn lose_answers_to(&self, word: &'static str) {
        self.weather.send_replace(Weather::Losing(word));
    }

    /// All is well again.
    pub fn heal(&self) {
        self.weather.send_replace(Weather::Fair);
    }

    /// Cuts all connections. New ones are as the weather is.
    pub fn cut(&self) {
        self.epoch.send_modify(|epoch| *epoch += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Line {
    weather: watch::Receiver<Weather>,
    epoch: watch::Receiver<u64>,
}

async fn accept(listener: TcpListener, target: SocketAddr, line: Line) {
    // Dropped with this task: all connections end with the proxy.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let line = line.clone();
        connections.spawn(async move {
            let mut epoch = line.epoch.clone();
            let accepted_in = *epoch.borrow_and_update();
            tokio::select! {
                _ = serve(client, target, line) => {}
                _ = epoch.wait_for(|now| *now != accepted_in) => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(client: TcpStream, target: SocketAddr, mut line: Line) -> Result<()> {
    let weather = *line.weather.wait_for(|weather| *weather != Weather::BlackHole).await?;
    if weather == Weather::Refusing {
        return Ok(());
    }
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let (subscribed, losing) = (AtomicBool::new(false), AtomicBool::new(false));
    let request = |bytes: &[u8], weather| {
        // A command cut in two by the network is missed: a test's are not.
        let has = |word: &str| bytes.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()));
        // As part of SSUBSCRIBE and PSUBSCRIBE too.
        if has("SUBSCRIBE") {
            subscribed.store(true, Ordering::Relaxed);
        }
        if matches!(weather, Weather::Losing(word) if has(word)) {
            losing.store(true, Ordering::Relaxed);
        }
        true
    };
    let answer = |_: &[u8], weather| {
        let deaf = weather == Weather::Deaf && subscribed.load(Ordering::Relaxed);
        !deaf && !losing.load(Ordering::Relaxed)
    };
    // When either side has ended, the connection has.
    tokio::select! {
        done = carry(from_client, to_server, line.clone(), request) => done,
        done = carry(from_server, to_client, line, answer) => done,
    }
}

/// Passes on what comes, in one direction, as long as something comes; what does not arrive is lost.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut line: Line,
    arrives: impl Fn(&[u8], Weather) -> bool,
) -> Result<()> {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        let weather = *line.weather.wait_for(|weather| *weather != Weather::BlackHole).await?;
        if arrives(&bytes[..read], weather) {
            to.write_all(&bytes[..read]).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::redis::Server;
    use crate::wait::soon;

    async fn tell(stream: &mut TcpStream, command: &str) -> Result<()> {
        Ok(stream.write_all(format!("{command}\r\n").as_bytes()).await?)
    }

    async fn ask(stream: &mut TcpStream, command: &str) -> Result<String> {
        tell(stream, command).await?;
        hear(stream).await
    }

    /// However long it takes.
    async fn hear(stream: &mut TcpStream) -> Result<String> {
        let mut bytes = [0; 1024];
        let read = soon("an answer", stream.read(&mut bytes)).await??;
        anyhow::ensure!(read > 0, "closed");
        Ok(String::from_utf8_lossy(&bytes[..read]).into_owned())
    }

    /// A machine that stands still makes this true, never false.
    async fn is_silent(stream: &mut TcpStream) -> bool {
        tokio::time::timeout(Duration::from_millis(300), stream.peek(&mut [0])).await.is_err()
    }

    /// Not silence either.
    fn is_closed(heard: Result<String>) -> bool {
        heard.is_err_and(|error| !error.to_string().starts_with("an answer"))
    }

    #[tokio::test]
    async fn it_passes_loses_refuses_cuts_and_deafens() -> Result<()> {
        let redis = Server::start()?;
        let proxy = Proxy::start(redis.port()).await?;
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port));
        let mut stream = connect().await?;
        assert_eq!(ask(&mut stream, "PING").await?, "+PONG\r\n");

        proxy.black_hole();
        tell(&mut stream, "PING").await?;
        assert!(is_silent(&mut stream).await);
        proxy.heal();
        assert_eq!(hear(&mut stream).await?, "+PONG\r\n");

        proxy.refuse();
        assert!(is_closed(hear(&mut stream).await));
        assert!(is_closed(ask(&mut connect().await?, "PING").await));
        proxy.heal();

        let (mut listener, mut other) = (connect().await?, connect().await?);
        ask(&mut listener, "SUBSCRIBE news").await?;
        proxy.deafen();
        assert_eq!(ask(&mut other, "PUBLISH news 1").await?, ":1\r\n");
        assert!(is_silent(&mut listener).await);
        proxy.heal();
        ask(&mut other, "PUBLISH news 2").await?;
        assert!(hear(&mut listener).await?.ends_with("\r\n2\r\n"), "and what was lost is lost");

        proxy.lose_answers_to("incr");
        tell(&mut other, "INCR n").await?;
        assert!(is_silent(&mut other).await);
        proxy.heal();
        assert_eq!(ask(&mut connect().await?, "GET n").await?, "$1\r\n1\r\n", "it was done");
        Ok(())
    }
}
