// Makes PNG files for the tests, so that the repository needs none: noise, which does not compress, or a
// scene to look at.
import { crc32, deflateSync } from "node:zlib";

/** @param paint gives red, green and blue, 0 to 255, of the pixel at x, y */
export function png(width, height, paint) {
  const rows = Buffer.alloc(height * (1 + width * 3));
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) rows.set(paint(x, y), y * (1 + width * 3) + 1 + x * 3);
  }
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2], 8); // eight bits a channel, red green blue
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk("IHDR", head), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

/** The same bytes for the same seed; about three bytes for each pixel after compression. */
export function noise(width, height, seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 24;
  };
  return png(width, height, () => [next(), next(), next()]);
}

/** Hills under an evening sky. */
export function hills(width, height) {
  return png(width, height, (x, y) => {
    const across = x / width;
    const down = y / height;
    const ridges = [
      { top: 0.52 + 0.07 * Math.sin(across * 7 + 1), colour: [122, 148, 158] },
      { top: 0.66 + 0.06 * Math.sin(across * 5 + 3), colour: [74, 110, 112] },
      { top: 0.82 + 0.05 * Math.sin(across * 9 + 5), colour: [35, 66, 62] },
    ];
    const ridge = ridges.findLast(({ top }) => down > top);
    if (ridge) return ridge.colour;
    const sun = Math.hypot((across - 0.7) * (width / height), down - 0.34) < 0.09;
    return sun ? [255, 236, 200] : [160 + 150 * down, 170 + 60 * down, 215 - 70 * down].map((level) => Math.min(255, level));
  });
}

function chunk(type, data) {
  const content = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(data.length, 0);
  frame.writeUInt32BE(crc32(content), 4);
  return Buffer.concat([frame.subarray(0, 4), content, frame.subarray(4)]);
}
