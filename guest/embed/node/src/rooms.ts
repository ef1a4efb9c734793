/** Who listens to which stream on this host. Each stream is followed once, however many listen. */
import { isTerminal } from "./types.js";
import type { Store, Wake } from "./store/store.js";

export interface RoomsOptions {
  /** Readers on this host, and of one stream. Default 20,000 and 2,000. */
  subscribersMax?: number;
  subscribersPerStreamMax?: number;
}

/** What listeners hear: a wake of the store, or where the stream stands, which is looked at each second. */
export type News = Wake | { is: "stands"; generation: number; sequence: number; ended: boolean } | { is: "closed" };

interface Room {
  listeners: Set<(news: News) => void>;
  readers: number;
  leave: () => void;
}

/** Hints are lost at times: where the stream stands is looked at this often. */
const LOOK_MS = 1000;

export class Rooms {
  #rooms = new Map<string, Room>();
  #readers = 0;
  #closed = false;
  #max: Required<RoomsOptions>;

  constructor(
    private readonly store: Store,
    { subscribersMax = 20_000, subscribersPerStreamMax = 2_000 }: RoomsOptions,
  ) {
    this.#max = { subscribersMax, subscribersPerStreamMax };
  }

  /** Which bound one more reader of the stream would break. A host that is closed has room for none. */
  isFull(stream: string): "host" | "stream" | undefined {
    if (this.#closed || this.#readers >= this.#max.subscribersMax) return "host";
    return (this.#rooms.get(stream)?.readers ?? 0) >= this.#max.subscribersPerStreamMax ? "stream" : undefined;
  }

  /** Calls `heard` until what is returned is called. Readers count; the first and the last are told to other replicas. */
  join(stream: string, heard: (news: News) => void, reads: boolean): () => void {
    if (this.#closed) {
      // Once the caller has what is returned: it may want to leave at once.
      queueMicrotask(() => heard({ is: "closed" }));
      return () => {};
    }
    const room = this.#rooms.get(stream) ?? this.#open(stream);
    room.listeners.add(heard);
    if (reads) this.#count(stream, room, 1);
    return () => {
      if (!room.listeners.delete(heard)) return;
      if (reads) this.#count(stream, room, -1);
      if (room.listeners.size > 0) return;
      room.leave();
      if (this.#rooms.get(stream) === room) this.#rooms.delete(stream);
    };
  }

  /** Tells all listeners to leave, and whoever joins from now on. */
  close(): void {
    this.#closed = true;
    for (const room of this.#rooms.values()) tell(room, { is: "closed" });
  }

  #count(stream: string, room: Room, more: 1 | -1): void {
    this.#readers += more;
    room.readers += more;
    const isEdge = room.readers === 0 || (more === 1 && room.readers === 1);
    // Other replicas would only be told the same again a few seconds later.
    if (isEdge) this.store.presence(stream, room.readers > 0).catch(() => {});
  }

  #open(stream: string): Room {
    const room: Room = { listeners: new Set(), readers: 0, leave: () => {} };
    const unfollow = this.store.follow(stream, (wake) => tell(room, wake));
    let looking = false;
    const look = async (): Promise<void> => {
      if (looking) return;
      looking = true;
      try {
        const head = await this.store.head(stream);
        tell(room, head ? { is: "stands", ...head.cursor, ended: isTerminal(head.status) } : { is: "gone" });
      } catch {
        // A store that cannot be reached says nothing about the stream.
      } finally {
        looking = false;
      }
    };
    const every = setInterval(() => void look(), LOOK_MS).unref();
    room.leave = () => {
      clearInterval(every);
      unfollow();
    };
    this.#rooms.set(stream, room);
    return room;
  }
}

function tell(room: Room, news: News): void {
  // Those who leave while they are told are told no more.
  for (const heard of room.listeners) heard(news);
}
