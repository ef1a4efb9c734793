/** The records of the selected stream, in the order in which they came. */

import { $, bytes, clock, count, el, jsonOf, pretty, put, visible } from './dom.js';
import { VirtualList } from './list.js';

const SHOWN_MAX = 64 * 1024, GIST = 200;

export class Timeline {
  #reader = null; #kind = ''; #frozen = null; #kinds = ''; #shown = null;

  constructor() {
    this.list = new VirtualList($('records'), {
      height: 24, make: row, paint, keyOf: ({ number }) => number,
      open: (item) => this.#open(item), activated: (item) => { if (!$('detail').hidden) this.#open(item); },
    });
    this.list.follow = true;
    $('kind').addEventListener('change', () => { this.#kind = $('kind').value; this.#thaw(); });
    $('pause').addEventListener('click', () => (this.#frozen ? this.#thaw() : this.#freeze()));
    $('follow').addEventListener('change', () => { this.list.follow = $('follow').checked; this.draw(); });
    $('records').addEventListener('scroll', () => { $('follow').checked = this.list.follow; }, { passive: true });
    $('detail-close').addEventListener('click', () => this.close());
    $('detail-copy').addEventListener('click', () => navigator.clipboard?.writeText(this.#shown?.data ?? ''));
  }

  /** From now on the rows of this reader. */
  show(reader) {
    this.#reader = reader;
    this.list.follow = $('follow').checked = true;
    this.list.key = null;
    $('kind').value = this.#kind = '';
    this.close(false);
    this.#thaw();
  }

  #freeze() {
    this.#frozen = { rows: this.#rows().slice(), number: this.#reader?.number ?? 0 };
    this.draw();
  }

  #thaw() {
    this.#frozen = null;
    this.draw();
  }

  #rows() {
    const rows = this.#reader?.rows ?? [];
    return this.#kind ? rows.filter(({ kind }) => kind === this.#kind) : rows;
  }

  draw() {
    const reader = this.#reader;
    if (!reader) return;
    this.list.set(this.#frozen?.rows ?? this.#rows());
    const waiting = this.#frozen ? reader.number - this.#frozen.number : 0;
    put($('pause'), this.#frozen ? `Go on${waiting ? ` (${count(waiting)} new)` : ''}` : 'Pause');
    $('pause').setAttribute('aria-pressed', Boolean(this.#frozen));
    put($('forgotten'), reader.forgotten ? `${count(reader.forgotten)} older ones are no longer kept here` : '');
    this.#options(reader.kinds);
  }

  /** The kinds there are, for the filter. Kinds come from producers: no more than fit a menu. */
  #options(kinds) {
    const names = [...kinds.keys()].slice(0, 200), all = names.join('\n');
    if (all !== this.#kinds) {
      this.#kinds = all;
      const options = names.map((kind) => Object.assign(el('option'), { value: kind }));
      $('kind').replaceChildren(Object.assign(el('option', '', 'All events'), { value: '' }), ...options);
      $('kind').value = this.#kind;
    }
    for (const option of [...$('kind').options].slice(1)) put(option, `${visible(option.value).slice(0, 60)} (${count(kinds.get(option.value) ?? 0)})`);
  }

  #open(item) {
    if (item.mark) return;
    this.#shown = item;
    if ($('detail').hidden) {
      $('detail').hidden = false;
      this.list.reveal(); // the list has less room now
    }
    put($('detail-title'), `${item.cursor}  ${visible(item.kind).slice(0, 80)}  ${bytes(item.size)}`);
    const text = pretty(JSON.parse(item.data));
    put($('detail-json'), text.length <= SHOWN_MAX ? text : `${text.slice(0, SHOWN_MAX)}\n… ${bytes(text.length - SHOWN_MAX)} more: Copy takes all of it`);
    $('detail-json').scrollTop = 0;
  }

  /** Closes the record. False when none was open. */
  close(focus = true) {
    if ($('detail').hidden) return false;
    $('detail').hidden = true;
    this.#shown = null;
    if (focus) $('records').focus();
    return true;
  }
}

const row = () => el('div', 'record', el('time'), el('span', 'cursor'), el('span', 'kind'), el('span', 'size'), el('span', 'gist'));

function paint(node, item) {
  if (node.shown === item) return;
  node.shown = item;
  const [time, cursor, kind, size, gist] = node.children;
  node.classList.toggle('mark', Boolean(item.mark));
  put(time, clock(item.at));
  put(cursor, item.mark ? '' : item.cursor.split('-')[1]);
  put(kind, item.mark ? '' : visible(item.kind).slice(0, 60));
  put(size, item.mark ? '' : bytes(item.size));
  put(gist, visible((item.mark ?? essence(item.data)).slice(0, GIST)));
}

/** What a record says, as far as one line shows it. */
function essence(data) {
  if (data.length > 4096) return data;
  const record = JSON.parse(data), delta = record.data?.delta, [entry] = [delta?.content ?? delta?.tool_calls].flat();
  return jsonOf(entry?.text ?? entry?.think ?? entry?.args ?? record.data ?? record);
}
