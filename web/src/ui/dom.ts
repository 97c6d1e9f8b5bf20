// Helpers for drawing by hand. Text is only set as text, never as markup.

/** The element with this id and class. The page always has it. */
export function byId<T extends Element>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return found;
}

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = "",
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** One of eight hues, the same for the same id on every page. */
export function hueOf(id: string): string {
  let sum = 0;
  for (const char of id) sum = (sum * 31 + (char.codePointAt(0) ?? 0)) >>> 0;
  return `hue-${sum % 8}`;
}

export function avatar(id: string, name: string): HTMLElement {
  const words = name.trim().split(/\s+/u);
  const letters = words.slice(0, 2).map((word) => [...word][0] ?? "");
  const disc = make("span", `avatar ${hueOf(id)}`, letters.join("").toUpperCase());
  disc.setAttribute("aria-hidden", "true");
  return disc;
}
