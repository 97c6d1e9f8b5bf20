// The official client behind nginx, with the Origin that a browser would send. Pages of nginx's own host are
// admitted if nginx passes that host on. Pages of another host are never admitted.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, it } from "node:test";
import { connection, MODES, newClient, upgraded } from "../node/lib/clients.mjs";
import { TEST_LIMIT, within } from "../node/lib/deadline.mjs";
import { Hixie } from "../node/lib/hixie.mjs";
import { request } from "../node/lib/http.mjs";
import { refused } from "../node/lib/websocket.mjs";

const hosts = JSON.parse(process.env.NGINX_HOSTS);
const together = { concurrency: 8, timeout: TEST_LIMIT };
const target = (name) => ({ http: `http://${hosts[name]}`, ws: `ws://${hosts[name]}` });
const PATH = "/socket.io/?EIO=4&transport=";
const EVIL = "http://evil.example";

async function pollingStatus(name, origin) {
  return (await request(target(name), `${PATH}polling`, { headers: { origin } })).status;
}

const websocketStatus = async (name, origin) => (await refused(`${target(name).ws}${PATH}websocket`, { origin })).status;

for (const [name, how] of [["host", "Host handed on"], ["forwarded", "X-Forwarded-Host of a trusted proxy"]]) {
  describe(`nginx, ${how}`, together, () => {
    for (const [mode, transport] of Object.entries(MODES)) {
      it(`a page of the host joins the chat, ${mode}`, async (t) => {
        const extraHeaders = { origin: target(name).http };
        const client = newClient(t, target(name), { nsp: "/chat", ...transport, extraHeaders, auth: { visitor: randomUUID() } });
        client.connect();
        await connection(client);
        if (transport.transports.length > 1) await upgraded(client);
        await within(client.emitWithAck("rtt"), "ack");
      });
    }

    it("a page of the same host is let in when nginx ends its TLS", async () => {
      assert.equal(await pollingStatus(name, target(name).http.replace("http:", "https:")), 200);
    });

    for (const late of [false, true]) {
      it(`a browser of hixie-76 is served, its body ${late ? "late" : "with the head"}`, async () => {
        const [host, port] = hosts[name].split(":");
        const client = await Hixie.open({ host, port: Number(port) }, `${PATH}websocket`, { late, origin: target(name).http });
        assert.equal((await client.next("handshake"))[0], "0");
        client.send("40");
        assert.match(await client.next("answer to CONNECT"), /^40\{"sid":/);
        await client.close();
      });
    }

    it("a page of another site is refused with 403, on either transport", async () => {
      assert.equal(await pollingStatus(name, EVIL), 403);
      assert.equal(await websocketStatus(name, EVIL), 403);
    });
  });
}

for (const [name, how] of [["untrusted", "X-Forwarded-Host of a proxy that nobody trusts"], ["bare", "its defaults"]]) {
  describe(`nginx, ${how}`, together, () => {
    it("a page of the host is another's, where its browser does not say more than Origin", async () => {
      assert.equal(await pollingStatus(name, target(name).http), 403);
      assert.equal(await websocketStatus(name, target(name).http), 403);
    });

    it("a page is let in where its browser says that it is of the host it asks, on either transport", async (t) => {
      const extraHeaders = { origin: target(name).http, "sec-fetch-site": "same-origin" };
      for (const transport of Object.values(MODES)) {
        const client = newClient(t, target(name), { nsp: "/chat", ...transport, extraHeaders, auth: { visitor: randomUUID() } });
        client.connect();
        await connection(client);
        if (transport.transports.length > 1) await upgraded(client);
        await within(client.emitWithAck("rtt"), "ack");
      }
    });

    it("a page of another site is refused with 403, on either transport", async () => {
      assert.equal(await pollingStatus(name, EVIL), 403);
      assert.equal(await websocketStatus(name, EVIL), 403);
    });

    it("who sends no Origin is served", async () => {
      assert.equal((await request(target(name), `${PATH}polling`)).status, 200);
    });
  });
}
