//! A stream that makes its callers wait as often as a stream can: before each few bytes that it reads or
//! writes, before each flush and before its end. And futures that are dropped while they wait.

#![allow(dead_code, unreachable_pub, reason = "not every program uses all of it")]

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The state of a [`Trickle`]: the bytes that were written, and the bytes to read.
#[derive(Debug, Default)]
pub struct Line {
    /// The bytes to read.
    pub input: Vec<u8>,
    read: usize,
    /// Whether the stream ends behind the input, or waits for more.
    pub ends: bool,
    /// Bytes that were written and flushed. Bytes without a flush stay behind, as within TLS.
    pub output: Vec<u8>,
    written: Vec<u8>,
    pub is_shut: bool,
    /// Both halves were dropped.
    pub is_dropped: bool,
    /// Reads that returned bytes.
    pub reads: usize,
}

/// The stream.
#[derive(Debug)]
pub struct Trickle {
    line: Arc<Mutex<Line>>,
    /// The most bytes of one read or write.
    step: usize,
    /// The calls that had to wait. The next poll of each goes on.
    waited: [bool; 4],
}

/// The calls that wait.
#[derive(Clone, Copy)]
enum For {
    Read,
    Write,
    Flush,
    Shutdown,
}

/// The state of a [`Trickle`], seen from outside.
#[derive(Debug)]
pub struct Outside(Arc<Mutex<Line>>);

impl Outside {
    pub fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap()
    }

    /// All bytes that were written and flushed.
    pub fn output(&self) -> Vec<u8> {
        self.line().output.clone()
    }
}

impl Trickle {
    /// A stream that reads `input`, `step` bytes at a time, and then waits.
    pub fn new(input: &[u8], step: usize) -> (Self, Outside) {
        let line = Line { input: input.to_vec(), ..Line::default() };
        let line = Arc::new(Mutex::new(line));
        (Self { line: line.clone(), step, waited: [false; 4] }, Outside(line))
    }

    /// The same, as two halves.
    pub fn halves(input: &[u8], step: usize) -> (Self, Self, Outside) {
        let (read, outside) = Self::new(input, step);
        let write = Self { line: outside.0.clone(), step, waited: [false; 4] };
        (read, write, outside)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap()
    }

    /// Lets every second poll pass.
    fn wait(&mut self, what: For, cx: &Context<'_>) -> Poll<()> {
        let waited = &mut self.waited[what as usize];
        *waited = !*waited;
        if *waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Drop for Trickle {
    fn drop(&mut self) {
        // The other reference is outside.
        self.line().is_dropped = Arc::strong_count(&self.line) == 2;
    }
}

impl AsyncRead for Trickle {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.wait(For::Read, cx).is_pending() {
            return Poll::Pending;
        }
        let step = self.step.min(buf.remaining());
        let mut line = self.line();
        let (from, to) = (line.read, line.input.len().min(line.read + step));
        if from == to && !line.ends {
            return Poll::Pending;
        }
        buf.put_slice(&line.input[from..to]);
        line.read = to;
        line.reads += usize::from(to > from);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Trickle {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.wait(For::Write, cx).is_pending() {
            return Poll::Pending;
        }
        let mut line = self.line();
        let before = line.written.len();
        line.written.extend(bufs.iter().flat_map(|buf| buf.iter()).take(self.step));
        Poll::Ready(Ok(line.written.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.wait(For::Flush, cx).is_pending() {
            return Poll::Pending;
        }
        let mut line = self.line();
        let written = std::mem::take(&mut line.written);
        line.output.extend(written);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.wait(For::Shutdown, cx).is_pending() {
            return Poll::Pending;
        }
        self.line().is_shut = true;
        Poll::Ready(Ok(()))
    }
}

/// Polls a future `polls` times, then drops it. `None` if it still waited.
pub async fn cut<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    })
    .await
}

/// Polls a future until it is ready, with more polls than it may need.
pub async fn finish<F: Future>(future: F) -> F::Output {
    cut(future, 1_000_000).await.expect("no wait without end")
}
