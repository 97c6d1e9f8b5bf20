// The order and completeness of what the page shows, whatever order and gaps the messages come in.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Entered, Message } from "../src/events.ts";
import { Timeline } from "../src/timeline.ts";

function message(id: number, epoch = "a"): Message {
  return { room: "lobby", id, clientId: `${epoch}${id}`, from: { id: "m", name: "M" }, at: id, text: `text ${id}` };
}

function entered(epoch: string, ids: number[], last = ids.at(-1) ?? 0): Entered {
  const nobody = { version: 1, count: 0, members: [], rooms: [], you: { id: "y", name: "Y" } };
  return { room: "lobby", epoch, history: ids.map((id) => message(id, epoch)), last, ...nobody };
}

function shown(timeline: Timeline): (number | string)[] {
  return timeline.rows.map((row) => (row.kind === "message" ? row.message.id : row.text));
}

test("messages stand in the order of their numbers, each once, in whatever order they come", () => {
  for (const order of [[4, 5, 6], [6, 5, 4], [5, 6, 4], [5, 5, 4, 6, 4]]) {
    const timeline = new Timeline("lobby");
    timeline.resync(entered("a", [2, 3]));
    for (const id of order) timeline.add(message(id));
    assert.deepEqual(shown(timeline), [2, 3, 4, 5, 6]);
    assert.equal(timeline.through, 6);
    assert.equal(timeline.hasHole, false);
  }
});

test("a page resumes after the last number that has none missing before it", () => {
  const timeline = new Timeline("lobby");
  timeline.resync(entered("a", [1, 2]));
  timeline.add(message(4));
  assert.equal(timeline.through, 2);
  assert.equal(timeline.hasHole, true);
  assert.deepEqual(timeline.resync(entered("a", [3, 4, 5])), { added: 2, lost: 0 });
  assert.deepEqual(shown(timeline), [1, 2, 3, 4, 5]);
  assert.equal(timeline.through, 5);
});

test("messages beyond the server's history are counted, not passed over in silence", () => {
  const timeline = new Timeline("lobby");
  timeline.resync(entered("a", [1, 2]));
  assert.deepEqual(timeline.resync(entered("a", [60, 61])), { added: 2, lost: 57 });
  assert.deepEqual(shown(timeline), [1, 2, "57 messages are no longer kept.", 60, 61]);
  assert.equal(timeline.hasHole, false);
});

test("one's own message stands in its place though the server's history is past it", () => {
  const timeline = new Timeline("lobby");
  timeline.resync(entered("a", [1]));
  timeline.resync(entered("a", [60, 61]));
  assert.equal(timeline.add(message(2)), true);
  assert.deepEqual(shown(timeline), [1, "58 messages are no longer kept.", 2, 60, 61]);
  assert.equal(timeline.through, 61);
  assert.equal(timeline.hasHole, false);
});

test("a first visit to a room with a long past misses nothing", () => {
  const timeline = new Timeline("lobby");
  assert.deepEqual(timeline.resync(entered("a", [60, 61])), { added: 2, lost: 0 });
  assert.deepEqual(shown(timeline), [60, 61]);
});

test("another epoch starts a numbering of its own below what is already here", () => {
  const timeline = new Timeline("lobby");
  timeline.resync(entered("a", [1, 2]));
  timeline.resync(entered("b", [1]));
  const afresh = "The server started afresh. What is above is kept on this page only.";
  assert.deepEqual(shown(timeline), [1, 2, afresh, 1]);
  assert.equal(timeline.through, 1);
});

test("a note stays where it was put, and a late message goes above it to its neighbours", () => {
  const timeline = new Timeline("lobby");
  timeline.resync(entered("a", [1]));
  timeline.add(message(3));
  timeline.note("back");
  timeline.add(message(4));
  timeline.add(message(2));
  assert.deepEqual(shown(timeline), [1, 2, 3, "back", 4]);
});

test("an empty room is complete, and so is one whose messages the page has", () => {
  const timeline = new Timeline("lobby");
  assert.deepEqual(timeline.resync(entered("a", [], 0)), { added: 0, lost: 0 });
  timeline.add(message(1));
  assert.deepEqual(timeline.resync(entered("a", [], 1)), { added: 0, lost: 0 });
  assert.deepEqual(shown(timeline), [1]);
});

test("no more than 300 rows are kept, the newest", () => {
  const timeline = new Timeline("lobby");
  timeline.resync(entered("a", []));
  for (let id = 1; id <= 320; id += 1) timeline.add(message(id));
  assert.equal(timeline.rows.length, 300);
  assert.equal(shown(timeline)[0], 21);
});
