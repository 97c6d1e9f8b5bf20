//! Each error names the step and the address.

use std::{io::ErrorKind, time::Duration};

use switchboard_websocket::{
    Error,
    client::{Client, ConnectError, Step},
    handshake::client::ClientError,
};

use crate::servers::{echo_server, nobody, saying, silent, soon};

async fn failure(client: Client) -> Error {
    soon(client.connect()).await.expect_err("to fail")
}

async fn connect_failure(client: Client) -> ConnectError {
    match failure(client).await {
        Error::Connect(error) => *error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_name_that_is_none_is_told_of() {
    // Every resolver refuses a label of 64 bytes without a query.
    let host = format!("{}.example", "a".repeat(64));
    let error = connect_failure(Client::new(format!("ws://{host}/"))).await;
    assert!(matches!(&error, ConnectError::Resolve { host: named, .. } if *named == host), "{error}");
    assert!(error.to_string().starts_with(&format!("cannot resolve {host}: ")), "{error}");
}

#[tokio::test]
async fn each_address_that_refused_is_told_of() {
    let (one, two) = (nobody().await, nobody().await);
    let error = connect_failure(Client::new("ws://a.example/").address(one).address(two)).await;
    let ConnectError::Tcp { to, failures } = &error else { panic!("{error}") };
    assert_eq!(to, "a.example:80");
    let kinds: Vec<_> = failures.iter().map(|(address, error)| (*address, error.kind())).collect();
    assert_eq!(kinds, [(one, ErrorKind::ConnectionRefused), (two, ErrorKind::ConnectionRefused)]);
    assert!(error.to_string().starts_with(&format!("cannot connect to a.example:80: {one}: ")), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_no_websocket_comes_with_the_error() {
    let answer = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 4\r\n\r\nwho?";
    let (address, _) = saying(answer).await;
    let error = failure(Client::new(format!("ws://{address}/"))).await;
    let Error::Rejected(answer) = &error else { panic!("{error}") };
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["www-authenticate"], "Basic");
    assert_eq!(answer.body, b"who?");
    assert_eq!(error.to_string(), "the server answered 401 Unauthorized: who?");
}

#[tokio::test]
async fn an_answer_that_is_not_in_order_is_refused() {
    const UPGRADE: &str = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    let table = [
        (format!("{UPGRADE}\r\n"), ClientError::Accept),
        (format!("{UPGRADE}Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"), ClientError::Accept),
        ("HTTP/1.1 101 x\r\nConnection: Upgrade\r\n\r\n".to_owned(), ClientError::Upgrade),
        ("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n".to_owned(), ClientError::Connection),
        (String::new(), ClientError::NoAnswer),
        (UPGRADE.to_owned(), ClientError::NoAnswer),
    ];
    for (answer, expected) in table {
        let (address, _) = saying(answer.as_str()).await;
        let error = failure(Client::new(format!("ws://{address}/"))).await;
        assert!(matches!(&error, Error::Handshake(got) if *got == expected), "{answer}: {error}");
    }
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let (address, _) = saying(format!("{early}{early}HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n")).await;
    let error = failure(Client::new(format!("ws://{address}/"))).await;
    assert!(matches!(&error, Error::Rejected(answer) if answer.status() == 404), "{error}");
    for answer in [early.repeat(9).as_str(), "SSH-2.0-x\r\n\r\n", "\x15\x03\x01\0\x02\x02\x46\r\n\r\n"] {
        let (address, _) = saying(answer).await;
        let error = failure(Client::new(format!("ws://{address}/"))).await;
        assert!(matches!(error, Error::Handshake(ClientError::Head(_))), "{answer}: {error}");
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_written_is_an_error_before_anything_is_sent() {
    let (address, heard) = echo_server().await;
    let client = || Client::new(format!("ws://{address}/"));
    let table = [
        (client().header("Host", "x"), "the header host belongs to the handshake"),
        (client().header("sec-websocket-key", "x"), "the header sec-websocket-key belongs to the handshake"),
        (client().header("Content-Length", "3"), "the header content-length belongs to the handshake"),
        (client().header("a b", "x"), "a header is not valid: invalid HTTP header name"),
        (client().header("a", "x\r\ny: z"), "a header is not valid: failed to parse header value"),
        (client().subprotocol("a b"), "the subprotocol \"a b\" is not a token"),
        (client().proxy("ftp://x"), "the proxy's URL is not http://, https://, socks5:// or socks5h://"),
        (client().proxy("http://x/path"), "the proxy's URL has a path"),
        (client().proxy("socks5://@x"), "the proxy's URL has a user or password that cannot be sent"),
        (Client::new("mailto:me"), "the URL has no scheme"),
        (Client::new(format!("ws://{address}/#x")), "the URL has a fragment"),
    ];
    for (client, why) in table {
        assert_eq!(failure(client).await.to_string(), why);
    }
    assert!(heard.take().is_empty());
}

#[tokio::test]
async fn each_step_has_a_limit_that_is_named() {
    const BRIEF: Duration = Duration::from_millis(30);
    let address = silent().await;
    let plain = || Client::new(format!("ws://{address}/"));
    let table = [
        (plain().handshake_timeout(BRIEF), Step::Handshake),
        (plain().proxy(format!("http://{address}")).handshake_timeout(BRIEF), Step::Proxy),
        (plain().proxy(format!("socks5h://{address}")).handshake_timeout(BRIEF), Step::Proxy),
        #[cfg(feature = "tls")]
        (
            Client::new(format!("wss://{address}/")).tls_timeout(BRIEF).tls(crate::tls::trusting(&[])),
            Step::Tls,
        ),
    ];
    for (client, expected) in table {
        let error = connect_failure(client).await;
        let ConnectError::Timeout { step, to, limit } = &error else { panic!("{error}") };
        assert_eq!((*step, to.as_str(), *limit), (expected, address.to_string().as_str(), BRIEF), "{error}");
    }
    let error = connect_failure(plain().timeout(Duration::ZERO)).await;
    let ConnectError::Tcp { failures, .. } = &error else { panic!("{error}") };
    assert_eq!((failures[0].0, failures[0].1.kind()), (address, ErrorKind::TimedOut));
}
