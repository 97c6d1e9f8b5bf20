//! The floor: one thread, one epoll set, one receive buffer, no protocol. Nothing that carries messages over
//! TCP by one system call for each read and each write can be faster, so the other servers are shown as a
//! ratio to it.

use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, epoll, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// Room for all that a client of the benchmark has in flight, so that one read takes it in.
const RECEIVE_BUFFER: usize = 256 * 1024;
const EVENTS: usize = 1024;
const LISTENER: u64 = u64::MAX;

/// The open connections, by the number their events carry.
pub type Connections = Vec<Option<OwnedFd>>;

/// Serves for ever: hands each read, as it came, to `on_data` together with the connection it came from.
pub fn serve(mut on_data: impl FnMut(&Connections, usize, &[u8])) -> rustix::io::Result<()> {
    let listener = crate::listen();
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&set, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;

    let mut connections = Connections::new();
    let mut events = Vec::with_capacity(EVENTS);
    let mut buffer = vec![0; RECEIVE_BUFFER];
    loop {
        match epoll::wait(&set, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        for event in events.drain(..) {
            let token = event.data.u64();
            if token == LISTENER {
                accept(&listener, &set, &mut connections)?;
                continue;
            }
            let index = token as usize;
            let Some(connection) = &connections[index] else { continue };
            match recv(connection, &mut buffer[..], RecvFlags::empty()) {
                Ok((_, n)) if n > 0 => on_data(&connections, index, &buffer[..n]),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Ok(_) | Err(_) => connections[index] = None,
            }
        }
    }
}

fn accept(listener: &TcpListener, set: &OwnedFd, connections: &mut Connections) -> rustix::io::Result<()> {
    while let Ok((stream, _)) = listener.accept() {
        let prepared = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
        if prepared.is_err() {
            continue;
        }
        let token = epoll::EventData::new_u64(connections.len() as u64);
        epoll::add(set, &stream, token, epoll::EventFlags::IN)?;
        connections.push(Some(stream.into()));
    }
    Ok(())
}

/// Sends all of `data`. Waits in place where the socket is full, which the benchmark's bounded windows never
/// make it.
pub fn send_all(to: impl AsFd, mut data: &[u8]) {
    while !data.is_empty() {
        match send(&to, data, SendFlags::NOSIGNAL) {
            Ok(n) => data = &data[n..],
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&to, PollFlags::OUT)], None);
            }
            Err(Errno::INTR) => {}
            // The peer has gone; its next read says so and removes it.
            Err(_) => return,
        }
    }
}
