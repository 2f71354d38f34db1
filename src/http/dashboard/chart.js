// A line over the last ten minutes, drawn anew with every sample.

import { draw, make, setAttribute, setText } from "./dom.js";
import { moment } from "./words.js";

const SPAN = 600;
const WIDTH = 600;
const HEIGHT = 100;
// Samples come once a second; more between two of them is a hole.
const HOLE = 3.5;

/** The next number that is easy to read: 1, 2 or 5 with zeros. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

export class Chart {
  /** `of` takes the value out of a sample, `words` says it, `least` is the least height of the scale. */
  constructor(place, { title, of, words, least }) {
    Object.assign(this, { title, of, words, least, samples: [], end: "now" });
    this.bands = draw("path", { class: "band" });
    this.area = draw("path", { class: "area" });
    this.line = draw("path", { class: "line" });
    this.pointer = draw("path", { class: "pointer", visibility: "hidden" });
    const grid = draw("path", { class: "grid", d: `M0 .5H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT - 0.5}H${WIDTH}` });
    this.picture = draw(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", focusable: "false" },
      this.bands, grid, this.area, this.line, this.pointer,
    );
    this.now = make("span", { class: "value" });
    this.top = make("span", { class: "top" });
    this.middle = make("span", { class: "middle" });
    // What stands under it is told by the picture's name.
    this.now.setAttribute("aria-hidden", "true");
    const scale = make("div", { class: "scale", "aria-hidden": "true" }, this.top, this.middle, make("span", { text: "0" }));
    this.last = make("span", { text: this.end });
    const axis = make(
      "div", { class: "axis", "aria-hidden": "true" },
      make("span", { text: "10 min ago" }), make("span", { text: "5 min" }), this.last,
    );
    place.classList.add("chart");
    place.append(
      make("p", { class: "caption", "aria-hidden": "true" }, make("span", { text: title }), this.now),
      make("div", { class: "plot" }, this.picture, scale),
      axis,
    );
    this.picture.addEventListener("pointermove", (event) => this.point(event));
    this.picture.addEventListener("pointerleave", () => this.unpoint());
  }

  /** Samples as `{ at, … }`, the oldest first; `at` in seconds. */
  set(samples) {
    this.samples = samples;
    const end = samples.length > 0 ? samples[samples.length - 1].at : 0;
    const values = samples.map(this.of);
    const highest = Math.max(this.least, ...values);
    const top = ceiling(highest);
    const x = (sample) => WIDTH - ((end - sample.at) / SPAN) * WIDTH;
    const y = (value) => HEIGHT - (value / top) * (HEIGHT - 4);
    let line = "";
    let area = "";
    let bands = "";
    let before = null;
    samples.forEach((sample, index) => {
      const here = `${x(sample).toFixed(1)} ${y(values[index]).toFixed(1)}`;
      if (before === null || sample.at - before.at > HOLE) {
        if (before !== null) area += `V${HEIGHT}Z`;
        line += `M${here}`;
        area += `M${x(sample).toFixed(1)} ${HEIGHT}L${here}`;
      } else {
        line += `L${here}`;
        area += `L${here}`;
        if (sample.state !== "streaming") {
          bands += `M${x(before).toFixed(1)} 0H${x(sample).toFixed(1)}V${HEIGHT}H${x(before).toFixed(1)}Z`;
        }
      }
      before = sample;
    });
    if (before !== null) area += `V${HEIGHT}Z`;
    this.line.setAttribute("d", line);
    this.area.setAttribute("d", area);
    this.bands.setAttribute("d", bands);
    setText(this.top, this.words(top));
    setText(this.middle, this.words(top / 2));
    const last = values.length > 0 ? this.words(values[values.length - 1]) : "not known";
    const most = values.length > 0 ? this.words(Math.max(...values)) : "not known";
    setAttribute(this.picture, "aria-label", `${this.title}: ${last} ${this.end}, ${most} at most`);
    if (!this.pointed) setText(this.now, `${last} ${this.end}`);
    else this.read();
  }

  /** Whether its end is now; else it is when the process was last heard of. */
  setLive(live) {
    const end = live ? "now" : "when last heard of";
    if (end === this.end) return;
    this.end = end;
    setText(this.last, live ? end : "last heard of");
    this.set(this.samples);
  }

  point(event) {
    const box = this.picture.getBoundingClientRect();
    this.pointed = (event.clientX - box.left) / box.width;
    this.read();
  }

  read() {
    const end = this.samples.length > 0 ? this.samples[this.samples.length - 1].at : 0;
    const at = end - (1 - this.pointed) * SPAN;
    let nearest = null;
    for (const sample of this.samples) {
      if (nearest === null || Math.abs(sample.at - at) < Math.abs(nearest.at - at)) nearest = sample;
    }
    if (nearest === null || Math.abs(nearest.at - at) > HOLE) {
      this.pointer.setAttribute("visibility", "hidden");
      setText(this.now, "");
      return;
    }
    const place = WIDTH - ((end - nearest.at) / SPAN) * WIDTH;
    this.pointer.setAttribute("d", `M${place.toFixed(1)} 0V${HEIGHT}`);
    this.pointer.setAttribute("visibility", "visible");
    const state = nearest.state === "streaming" ? "" : `, ${nearest.state}`;
    setText(this.now, `${this.words(this.of(nearest))} at ${moment(nearest.at * 1000)}${state}`);
  }

  unpoint() {
    this.pointed = undefined;
    this.pointer.setAttribute("visibility", "hidden");
    this.set(this.samples);
  }
}
