// Engine.IO v4: handshakes, refusals and their codes, CORS. Both endpoints of the conformance server speak
// it.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TEST_LIMIT } from "../lib/deadline.mjs";
import { ENDPOINTS, PollingSession, openWebSocket } from "../lib/engine.mjs";
import { RawSocket, request } from "../lib/http.mjs";
import { CALM, serverWith } from "../lib/server.mjs";
import { Peer, refused } from "../lib/websocket.mjs";

const server = await serverWith(CALM);
const together = { concurrency: 8, timeout: TEST_LIMIT };

const MESSAGES = {
  0: "Transport unknown",
  1: "Session ID unknown",
  2: "Bad handshake method",
  3: "Bad request",
  5: "Unsupported protocol version",
};

const UNKNOWN_SID = "AAAAAAAAAAAAAAAAAAAA";

// Code 4 (Forbidden) needs a server that refuses a request. The conformance server admits every client.
const REFUSALS = [
  ["no transport", "GET", "EIO=4", 0],
  ["an unknown transport", "GET", "EIO=4&transport=abc", 0],
  ["an empty transport", "GET", "EIO=4&transport=", 0],
  ["a transport in capitals", "GET", "EIO=4&transport=POLLING", 0],
  ["a transport named as a property of every object", "GET", "EIO=4&transport=constructor", 0],
  ["a transport that is off by default", "GET", "EIO=4&transport=webtransport", 0],
  ["an unknown sid", "GET", `EIO=4&transport=polling&sid=${UNKNOWN_SID}`, 1],
  ["an unknown sid on POST", "POST", `EIO=4&transport=polling&sid=${UNKNOWN_SID}`, 1],
  ["a sid that is a prototype", "GET", "EIO=4&transport=polling&sid=__proto__", 1],
  ["a sid that is a method of every object", "GET", "EIO=4&transport=polling&sid=hasOwnProperty", 1],
  ["a sid of another length", "GET", "EIO=4&transport=polling&sid=x", 1],
  ["a sid of 8 000 characters", "GET", `EIO=4&transport=polling&sid=${"x".repeat(8000)}`, 1],
  ["a sid that is not UTF-8", "GET", "EIO=4&transport=polling&sid=%ff%fe", 1],
  ["a handshake by POST", "POST", "EIO=4&transport=polling", 2],
  ["a handshake by PUT", "PUT", "EIO=4&transport=polling", 2],
  ["a handshake by DELETE", "DELETE", "EIO=4&transport=polling", 2],
  ["a WebSocket handshake without Upgrade", "GET", "EIO=4&transport=websocket", 3],
  ["no protocol version", "GET", "transport=polling", 5],
  ["a protocol version that is no number", "GET", "EIO=abc&transport=polling", 5],
  ["an older protocol version, when not allowed", "GET", "EIO=3&transport=polling", 5],
  ["a protocol version to come", "GET", "EIO=5&transport=polling", 5],
  ["all of it: the transport is looked at first", "POST", "EIO=9&transport=abc&sid=x", 0],
  ["all but the transport: then the sid", "POST", "EIO=9&transport=polling&sid=x", 1],
  ["a wrong method and version: then the method", "POST", "EIO=9&transport=polling", 2],
];

