// Elements. Whatever comes from the server goes in as text, never as markup.

export function byId(id) {
  return document.getElementById(id);
}

/** An element with attributes and children, which are elements or text. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") element.textContent = value;
    else if (key === "click") element.addEventListener("click", value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

const drawing = "http://www.w3.org/2000/svg";

export function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS(drawing, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** One of the shapes of the page. */
export function shape(name) {
  const use = draw("use", { href: `#shape-${name}` });
  return draw("svg", { class: "shape", "aria-hidden": "true", focusable: "false" }, use);
}

/** Touches the page only when the text is another one. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/** A cell that also says on a phone, where rows are cards, what it is. */
export function cell(label, attributes = {}, ...children) {
  return make("td", { role: "cell", "data-label": label, ...attributes }, ...children);
}

/** Rows are cards on a phone; these keep a table a table for screen readers then. */
export function keepTable(table) {
  table.setAttribute("role", "table");
  for (const part of table.querySelectorAll("thead, tbody")) part.setAttribute("role", "rowgroup");
  for (const row of table.querySelectorAll("tr")) row.setAttribute("role", "row");
  for (const head of table.querySelectorAll("th[scope=col]")) head.setAttribute("role", "columnheader");
}

/** Puts exactly these elements into the parent, in this order, and moves none that is in its place. */
export function arrange(parent, wanted) {
  let place = parent.firstElementChild;
  for (const element of wanted) {
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  while (place) {
    const next = place.nextElementSibling;
    place.remove();
    place = next;
  }
}

/** Says it to those who listen to the page. Only for changes, never for every tick. */
export function announce(text) {
  setText(byId("announce"), text);
}

/** What came of something, where it was asked for; also said aloud. */
export function tell(element, text, good = true) {
  element.textContent = text;
  element.classList.toggle("wrong", !good);
  show(element, text !== "");
  if (text !== "") announce(text);
}

/** A question before something that costs; resolves to whether it is to be done. `risky`: it can't be undone. */
export function confirmed(title, text, yes, risky = false) {
  const dialog = byId("ask");
  byId("ask-title").textContent = title;
  byId("ask-text").textContent = text;
  byId("ask-yes").textContent = yes;
  byId("ask-yes").classList.toggle("risky", risky);
  return new Promise((resolve) => {
    const answer = { yes: false };
    byId("ask-yes").onclick = () => {
      answer.yes = true;
      dialog.close();
    };
    byId("ask-no").onclick = () => dialog.close();
    dialog.addEventListener("close", () => resolve(answer.yes), { once: true });
    dialog.showModal();
  });
}

/**
 * Runs something that a button asks for. The button keeps the focus and does nothing until it is done;
 * what went wrong is told there.
 */
export function onClick(button, told, work) {
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    try {
      await work();
    } catch (error) {
      tell(told, error.message, false);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  });
}
