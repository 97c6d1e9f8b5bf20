//! wtx: echo on its acceptor and its buffers, as its own WebSocket server does. It writes each frame when it
//! is told to: it has no way to write several at once. (Its permessage-deflate is not measured.)

use peers::{Connection, Echo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::unconstrained;
use wtx::collection::Vector;
use wtx::stream::{StreamReader, StreamWriter};
use wtx::web_socket::{OpCode, WebSocketAcceptor, WebSocketPayloadOrigin};

struct Wtx;

fn main() -> std::io::Result<()> {
    peers::serve::<Wtx>()
}

impl Echo for Wtx {
    async fn serve(stream: impl Connection) {
        let _ = unconstrained(echo(Stream(stream))).await;
    }
}

async fn echo(stream: Stream<impl Connection>) -> wtx::Result<()> {
    let mut socket = WebSocketAcceptor::default().accept(stream).await?;
    let (mut common, mut reader, mut writer) = socket.split_mut();
    let mut buffer = Vector::new();
    loop {
        let mut frame = reader.read_frame(&mut buffer, &mut common, WebSocketPayloadOrigin::Adaptive).await?;
        match frame.op_code() {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => writer.write_frame(&mut common, &mut frame).await?,
            _ => {}
        }
        drop(frame);
        buffer.clear();
    }
}

/// A connection as wtx reads and writes it. It has this for tokio's own sockets alone.
struct Stream<S>(S);

impl<S: Connection> StreamReader for Stream<S> {
    async fn read(&mut self, bytes: &mut [u8]) -> wtx::Result<usize> {
        Ok(self.0.read(bytes).await?)
    }
}

impl<S: Connection> StreamWriter for Stream<S> {
    async fn write_all(&mut self, bytes: &[u8]) -> wtx::Result<()> {
        Ok(self.0.write_all(bytes).await?)
    }

    async fn write_all_vectored(&mut self, bytes: &[&[u8]]) -> wtx::Result<()> {
        // Header and payload: gathered, as its own stream for tokio does it.
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let mut slices = fill(&mut slices, bytes);
        while !slices.is_empty() {
            let written = self.0.write_vectored(slices).await?;
            if written == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into());
            }
            std::io::IoSlice::advance_slices(&mut slices, written);
        }
        Ok(())
    }
}

fn fill<'s, 'b>(
    slices: &'s mut [std::io::IoSlice<'b>],
    bytes: &[&'b [u8]],
) -> &'s mut [std::io::IoSlice<'b>] {
    for (slice, bytes) in slices.iter_mut().zip(bytes) {
        *slice = std::io::IoSlice::new(bytes);
    }
    &mut slices[..bytes.len()]
}
