//! The rules of the chat, tested without sockets and in virtual time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::state::{Entry, News, Posted, State};
use super::wire::{Content, Enter, Member, Picture, RefusalCode, RoomCount, Said};

/// The chat, with numbers as sockets, and a clock.
struct Bench {
    state: State<u32>,
    start: Instant,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let start = Instant::now();
        Self { state: State::new(7, start), start, now: start }
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn connect(&mut self, member: &str, socket: u32) -> Option<u32> {
        self.state.connect(&member.into(), socket, self.now)
    }

    fn disconnect(&mut self, member: &str, socket: u32) {
        self.state.disconnect(&member.into(), &socket, self.now);
    }

    fn enter_as(&mut self, member: &str, socket: u32, room: &str, name: &str) -> Result<Entry, RefusalCode> {
        let request = Enter { room: room.to_owned(), name: name.to_owned(), epoch: None, after: None };
        self.state.enter(&member.into(), &socket, &request, self.now).map_err(|refusal| refusal.error)
    }

    fn enter(&mut self, member: &str, socket: u32, room: &str) -> Result<Entry, RefusalCode> {
        self.enter_as(member, socket, room, member)
    }

    /// Connects and enters a room.
    fn come(&mut self, member: &str, socket: u32, room: &str) -> Entry {
        self.connect(member, socket);
        self.enter(member, socket, room).expect("entered")
    }

    fn say(&mut self, member: &str, socket: u32, room: &str, client_id: &str) -> Result<Posted, RefusalCode> {
        let content = Content::Text("hi".to_owned());
        let at = (self.now - self.start).as_millis() as u64;
        let to = (&room.into(), client_id.into(), content);
        self.state.post(&member.into(), &socket, to, None, (self.now, at)).map_err(|refusal| refusal.error)
    }

    fn news(&mut self) -> News {
        self.state.news()
    }
}

fn id(posted: Result<Posted, RefusalCode>) -> u64 {
    match posted {
        Ok(Posted::New(message, _)) => message.id,
        other => panic!("not new: {other:?}"),
    }
}

fn names(members: &[Member]) -> Vec<&str> {
    members.iter().map(|member| &*member.name).collect()
}

fn counts(rooms: &[RoomCount]) -> Vec<(&str, usize)> {
    rooms.iter().map(|room| (&*room.name, room.count)).collect()
}

#[test]
fn entering_gives_a_snapshot_with_oneself_in_it() {
    let mut bench = Bench::new();
    bench.come("tom", 1, "lobby");
    bench.say("tom", 1, "lobby", "a").expect("said");
    let Entry { reply, left } = bench.come("ada", 2, "lobby");
    assert_eq!((&*reply.room, reply.last, reply.count, left), ("lobby", 1, 2, None));
    assert_eq!((names(&reply.members), &*reply.you.id), (vec!["tom", "ada"], "ada"));
    assert_eq!(reply.history.iter().map(|message| message.id).collect::<Vec<_>>(), [1]);
    assert_eq!(counts(&reply.rooms), [("lobby", 2), ("ideas", 0), ("pictures", 0)]);
}

#[test]
fn entering_another_room_leaves_the_former() {
    let mut bench = Bench::new();
    bench.come("ada", 1, "lobby");
    bench.news();
    let entry = bench.enter("ada", 1, "trains").expect("entered");
    assert_eq!(entry.left.as_deref(), Some("lobby"));
    let news = bench.news();
    let told: Vec<_> = news.members.iter().map(|snapshot| (&*snapshot.room, snapshot.count)).collect();
    assert_eq!(told, [("lobby", 0), ("trains", 1)]);
    let rooms = news.rooms.expect("counts changed");
    assert_eq!(counts(&rooms.rooms), [("lobby", 0), ("ideas", 0), ("pictures", 0), ("trains", 1)]);
}

#[test]
fn entering_the_same_room_again_resynchronises_and_renames() {
    let mut bench = Bench::new();
    bench.come("ada", 1, "lobby");
    bench.news();
    let again = bench.enter("ada", 1, "lobby").expect("entered");
    assert_eq!((again.left, again.reply.count), (None, 1));
    assert_eq!(bench.news(), News::default(), "nothing changed");
    bench.enter_as("ada", 1, "lobby", "Ada").expect("entered");
    let news = bench.news();
    assert_eq!((names(&news.members[0].members), news.rooms), (vec!["Ada"], None));
}

#[test]
fn versions_only_grow() {
    let mut bench = Bench::new();
    let first = bench.come("ada", 1, "lobby").reply.version;
    let news = bench.news();
    let (members, rooms) = (news.members[0].version, news.rooms.expect("counts changed").version);
    let second = bench.come("tom", 2, "lobby").reply.version;
    let versions = [first, members, rooms, second];
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
}

