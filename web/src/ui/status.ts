// The state of the connection: the lamp, the transport, the round-trip time, and the bar with "Try now".
import type { Chat } from "../chat.ts";
import type { Status } from "../connection.ts";
import { byId, setText } from "./dom.ts";

const KEPT = "What you write is kept and sent when it is back.";

export class StatusView {
  readonly #chat: () => Chat;
  readonly #banner = byId("banner", HTMLDivElement);
  readonly #bannerText = byId("banner-text", HTMLParagraphElement);
  readonly #now = byId("banner-now", HTMLButtonElement);
  readonly #spoken = byId("status", HTMLParagraphElement);
  #told = "";
  #clock: number | undefined;

  constructor(chat: () => Chat) {
    this.#chat = chat;
    this.#now.addEventListener("click", () => {
      chat().connection.connectNow();
      byId("text", HTMLTextAreaElement).focus();
    });
  }

  draw(): void {
    const chat = this.#chat();
    const { status, transport, rtts } = chat.connection;
    const settled = status.kind === "connected" && chat.entered;
    document.documentElement.dataset["line"] = lampOf(status, settled);
    setText(byId("state", HTMLSpanElement), wordOf(status));
    setText(byId("transport", HTMLElement), transport?.name ?? "none");
    const rtt = status.kind === "connected" ? rtts.at(-1) : undefined;
    const time = rtt === undefined ? "–" : `${rtt < 10 ? rtt.toFixed(1) : Math.round(rtt)} ms`;
    setText(byId("rtt", HTMLSpanElement), time);
    setText(byId("chip", HTMLSpanElement), settled ? `${transport?.name ?? ""} ${rtt === undefined ? "" : time}`.trim() : wordOf(status));
    setText(byId("upgrade", HTMLElement), upgradeOf(transport?.name, transport?.upgradedAfter));
    drawSpark(settled ? rtts : []);
    this.#drawBanner(status);
    this.#speak(status, settled);
  }

  #drawBanner(status: Status): void {
    const text = bannerOf(status);
    this.#banner.hidden = text === "";
    setText(this.#bannerText, text);
    setText(this.#now, status.kind === "replaced" ? "Use it here" : status.kind === "silent" ? "Reconnect" : "Try now");
    this.#now.hidden = status.kind === "retrying";
    const ticking = status.kind === "waiting" || status.kind === "silent";
    if (ticking && this.#clock === undefined) this.#clock = window.setInterval(() => this.draw(), 500);
    if (!ticking) {
      clearInterval(this.#clock);
      this.#clock = undefined;
    }
  }

  /** Spoken once for each turn of events, not at every tick of the countdown. */
  #speak(status: Status, settled: boolean): void {
    const lost = status.kind === "waiting" || status.kind === "retrying";
    const turn = lost ? "lost" : settled ? "back" : status.kind;
    if (turn === this.#told || turn === "connecting" || turn === "connected") return;
    const words: Record<string, string> = {
      lost: `Connection lost. ${KEPT}`,
      back: this.#told === "" ? "" : "Connected again.",
    };
    setText(this.#spoken, words[turn] ?? bannerOf(status));
    this.#told = turn;
  }
}

function lampOf(status: Status, settled: boolean): "good" | "trying" | "down" {
  if (settled) return "good";
  return status.kind === "offline" || status.kind === "replaced" ? "down" : "trying";
}

function wordOf(status: Status): string {
  switch (status.kind) {
    case "connecting":
      return "Connecting…";
    case "connected":
      return "Connected";
    case "silent":
      return "No answer";
    case "waiting":
    case "retrying":
      return "Reconnecting…";
    case "offline":
      return "Offline";
    case "replaced":
      return "Open elsewhere";
  }
}

function bannerOf(status: Status): string {
  switch (status.kind) {
    case "connecting":
    case "connected":
      return "";
    case "silent":
      return `The server has not answered for ${Math.max(1, Math.round((Date.now() - status.since) / 1000))} s.`;
    case "waiting": {
      const seconds = Math.max(0, Math.ceil((status.until - Date.now()) / 1000));
      return `Connection lost. Trying again ${seconds === 0 ? "now" : `in ${seconds} s`}. ${KEPT}`;
    }
    case "retrying":
      return `Trying to connect… ${KEPT}`;
    case "offline":
      return `You are offline. ${KEPT}`;
    case "replaced":
      return "This chat goes on in another window.";
  }
}

function upgradeOf(name: string | undefined, after: number | undefined): string {
  if (after !== undefined) return `after ${Math.round(after)} ms`;
  if (name === undefined) return "–";
  return name === "polling" ? "being tried" : "not needed";
}

function drawSpark(rtts: readonly number[]): void {
  const line = byId("spark", SVGSVGElement).firstElementChild;
  if (rtts.length < 3) return line?.setAttribute("points", "");
  const top = Math.max(5, ...rtts) * 1.15;
  const points = rtts.map((rtt, i) => `${(60 - (rtts.length - 1 - i) * 2).toFixed(1)},${(15 - (rtt / top) * 14).toFixed(1)}`);
  line?.setAttribute("points", points.join(" "));
}
