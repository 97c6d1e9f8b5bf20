// Pictures to send and to show: files are made small enough to send, and bytes become addresses for an <img>.
import { isRefusal, LIMITS, PICTURE_TYPES, type Message, type Picture, type PictureType } from "./events.ts";
import type { ChatSocket } from "./connection.ts";
import { messageKey } from "./timeline.ts";

/** How many pictures of the history are requested at a time. More would delay new messages. */
const AT_A_TIME = 2;
/** The longest side of a reduced picture. The sizes are tried in turn until the bytes fit. */
const SIDES = [2048, 1600, 1200, 800, 400];

const LONGEST_SIDE = 16_384;

export interface Prepared {
  image: Picture;
  data: ArrayBuffer;
}

export class PictureError extends Error {}

/** The state of a picture: its address, still loading, or no longer available. */
export type Shown = { url: string } | "coming" | "gone";

export class Pictures {
  readonly #socket: ChatSocket;
  #urls = new Map<string, string>();
  #gone = new Set<string>();
  #asked = new Set<string>();
  #queue: { message: Message; ready: () => void }[] = [];
  #running = 0;

  constructor(socket: ChatSocket) {
    this.#socket = socket;
    socket.on("disconnect", () => {
      this.#queue = [];
      this.#asked.clear();
    });
  }

  keep(message: Message, data: ArrayBuffer): void {
    this.#keep(messageKey(message.from.id, message.clientId), message.image, data);
  }

  /** The picture of a message. If it is not here, it is requested, and `ready` is called after a change. */
  show(message: Message, ready: () => void): Shown {
    const key = messageKey(message.from.id, message.clientId);
    const url = this.#urls.get(key);
    if (url) return { url };
    if (this.#gone.has(key)) return "gone";
    if (this.#socket.connected && !this.#asked.has(key)) {
      this.#asked.add(key);
      this.#queue.push({ message, ready });
      this.#work();
    }
    return "coming";
  }

  /** The address of a picture that is still unsent. */
  unsent(key: string, image: Picture, data: ArrayBuffer): string {
    return this.#urls.get(key) ?? this.#keep(key, image, data);
  }

  /** The picture with this key is no longer shown. */
  release(key: string): void {
    const url = this.#urls.get(key);
    if (url) URL.revokeObjectURL(url);
    this.#urls.delete(key);
    this.#asked.delete(key);
  }

  forget(): void {
    for (const url of this.#urls.values()) URL.revokeObjectURL(url);
    this.#urls.clear();
    this.#asked.clear();
    this.#queue = [];
  }

  #keep(key: string, image: Picture | undefined, data: ArrayBuffer): string {
    const known = this.#urls.get(key);
    if (known) return known;
    // The type decides how a browser treats the bytes, so only the four types are allowed, whatever the
    // server sent.
    const type = PICTURE_TYPES.find((allowed) => allowed === image?.type) ?? "image/png";
    const url = URL.createObjectURL(new Blob([data], { type }));
    this.#urls.set(key, url);
    return url;
  }

  #work(): void {
    while (this.#running < AT_A_TIME) {
      const next = this.#queue.pop();
      if (!next) return;
      this.#running += 1;
      void this.#fetch(next.message, next.ready).finally(() => {
        this.#running -= 1;
        this.#work();
      });
    }
  }

  async #fetch(message: Message, ready: () => void): Promise<void> {
    const key = messageKey(message.from.id, message.clientId);
    try {
      const reply = await this.#socket.emitWithAck("picture", { room: message.room, id: message.id });
      if (isRefusal(reply)) this.#gone.add(key);
      else this.keep(message, reply);
    } catch {
      return; // The connection broke; the next drawing asks again.
    }
    ready();
  }
}

/** Reads a picture, and makes it smaller if the server would not accept it. */
export async function prepare(file: File): Promise<Prepared> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new PictureError(`${file.name || "This file"} is not a picture that this browser can read.`);
  }
  try {
    const type = PICTURE_TYPES.find((allowed) => allowed === file.type);
    const name = shorten(file.name || "picture");
    const asItIs = file.size <= LIMITS.image && Math.max(bitmap.width, bitmap.height) <= LONGEST_SIDE;
    if (type && asItIs) return await describe(file, type, name, bitmap.width, bitmap.height);
    for (const side of SIDES) {
      const smaller = await scaled(bitmap, side);
      if (smaller.size <= LIMITS.image) return await describe(smaller, "image/jpeg", name, ...fit(bitmap, side));
    }
  } finally {
    bitmap.close();
  }
  throw new PictureError(`${file.name} could not be made small enough to send.`);
}

async function describe(blob: Blob, type: PictureType, name: string, width: number, height: number): Promise<Prepared> {
  return { image: { type, name, width, height, size: blob.size }, data: await blob.arrayBuffer() };
}

function fit(bitmap: ImageBitmap, side: number): [number, number] {
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  return [Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale))];
}

async function scaled(bitmap: ImageBitmap, side: number): Promise<Blob> {
  const [width, height] = fit(bitmap, side);
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  if (!context) throw new PictureError("This browser cannot make the picture smaller.");
  // JPEG has no transparency. Transparent parts become white, not black.
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return new Promise((resolve, reject) => {
    const done = (blob: Blob | null) => (blob ? resolve(blob) : reject(new PictureError("The picture could not be made smaller.")));
    canvas.toBlob(done, "image/jpeg", 0.85);
  });
}

function shorten(name: string): string {
  return [...name].slice(-LIMITS.imageName).join("");
}
