// What was written while the connection was away is sent once, in order, and survives a reload.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Outbox, type Store } from "../src/outbox.ts";

function store(content = new Map<string, string>()): Store {
  return {
    getItem: (key) => content.get(key) ?? null,
    setItem: (key, value) => void content.set(key, value),
  };
}

function filled(...ids: string[]): Outbox {
  const outbox = new Outbox(store());
  for (const clientId of ids) outbox.add({ clientId, room: "lobby", at: 1, text: clientId });
  return outbox;
}

test("one item is under way at a time, in the order they were written", () => {
  const outbox = filled("a", "b");
  const first = outbox.next();
  assert.equal(first?.clientId, "a");
  first.state = "sending";
  assert.equal(outbox.next(), undefined);
  outbox.remove("a");
  assert.equal(outbox.next()?.clientId, "b");
});

test("an item that was under way when the connection broke goes first, under the same id", () => {
  const outbox = filled("a", "b");
  const first = outbox.next();
  assert.ok(first);
  first.state = "sending";
  outbox.interrupt();
  assert.equal(outbox.next(), first);
});

test("an item that the server's history shows is not sent again, and one of somebody else's stays", () => {
  const outbox = filled("a", "b");
  const said = { room: "lobby", id: 1, at: 1, text: "" };
  outbox.settle("me", [
    { ...said, clientId: "a", from: { id: "me", name: "Me" } },
    { ...said, clientId: "b", from: { id: "other", name: "Other" } },
  ]);
  assert.deepEqual(outbox.items.map((item) => item.clientId), ["b"]);
});

test("a refused item lets the next pass, and goes again when asked", () => {
  const outbox = filled("a", "b");
  const first = outbox.next();
  assert.ok(first);
  outbox.fail(first, "no");
  assert.equal(outbox.next()?.clientId, "b");
  outbox.retry("a");
  assert.equal(outbox.next()?.clientId, "a");
});

test("texts survive a reload, pictures do not", () => {
  const kept = store();
  const outbox = new Outbox(kept);
  const image = { type: "image/png", name: "p", width: 1, height: 1, size: 1 } as const;
  outbox.add({ clientId: "a", room: "lobby", at: 1, text: "hello" });
  outbox.add({ clientId: "b", room: "lobby", at: 2, image, data: new ArrayBuffer(1) });
  assert.deepEqual(new Outbox(kept).items, [{ clientId: "a", room: "lobby", at: 1, text: "hello", state: "waiting" }]);
});

test("a store with anything else in it is an empty one", () => {
  for (const content of ["", "{", "7", "null", '{"a":1}', "[null]", '[{"clientId":1}]']) {
    const outbox = new Outbox(store(new Map([["switchboard.unsent", content]])));
    assert.deepEqual(outbox.items, [], content);
  }
});
