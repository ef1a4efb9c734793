/** Small charts of the last minute: one line each, one point a second. */

const POINTS = 60, WIDTH = 120, HEIGHT = 26;
const svg = (tag) => document.createElementNS('http://www.w3.org/2000/svg', tag);

export class Chart {
  #values = []; #line; #area; #image;

  /** In a `figure` that has a `figcaption` with a `b` for the present value. */
  constructor(figure, unit) {
    Object.assign(this, { figure, unit });
    this.#image = svg('svg');
    this.#image.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
    this.#image.setAttribute('preserveAspectRatio', 'none');
    this.#image.setAttribute('role', 'img');
    [this.#area, this.#line] = [svg('polygon'), svg('polyline')];
    this.#image.append(this.#area, this.#line);
    figure.append(this.#image);
  }

  add(value) {
    this.#values = [...this.#values, value].slice(-POINTS);
    const max = Math.max(1, ...this.#values), last = this.#values.length - 1;
    const x = (i) => (WIDTH * (POINTS - 1 - last + i)) / (POINTS - 1), y = (v) => HEIGHT - 1.5 - (v / max) * (HEIGHT - 4);
    const points = this.#values.map((v, i) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`);
    this.#line.setAttribute('points', points.join(' '));
    this.#area.setAttribute('points', [`${x(0).toFixed(1)},${HEIGHT}`, ...points, `${x(last).toFixed(1)},${HEIGHT}`].join(' '));
    const now = value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 1 : 0 });
    this.figure.querySelector('b').textContent = now;
    this.#image.setAttribute('aria-label', `${this.unit}, last minute: now ${now}, at most ${max.toLocaleString('en', { maximumFractionDigits: 1 })}`);
  }
}
