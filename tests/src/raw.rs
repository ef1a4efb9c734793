//! A reader below HTTP clients: it reads as little as it wants to, and its machine keeps hardly anything for it if so wished.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::wait::soon;

/// What the kernel is asked to keep of what was not read yet. It takes twice as much, or its own least.
const RECEIVE_BYTES: u32 = 4096;

/// A response as it comes off the wire. HTTP/1.0, so the body has no framing and ends with the connection.
pub struct Raw {
    stream: TcpStream,
    /// Bytes of the body that came along with the head.
    begun: Option<Vec<u8>>,
}

impl Raw {
    /// Sends a request for a live stream and reads nothing.
    pub async fn subscribe(address: SocketAddr, path: &str) -> Result<Self> {
        Self::send(TcpSocket::new_v4()?, address, path).await
    }

    /// The same with hardly a buffer: what it does not read stays with the server.
    pub async fn subscribe_unbuffered(address: SocketAddr, path: &str) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(RECEIVE_BYTES)?;
        Self::send(socket, address, path).await
    }

    async fn send(socket: TcpSocket, address: SocketAddr, path: &str) -> Result<Self> {
        let mut stream = socket.connect(address).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        Ok(Raw { stream, begun: None })
    }

    /// The next bytes of the body, at most `most` in one read of the socket; none at the end, or when it is cut.
    pub async fn sip(&mut self, most: usize) -> Result<Vec<u8>> {
        if self.begun.is_none() {
            self.begun = Some(self.head().await?);
        }
        if let Some(begun) = self.begun.as_mut().filter(|begun| !begun.is_empty()) {
            return Ok(std::mem::take(begun));
        }
        let mut bytes = vec![0; most];
        // A connection that was reset has ended too; what was read before counts.
        let read = soon("bytes", self.stream.read(&mut bytes)).await?.unwrap_or(0);
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Everything up to the end, however it ends.
    pub async fn rest(&mut self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            match self.sip(256 * 1024).await? {
                bytes if bytes.is_empty() => return Ok(all),
                bytes => all.extend(bytes),
            }
        }
    }

    async fn head(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let body = bytes.split_off(end + 4);
                let head = String::from_utf8(bytes)?;
                ensure!(head.starts_with("HTTP/1.0 200 "), "{head}");
                return Ok(body);
            }
            ensure!(soon("a head", self.stream.read_buf(&mut bytes)).await?.context("a head")? > 0, "no head");
        }
    }
}