#[test]
fn nothing_is_taken_before_the_first_enter() {
    let mut bench = Bench::new();
    bench.connect("ada", 1);
    assert_eq!(bench.say("ada", 1, "lobby", "a"), Err(RefusalCode::NotEntered));
    let picture = bench.state.picture(&"ada".into(), &1, &"lobby".into(), 1);
    assert_eq!(picture.map_err(|refusal| refusal.error), Err(RefusalCode::NotEntered));
    assert_eq!(bench.state.typing(&"ada".into(), &1, bench.now), None);
}

#[test]
fn a_message_against_the_rules_changes_nothing() {
    let mut bench = Bench::new();
    bench.come("ada", 1, "lobby");
    bench.news();
    assert_eq!(bench.enter("ada", 1, "No Room"), Err(RefusalCode::BadRoom));
    assert_eq!(bench.enter_as("ada", 1, "ideas", " "), Err(RefusalCode::BadName));
    assert_eq!(bench.news(), News::default());
    assert_eq!(bench.state.entered(&"ada".into(), &1).as_deref(), Some("lobby"));
}

#[test]
fn a_message_may_go_to_a_room_that_was_left_or_never_entered() {
    let mut bench = Bench::new();
    bench.come("ada", 1, "ideas");
    assert_eq!(id(bench.say("ada", 1, "lobby", "a")), 1);
    assert_eq!(id(bench.say("ada", 1, "new-room", "a")), 1);
}

#[test]
fn a_message_that_comes_twice_is_answered_as_the_first_and_told_nobody() {
    let mut bench = Bench::new();
    bench.come("ada", 1, "lobby");
    bench.wait(3);
    assert_eq!(id(bench.say("ada", 1, "lobby", "a")), 1);
    bench.wait(5);
    assert_eq!(bench.say("ada", 1, "lobby", "a"), Ok(Posted::Again(Said { id: 1, at: 3000 })));
    assert_eq!(id(bench.say("ada", 1, "lobby", "b")), 2);
    bench.come("tom", 2, "lobby");
    assert_eq!(id(bench.say("tom", 2, "lobby", "a")), 3, "the pair counts, not the client's id alone");
    bench.connect("ada", 3);
    bench.enter("ada", 3, "lobby").expect("entered");
    assert_eq!(
        bench.say("ada", 3, "lobby", "a"),
        Ok(Posted::Again(Said { id: 1, at: 3000 })),
        "through another socket"
    );
}

#[test]
fn ten_messages_a_second_are_taken_of_a_member_in_bursts_of_twenty() {
    let mut bench = Bench::new();
    bench.come("ada", 1, "lobby");
    bench.come("tom", 2, "lobby");
    let said = (0..25).map(|n| bench.say("ada", 1, "lobby", &n.to_string()));
    let said: Vec<_> = said.map(|posted| posted.map(drop)).collect();
    assert_eq!(said, [vec![Ok(()); 20], vec![Err(RefusalCode::TooFast); 5]].concat());
    assert!(
        matches!(bench.say("ada", 1, "lobby", "3"), Ok(Posted::Again(_))),
        "a repetition is no further message"
    );
    assert_eq!(
        id(bench.say("tom", 2, "lobby", "a")),
        21,
        "others are not held back, and no number is left out"
    );
    bench.wait(1);
    let taken = (100..125).filter(|n| bench.say("ada", 1, "lobby", &n.to_string()).is_ok()).count();
    assert_eq!(taken, 10);
}

#[test]
fn another_connection_of_a_visitor_takes_the_place_of_the_first() {
    let mut bench = Bench::new();
    assert_eq!(bench.connect("ada", 1), None);
    bench.enter("ada", 1, "lobby").expect("entered");
    bench.news();
    assert_eq!(bench.connect("ada", 2), Some(1));
    assert_eq!(bench.say("ada", 1, "lobby", "a"), Err(RefusalCode::NotEntered));
    bench.disconnect("ada", 1);
    assert_eq!(bench.news(), News::default(), "nobody sees the visitor leave");
    let entry = bench.enter("ada", 2, "ideas").expect("entered");
    assert_eq!(entry.left, None, "this socket was in no room");
    let told: Vec<_> = bench.news().members.iter().map(|snapshot| snapshot.count).collect();
    assert_eq!(told, [1, 0], "ideas, then lobby");
    bench.disconnect("ada", 2);
    assert_eq!(bench.news().members[0].count, 0);
}

#[test]
fn a_visitor_is_seen_leaving_after_a_return_without_entering() {
    let mut bench = Bench::new();
    bench.come("ada", 1, "lobby");
    bench.connect("ada", 2);
    bench.disconnect("ada", 1);
    bench.news();
    bench.disconnect("ada", 2);
    assert_eq!(bench.news().members[0].count, 0);
}