for (const endpoint of ENDPOINTS) {
  describe(`Engine.IO handshake at ${endpoint}`, together, () => {
    const offer = (handshake) => ({ ...handshake, sid: typeof handshake.sid });
    const expected = {
      sid: "string",
      pingInterval: CALM["ping-interval"],
      pingTimeout: CALM["ping-timeout"],
      maxPayload: 1_000_000,
    };

    it("opens a session over polling and offers WebSocket", async () => {
      const response = await request(server, `${endpoint}?EIO=4&transport=polling`);
      assert.equal(response.status, 200);
      assert.match(response.headers["content-type"], /^text\/plain; ?charset=utf-8$/i);
      assert.equal(response.headers["cache-control"], "no-store");
      assert.deepEqual(offer(JSON.parse(response.text.slice(1))), { ...expected, upgrades: ["websocket"] });
    });

    it("opens a session over WebSocket and offers nothing more", async () => {
      const peer = await openWebSocket(server, { endpoint });
      assert.deepEqual(offer(peer.handshake), { ...expected, upgrades: [] });
      await peer.close();
    });

    it("gives each session a sid of its own, fit for a URL", async () => {
      const sessions = await Promise.all(Array.from({ length: 40 }, () => PollingSession.open(server, { endpoint })));
      const sids = sessions.map((session) => session.sid);
      assert.equal(new Set(sids).size, sids.length);
      for (const sid of sids) assert.match(sid, /^[\w-]{20}$/);
    });

    it("takes an empty sid for none", async () => {
      const response = await request(server, `${endpoint}?EIO=4&transport=polling&sid=`);
      assert.equal(response.status, 200);
    });

    it("reads percent-encoded parameters and passes over those it does not know", async () => {
      const response = await request(server, `${endpoint}?t=P%20x&b64=&E%49O=4&x=%zz&transport=poll%69ng&&=&y`);
      assert.equal(response.status, 200);
    });

    for (const [what, method, query, code] of REFUSALS) {
      it(`refuses ${what} with code ${code}`, async () => {
        const response = await request(server, `${endpoint}?${query}`, { method });
        assert.equal(response.status, 400);
        assert.match(response.headers["content-type"], /^application\/json/);
        assert.deepEqual(JSON.parse(response.text), { code, message: MESSAGES[code] });
      });
    }

    it("refuses an Origin that no header may hold", async () => {
      const raw = await RawSocket.connect(server);
      raw.write(`GET ${endpoint}?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\nOrigin: a\x7fb\r\n\r\n`);
      await raw.seen((text) => text.startsWith("HTTP/1.1 400 "), "status 400");
      raw.destroy();
    });

    const refusedSockets = [
      ["no transport", "EIO=4"],
      ["an unknown transport", "EIO=4&transport=abc"],
      ["polling as the transport of a WebSocket", "EIO=4&transport=polling"],
      ["an unknown sid", `EIO=4&transport=websocket&sid=${UNKNOWN_SID}`],
      ["a sid that is a prototype", "EIO=4&transport=websocket&sid=__proto__"],
      ["no protocol version", "transport=websocket"],
      ["a protocol version that is no number", "EIO=abc&transport=websocket"],
      ["an older protocol version, when not allowed", "EIO=3&transport=websocket"],
    ];
    for (const [what, query] of refusedSockets) {
      it(`opens no WebSocket with ${what}`, async () => {
        // The reference finds some of these only after it has switched protocols, and closes then.
        const { status, code } = await refused(`${server.ws}${endpoint}?${query}`);
        assert.ok(status === 400 || (status === undefined && code !== 1000), `status ${status}, code ${code}`);
      });
    }
  });

  describe(`cross-origin requests at ${endpoint}`, together, () => {
    const headers = { Origin: "https://elsewhere.example" };
    const letsIn = (response) =>
      assert.ok(["*", headers.Origin].includes(response.headers["access-control-allow-origin"]), "allowed origin");

    it("are let in at the handshake, at a poll and at a POST", async () => {
      const session = await PollingSession.open(server, { endpoint });
      letsIn(await request(server, `${endpoint}?EIO=4&transport=polling`, { headers }));
      letsIn(await session.post("6", { headers }));
      // A CONNECT on one endpoint, a message on the other: both are answered.
      await session.post(endpoint === "/engine.io/" ? "4x" : "40");
      letsIn(await session.poll({ headers }));
    });

    it("may read a refusal too", async () => {
      const response = await request(server, `${endpoint}?EIO=4&transport=abc`, { headers });
      assert.equal(response.status, 400);
      letsIn(response);
    });

    it("are announced by OPTIONS, which opens no session", async () => {
      const response = await request(server, `${endpoint}?EIO=4&transport=polling`, {
        method: "OPTIONS",
        headers: {
          ...headers,
          "Access-Control-Request-Method": "POST",
          "Access-Control-Request-Headers": "content-type,x-own",
        },
      });
      assert.ok([200, 204].includes(response.status), `status ${response.status}`);
      assert.equal(response.text, "");
      letsIn(response);
      assert.match(response.headers["access-control-allow-methods"], /\*|POST/);
      assert.match(response.headers["access-control-allow-headers"], /\*|content-type.*x-own/i);
    });

    it("may open a WebSocket", async () => {
      const peer = await Peer.open(`${server.ws}${endpoint}?EIO=4&transport=websocket`, { origin: headers.Origin });
      assert.equal((await peer.next())[0], "0");
      await peer.close();
    });
  });
}
