//! Redirects are refused, or followed up to the limit. Secrets do not go to another origin.

use switchboard_websocket::{
    Error,
    client::{Client, ConnectError, RedirectError},
};

use crate::servers::{echo_server, saying, soon};

fn to(location: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
}

async fn refused(client: Client) -> RedirectError {
    match soon(client.connect()).await {
        Err(Error::Connect(error)) => match *error {
            ConnectError::Redirect { why, .. } => why,
            other => panic!("{other}"),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_others_unless_asked_for() {
    let (there, heard) = echo_server().await;
    let (here, _) = saying(to(&format!("ws://{there}/"))).await;
    let error = soon(Client::new(format!("ws://{here}/")).connect()).await.unwrap_err();
    let Error::Rejected(answer) = error else { panic!("{error}") };
    assert_eq!(answer.headers()["location"], format!("ws://{there}/"));
    assert!(heard.take().is_empty());
    let (address, _) = saying("HTTP/1.1 300 Multiple Choices\r\nLocation: /\r\n\r\n").await;
    let error = soon(Client::new(format!("ws://{address}/")).redirects(5).connect()).await.unwrap_err();
    assert!(matches!(error, Error::Rejected(_)), "{error}");
}

#[tokio::test]
async fn secrets_stay_with_the_origin_they_were_given_for() {
    let (there, heard) = echo_server().await;
    for status in [301, 302, 303, 307, 308] {
        let answer =
            format!("HTTP/1.1 {status} x\r\nLocation: http://{there}/b\r\nContent-Length: 0\r\n\r\n");
        let (here, asked) = saying(answer).await;
        for url in [format!("ws://{here}/a"), format!("ws://me:secret@{here}/a")] {
            let client = Client::new(url).redirects(1).header("Cookie", "a=b").header("X-Other", "kept");
            let client = client.header("Authorization", "Bearer x");
            soon(client.connect()).await.unwrap();
            let first = asked.take().remove(0);
            assert!(first.contains("Authorization: Bearer x") && first.contains("Cookie: a=b"), "{first}");
            let second = heard.take().remove(0);
            assert_eq!(second.uri, "/b");
            assert_eq!(second.headers["x-other"], "kept");
            assert!(!second.headers.contains_key("authorization") && !second.headers.contains_key("cookie"));
        }
    }
    let (here, _) = saying(to(&format!("ws://{there}/"))).await;
    soon(Client::new(format!("ws://me:secret@{here}/")).redirects(1).connect()).await.unwrap();
    assert!(!heard.take()[0].headers.contains_key("authorization"), "the URL's user is one of them");
}

#[tokio::test]
async fn the_same_origin_is_told_the_same_again() {
    let (here, asked) = saying(to("../b?c")).await;
    let client = Client::new(format!("ws://me:secret@{here}/x/a")).redirects(3).header("Cookie", "a=b");
    assert_eq!(refused(client).await, RedirectError::TooMany { limit: 3 });
    let asked = asked.take();
    let lines: Vec<_> = asked.iter().filter_map(|request| request.lines().next()).collect();
    assert_eq!(lines[0], "GET /x/a HTTP/1.1");
    assert_eq!(lines[1..], ["GET /b?c HTTP/1.1"; 3]);
    let whole = |request: &String| request.contains("Basic bWU6c2VjcmV0") && request.contains("Cookie: a=b");
    assert!(asked.iter().all(whole), "{asked:?}");
}

#[tokio::test]
async fn an_address_that_was_given_is_for_its_origin_alone() {
    let (there, heard) = echo_server().await;
    let (here, _) = saying(to(&format!("ws://{there}/"))).await;
    soon(Client::new("ws://a.invalid/").address(here).redirects(1).connect()).await.unwrap();
    assert_eq!(heard.take()[0].headers["host"], there.to_string());
}

#[tokio::test]
async fn a_location_that_is_none_is_not_followed() {
    let table = [
        ("HTTP/1.1 302 x\r\n\r\n".to_owned(), "is missing"),
        ("HTTP/1.1 302 x\r\nLocation: /a\r\nLocation: /b\r\n\r\n".to_owned(), "is there twice"),
        (to("mailto:me"), "has no scheme"),
        (to("ftp://a/"), "is not ws://, wss://, http:// or https://"),
        (to("ws://me:x@a/"), "has a user"),
        (to("//"), "has no host"),
    ];
    for (answer, expected) in table {
        let (address, _) = saying(answer).await;
        let why = refused(Client::new(format!("ws://{address}/")).redirects(1)).await;
        assert_eq!(why, RedirectError::Location { what: expected });
    }
}
