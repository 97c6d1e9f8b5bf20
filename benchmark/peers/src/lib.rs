//! What the peers share: the command line the runner speaks to every server, and the epoll loop under both floors.

use std::net::{SocketAddr, TcpListener};

pub mod floor;

/// The address after `--addr`, as the runner passes it to every server; `127.0.0.1:0` where there is none.
pub fn addr() -> SocketAddr {
    let mut args = std::env::args().skip_while(|arg| arg != "--addr").skip(1);
    args.next().unwrap_or_else(|| "127.0.0.1:0".to_owned()).parse().expect("--addr takes HOST:PORT")
}

/// Binds a non-blocking listener and prints the line the runner waits for: connections queue from here on.
pub fn listen() -> TcpListener {
    let listener = TcpListener::bind(addr()).expect("the address is free");
    // The standard library asks for a short queue; a thousand clients arrive at once here.
    rustix::net::listen(&listener, 4096).expect("a bound socket can listen");
    listener.set_nonblocking(true).expect("a socket can be non-blocking");
    println!("listening on {}", listener.local_addr().expect("a bound socket has an address"));
    listener
}

/// Runs a server on one current-thread runtime: every peer gets one core, so none pays for a scheduler it cannot use.
pub fn run<F: Future>(server: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts")
        .block_on(server)
}

/// The tokio listener over [`listen`].
pub fn listen_async() -> tokio::net::TcpListener {
    tokio::net::TcpListener::from_std(listen()).expect("the runtime takes the listener")
}
