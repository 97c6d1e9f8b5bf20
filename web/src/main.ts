// The page: one chat and its views. All changes of one turn of events are drawn once.
import { Chat } from "./chat.ts";
import type { Message } from "./events.ts";
import { roomOfAddress, visitorName, visitorSecret } from "./identity.ts";
import { Composer } from "./ui/composer.ts";
import { byId, setText } from "./ui/dom.ts";
import { Log } from "./ui/log.ts";
import { Side } from "./ui/side.ts";
import { StatusView } from "./ui/status.ts";

let scheduled = false;

const chat = new Chat(visitorSecret(), visitorName(), roomOfAddress(), {
  changed: schedule,
  message: onMessage,
  notice: say,
  refused: (why) => announce(`Not sent. ${why}`),
  turnedAway: goTo,
});
const itself = () => chat;
const log = new Log(itself);
const side = new Side(itself);
const status = new StatusView(itself);
const composer = new Composer(itself, () => log.toEnd(), say);

window.addEventListener("hashchange", () => {
  chat.goTo(roomOfAddress());
  if (matchMedia("(pointer: fine)").matches) composer.focus();
});
// The keyboard of a phone should not open without a request.
if (matchMedia("(pointer: fine)").matches) composer.focus();
schedule();

/** A task, not an animation frame, so that a page in the background is also kept up to date. */
function schedule(): void {
  if (scheduled) return;
  scheduled = true;
  setTimeout(() => {
    scheduled = false;
    draw();
  });
}

function draw(): void {
  side.draw();
  status.draw();
  composer.draw();
  log.draw();
  setText(byId("typing", HTMLParagraphElement), typingLine());
}

function typingLine(): string {
  const names = [...chat.typing.values()].map(({ member }) => member.name);
  if (names.length === 0) return "";
  if (names.length > 3) return "Several people are typing…";
  const last = names.pop() ?? "";
  return names.length === 0 ? `${last} is typing…` : `${names.join(", ")} and ${last} are typing…`;
}

function onMessage(message: Message): void {
  log.noteNew();
  announce(`${message.from.name}: ${message.text ?? `picture ${message.image?.name ?? ""}`}`);
}

function goTo(room: string): void {
  history.replaceState(null, "", `#${room}`);
  chat.goTo(room);
}

/** A sentence for the visitor, shown among the messages. */
function say(text: string): void {
  chat.timeline.note(text);
  announce(text);
  schedule();
}

/** A sentence for visitors who use a screen reader. */
function announce(text: string): void {
  setText(byId("said", HTMLParagraphElement), text);
}
