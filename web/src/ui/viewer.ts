// A picture shown large. Esc closes it, as in any dialog, and so does a click beside the picture.
import { byId } from "./dom.ts";

export function openViewer(url: string, name: string): void {
  const dialog = byId("viewer", HTMLDialogElement);
  const image = byId("viewer-image", HTMLImageElement);
  image.src = url;
  image.alt = name;
  byId("viewer-name", HTMLParagraphElement).textContent = name;
  dialog.onclick = (event) => {
    if (event.target === dialog) dialog.close();
  };
  dialog.showModal();
}