#[test]
fn standing_rooms_are_listed_first_then_those_with_people_by_number_100_at_most() {
    let mut bench = Bench::new();
    bench.come("ada", 1, "two");
    bench.come("tom", 2, "two");
    bench.come("eve", 3, "ideas");
    for n in 0..120 {
        bench.come(&n.to_string(), 100 + n, &format!("room-{n:03}"));
    }
    let rooms = bench.news().rooms.expect("counts changed").rooms;
    assert_eq!(
        counts(&rooms)[..5],
        [("lobby", 0), ("ideas", 1), ("pictures", 0), ("two", 2), ("room-000", 1)]
    );
    assert_eq!(rooms.len(), 100);
}

#[test]
fn there_are_200_rooms_and_only_idle_ones_make_place() {
    let mut bench = Bench::new();
    let first = bench.come("ada", 0, "room-0").reply.epoch;
    for n in 1..197 {
        bench.wait(1);
        bench.enter("ada", 0, &format!("room-{n}")).expect("entered");
    }
    bench.come("tom", 1, "room-5");
    bench.wait(5);
    assert_eq!(id(bench.say("tom", 1, "room-0", "a")), 1, "which makes it active");
    // 200 rooms: all but room-5 and room-196 are empty; room-1 has been idle the longest.
    bench.enter("ada", 0, "one-more").expect("entered");
    bench.enter("ada", 0, "room-0").expect("entered");
    bench.wait(1);
    let again = bench.enter("ada", 0, "room-1").expect("entered").reply;
    assert_eq!((again.last, again.epoch == first), (0, false), "forgotten, and made anew");
    assert_eq!(bench.enter("ada", 0, "room-0").expect("entered").reply.epoch, first, "kept");
}

#[test]
fn a_room_too_many_is_refused_while_none_is_idle() {
    let mut bench = Bench::new();
    for n in 0..197 {
        bench.come(&n.to_string(), n, &format!("room-{n}"));
    }
    bench.wait(60);
    bench.connect("ada", 1000);
    assert_eq!(bench.enter("ada", 1000, "one-more"), Err(RefusalCode::TooManyRooms));
    bench.enter("ada", 1000, "lobby").expect("entered");
    assert_eq!(bench.say("ada", 1000, "one-more", "a"), Err(RefusalCode::TooManyRooms));
    bench.disconnect("7", 7);
    assert_eq!(
        bench.enter("ada", 1000, "one-more"),
        Err(RefusalCode::TooManyRooms),
        "it was left this moment"
    );
    bench.wait(10);
    bench.enter("ada", 1000, "one-more").expect("entered");
}

#[test]
fn a_picture_is_there_for_all_in_a_room_until_it_is_dropped() {
    let mut bench = Bench::new();
    bench.come("ada", 1, "lobby");
    bench.come("tom", 2, "ideas");
    let image = Picture { kind: "image/png", name: "p.png".to_owned(), width: 1, height: 1, size: 3 };
    let to = (&"lobby".into(), "a".into(), Content::Image(image));
    let posted = bench.state.post(&"ada".into(), &1, to, Some(b"png"), (bench.now, 0)).expect("posted");
    assert!(matches!(posted, Posted::New(_, Some(picture)) if &*picture.0 == b"png"));
    let mut picture =
        |id| bench.state.picture(&"tom".into(), &2, &"lobby".into(), id).map_err(|refusal| refusal.error);
    assert_eq!(picture(1).as_deref().map(|bytes| &bytes[..]), Ok(&b"png"[..]));
    assert_eq!(picture(2), Err(RefusalCode::Gone));
}

#[test]
fn typing_is_told_of_the_room_that_is_entered_and_not_too_often() {
    let mut bench = Bench::new();
    bench.come("ada", 1, "lobby");
    let told: Vec<_> = (0..25).filter_map(|_| bench.state.typing(&"ada".into(), &1, bench.now)).collect();
    assert_eq!((told.len(), &*told[0].0, &*told[0].1.name), (20, "lobby", "ada"));
}

#[test]
fn messages_have_the_names_of_the_contract() {
    let mut bench = Bench::new();
    bench.come("ada", 1, "lobby");
    let Ok(Posted::New(message, _)) = bench.say("ada", 1, "lobby", "c-1") else { panic!("not new") };
    let text = serde_json::json!({
        "room": "lobby", "id": 1, "clientId": "c-1", "from": {"id": "ada", "name": "ada"}, "at": 0, "text": "hi",
    });
    assert_eq!(serde_json::to_value(&*message).expect("json"), text);
    let mut image = Arc::unwrap_or_clone(message);
    image.content =
        Content::Image(Picture { kind: "image/gif", name: "p".to_owned(), width: 2, height: 3, size: 4 });
    let picture = serde_json::json!({"type": "image/gif", "name": "p", "width": 2, "height": 3, "size": 4});
    assert_eq!(serde_json::to_value(&image).expect("json")["image"], picture);
    let refusal = super::rules::BAD_REQUEST;
    assert_eq!(serde_json::to_value(refusal).expect("json")["error"], "bad-request");
}
