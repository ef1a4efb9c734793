/** A list of any length with a handful of nodes: only the rows that can be seen exist. */

const OVERSCAN = 6;

export class VirtualList {
  items = []; key = null; follow = false;
  #rows = []; #space; #first = 0;

  /**
   * `box` scrolls and has the focus; the active row is told by `aria-activedescendant`, so no refresh can lose either.
   * Options: `height` of a row in pixels, `make()` a row, `paint(row, item)`, `keyOf(item)`, `open(item)` on Enter or
   * click, `moved(first, last)` after another part is seen, `toEnd()` before the last row is gone to.
   */
  constructor(box, options) {
    Object.assign(this, { box, options });
    this.#space = document.createElement('div');
    this.#space.className = 'space';
    this.#space.setAttribute('role', 'presentation');
    box.append(this.#space);
    box.setAttribute('role', 'listbox');
    box.tabIndex = 0;
    box.addEventListener('scroll', () => { this.follow = this.#atEnd(); this.paint(); }, { passive: true });
    box.addEventListener('keydown', (event) => this.#key(event));
    box.addEventListener('focus', () => { if (this.index < 0 && this.items.length) this.go(this.#firstSeen(), false); });
    this.#space.addEventListener('click', ({ target }) => {
      const row = target.closest('[role=option]');
      if (row) this.choose(Number(row.dataset.index));
    });
    new ResizeObserver(() => { if (this.follow) this.#pin(); this.paint(); }).observe(box);
  }

  /** Where the active row stands; -1 when it is not in the list. */
  get index() { return this.key === null ? -1 : this.items.findIndex((item) => this.options.keyOf(item) === this.key); }
  get active() { return this.items[this.index]; }
  /** The rows that are seen: from the first up to and without the last. */
  get range() {
    const { scrollTop, clientHeight } = this.box, { height } = this.options;
    const first = Math.max(0, Math.floor(scrollTop / height) - OVERSCAN);
    return [first, Math.min(this.items.length, Math.ceil((scrollTop + clientHeight) / height) + OVERSCAN)];
  }

  #firstSeen() { return Math.min(this.items.length - 1, Math.ceil(this.box.scrollTop / this.options.height)); }
  #atEnd() { return this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < this.options.height; }
  #pin() { this.box.scrollTop = this.box.scrollHeight; }

  /** Other items. What is seen stays where it is, whatever was added above or below. */
  set(items) {
    const { height, keyOf } = this.options, { scrollTop } = this.box;
    const top = Math.floor(scrollTop / height), seen = scrollTop > 0 && !this.follow && this.items[top];
    const moved = seen && items !== this.items && items[top] && keyOf(items[top]) !== keyOf(seen)
      ? items.findIndex((item) => keyOf(item) === keyOf(seen)) : -1;
    this.items = items;
    this.#space.style.height = `${items.length * height}px`;
    if (this.follow) this.#pin();
    else if (moved >= 0) this.box.scrollTop = scrollTop + (moved - top) * height;
    this.paint();
  }

  paint() {
    const [first, last] = this.range, { height, make, paint, keyOf } = this.options;
    while (this.#rows.length < last - first) {
      const row = make();
      row.setAttribute('role', 'option');
      this.#rows.push(row);
      this.#space.append(row);
    }
    let active = '';
    this.#rows.forEach((row, slot) => {
      const used = (slot - first % this.#rows.length + this.#rows.length) % this.#rows.length < last - first;
      row.hidden = !used;
      if (used) return;
      row.id = row.dataset.index = row.title = '';
      row.setAttribute('aria-selected', false);
    });
    for (let i = first; i < last; i++) {
      const row = this.#rows[i % this.#rows.length], item = this.items[i], isActive = keyOf(item) === this.key;
      if (row.dataset.index !== String(i)) {
        row.dataset.index = i;
        row.id = `${this.box.id}-${i}`;
        row.setAttribute('aria-posinset', i + 1);
        row.style.transform = `translateY(${i * height}px)`;
      }
      row.setAttribute('aria-setsize', this.items.length);
      row.setAttribute('aria-selected', isActive);
      if (isActive) active = row.id;
      paint(row, item);
    }
    if (active) this.box.setAttribute('aria-activedescendant', active);
    else this.box.removeAttribute('aria-activedescendant');
    if (this.#first !== first) this.options.moved?.(this.#first = first, last);
  }

  /** Makes a row the active one, and brings it into view. */
  go(index, scroll = true) {
    const at = Math.max(0, Math.min(index, this.items.length - 1));
    if (!this.items.length) return;
    this.key = this.options.keyOf(this.items[at]);
    if (scroll) this.reveal(at);
    this.paint();
    this.options.activated?.(this.items[at]);
  }

  /** Brings a row into view. */
  reveal(at = this.index) {
    const { scrollTop, clientHeight } = this.box, { height } = this.options;
    if (at < 0) return;
    if (at * height < scrollTop) this.box.scrollTop = at * height;
    else if ((at + 1) * height > scrollTop + clientHeight) this.box.scrollTop = (at + 1) * height - clientHeight;
  }

  choose(index) {
    this.go(index);
    if (this.active) this.options.open?.(this.active);
  }

  async #key(event) {
    const { index } = this, page = Math.max(1, Math.floor(this.box.clientHeight / this.options.height) - 1);
    const to = {
      ArrowDown: index + 1, ArrowUp: Math.max(0, index - 1), PageDown: index + page, PageUp: index - page, Home: 0, End: Infinity,
    }[event.key];
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (to !== undefined) {
      event.preventDefault();
      if (event.key === 'End') await this.options.toEnd?.();
      this.go(to);
    } else if ((event.key === 'Enter' || event.key === ' ') && this.active) {
      event.preventDefault();
      this.options.open?.(this.active);
    }
  }
}
